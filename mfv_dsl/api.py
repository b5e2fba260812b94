"""The Python interface: recipes and expressions as objects, models and vectors by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.arguments import path as as_path
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.base.arguments import texts, truth
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import plain
from mfv_dsl.base.places import bundled_name, find_recipe, recipe_label, run_folder, user_path
from mfv_dsl.base.short import Short
from mfv_dsl.base.source import Source
from mfv_dsl.execute.loads import check_lock, fetch_loads, pin_loads
from mfv_dsl.expression import DatasetLike, Expression, ModelLike
from mfv_dsl.findings import STDIN, findings, read_recipe
from mfv_dsl.given import Given, Kind, by_name, call_of, options_of, origin_of, same_call
from mfv_dsl.interactive import InteractivePlan, InteractiveResult
from mfv_dsl.interruption import interruptible
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.inclusion import FilesBeside, self_contained
from mfv_dsl.lang.profiles import profiles_of, without_profiles
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.launch.settings import launch_settings, settings_folder
from mfv_dsl.library.lock import NO_LOCK, Lock, Pin
from mfv_dsl.library.sources import at_hand
from mfv_dsl.loading import device_of
from mfv_dsl.plan.build import build_plan
from mfv_dsl.progress import Progress, listening

if TYPE_CHECKING:
    from mfv_dsl.execute.run import By
    from mfv_dsl.execute.run_folder import Origin
    from mfv_dsl.execute.settings import Listener
    from mfv_dsl.launch.settings import LaunchSettings


NO_OBJECTS = Given()


@dataclass(frozen=True, repr=False)
class Recipe(Short):
    """A checked recipe.

    Args:
        text: The recipe itself; it begins with ``mfv 1``.
        name: What errors and the run's folder call it.
        overrides: ``NAME.ATTRIBUTE=VALUE`` each, checked as if they were written in the text.
        profile: The name of one of its profiles; ``overrides`` come after it.
        lock: What ``mfv.lock``, beside the recipe, pins of the vectors that it loads.
        given: Models and datasets that are loaded already, by the recipe's names;
            :meth:`with_objects` gives them.
        file: Where the text was read.

    Raises:
        RecipeError: Everything that is wrong with the text, in source order.
        MfvError: MFV5119 for arguments of the wrong types.

    >>> text = "mfv 1\\nmodel m = tiny()\\ndataset d = scenes()\\neval raw {\\n  on = [left]\\n}"
    >>> [step.label for step in Recipe(text).plan().steps]
    ['unedited model: left from test, 0 shots', 'raw: left, 0 shots']
    """

    text: str
    name: str = "recipe"
    overrides: tuple[str, ...] = ()
    lock: Lock = field(default=NO_LOCK, hash=False)
    profile: str | None = None
    file: Path | None = field(default=None, compare=False, repr=False)
    given: Given = field(default=NO_OBJECTS, hash=False, compare=False)

    @classmethod
    def from_file(
        cls, path: str | Path, overrides: Sequence[str] = (), profile: str | None = None
    ) -> Recipe:
        """Read a recipe from a file.

        Args:
            path: The file; a bare name, ``quickstart``, is one of the bundled recipes; ``-`` is
                standard input.
            overrides: ``NAME.ATTRIBUTE=VALUE`` each, checked as if they were written in it.
            profile: The name of one of its profiles; ``overrides`` come after it.

        Raises:
            MfvError: MFV6101 for a file that is not there or cannot be read, MFV6021 for a broken
                ``mfv.lock`` beside it.
            RecipeError: Everything that is wrong with its text, in source order.

        >>> quickstart = Recipe.from_file("quickstart", ["raw.layer=2..4"])
        >>> {block.name: block["layer"] for block in quickstart.checked.blocks}["raw"]
        (2, 3, 4)
        """
        source, lock = read_recipe(path)
        file = None if str(path) == STDIN else find_recipe(path).absolute()
        return cls(source.text, source.name, options_of(overrides), lock, profile, file)

    @staticmethod
    def findings(
        path: str | Path, overrides: Sequence[str] = (), profile: str | None = None
    ) -> tuple[Diagnostic, ...]:
        """Everything that is wrong with a recipe's file, and its warnings; also that no plan can be
        made of it, or that it asks for more items than a dataset has.

        Without a ``profile``, this is also what is wrong with it under each of its profiles.

        Raises:
            MfvError: Those of :meth:`from_file` that are not about the recipe's text.
        """
        return findings(path, options_of(overrides), profile)

    def __post_init__(self) -> None:
        as_text(self.text, "a recipe")
        as_text(self.name, "a recipe's name")
        if self.profile is not None:
            as_text(self.profile, "profile")
        object.__setattr__(self, "overrides", options_of(self.overrides))
        _ = self.checked

    def __getstate__(self) -> dict[str, Any]:
        """Without the objects that it was given, which stay in their process."""
        return {**self.__dict__, "given": NO_OBJECTS}

    @cached_property
    def checked(self) -> Checked:
        """The recipe with every name resolved and every option filled in."""
        return load_recipe(
            Source(self.text, self.name),
            self.given.facts if self.given.objects else None,
            overrides=self.overrides,
            find=lambda path, name: at_hand(path, name, self.lock),
            profile=self.profile,
            read=FilesBeside(self.file, self.name),
        )

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of its profiles, in its order."""
        return tuple(profiles_of(self.checked.recipe))

    @property
    def text_as_run(self) -> str:
        """The recipe's text; what its profile and its overrides change is written into it."""
        changed = bool(self.overrides) or self.profile is not None
        if not changed and all(_is_below(file.path) for file in self.checked.files):
            return self.text
        return self.text_alone

    @property
    def text_alone(self) -> str:
        """The text as run, with what other files declare written into it."""
        changed = bool(self.overrides) or self.profile is not None
        if not changed and not self.checked.files:
            return self.text
        profile = [] if self.profile is None else [f"--profile {self.profile}"]
        options = " ".join([*profile, *(f"--set {option}" for option in self.overrides)])
        recipe = self_contained(self.checked.recipe)
        text = unparse(without_profiles(recipe) if changed else recipe)
        return f"{f'# {self.name} {options}'.rstrip()}\n{text}"

    @property
    def used_files(self) -> dict[str, str]:
        """The texts of the files that it uses, by where they lie beside its text as run."""
        whole = self.text_as_run == self.text
        names: dict[str, str] = {}
        for file in self.checked.files:
            name = file.path if whole else f"used/{Path(file.path).name}"
            while not whole and names.get(name, file.source.text) != file.source.text:
                name = f"{name.removesuffix('.mfv')}_.mfv"
            names[name] = file.source.text
        return names

    @property
    def folder(self) -> Path:
        """Where a run of it leaves its results if nothing else is said: another folder for every
        profile and for other overrides, so that none takes the place of another.

        >>> Recipe.from_file("quickstart", profile="llava").folder.as_posix()
        'runs/quickstart-llava'
        """
        return self.folder_of(())

    def folder_of(self, only: Sequence[str]) -> Path:
        """Where a run of ``only`` some of its blocks leaves its results where :attr:`folder` holds
        a run of the whole or of others.

        >>> Recipe.from_file("quickstart").folder_of(["raw"]).as_posix()
        'runs/quickstart-only-raw'
        """
        parts = []
        if self.overrides:
            digest = hashlib.sha256("\n".join(self.overrides).encode()).hexdigest()
            parts.append(f"set-{digest[:6]}")
        if only is not None and (own := texts(only, "only")):
            names = "\n".join(sorted(own))
            whole = plain(names) == names  # one name, which a folder may have
            digest = hashlib.sha256(names.encode()).hexdigest()
            parts.append(f"only-{names if whole else digest[:6]}")
        return self.folder_named(*parts)

    def folder_named(self, *parts: str) -> Path:
        """A folder for results of it: its own, with its profile's name and ``parts`` behind it."""
        profile = () if self.profile is None else (self.profile,)
        return run_folder(self.name, "-".join((*profile, *parts)))

    def with_objects(
        self,
        model: ModelLike | Mapping[str, ModelLike] | None = None,
        dataset: DatasetLike | Mapping[str, DatasetLike] | None = None,
    ) -> Recipe:
        """The recipe with another model or dataset in place of its own: text, or what is loaded
        already and is not loaded again.

        Args:
            model: In place of its only model, or by the names of several.
            dataset: Likewise.

        Raises:
            RecipeError: What is wrong with it then.
            MfvError: MFV5118 for an object of another make, and where the recipe has several and
                it is not said which is meant; MFV5119 for a value of the wrong type.
        """
        objects, changes = dict(self.given.objects), list(self.overrides)
        kinds: tuple[tuple[Kind, Any, Any], ...] = (
            ("model", model, self.checked.models), ("dataset", dataset, self.checked.datasets),
        )  # fmt: skip
        for kind, value, declared in kinds:
            for name, one in by_name(kind, value, declared).items():
                call, origin = call_of(kind, one), origin_of(kind, one)
                old = declared[name]
                entry = CONSTRUCTOR[kind][old.constructor]
                if origin is None or not same_call(origin, entry, old.arguments):
                    changes.append(f"{name}={call}")
                if origin is not None:
                    objects[name] = one
        return replace(self, overrides=tuple(changes), given=Given(objects))

    def check(self) -> tuple[Diagnostic, ...]:
        """Its warnings; errors were raised when it was made."""
        return self.checked.warnings

    def plan(self, only: Sequence[str] | None = None) -> InteractivePlan:
        """What running the recipe will do, without running anything.

        Args:
            only: Names of the tunes, evals and saves to plan, with what they need; all if left out.

        Raises:
            MfvError: What :func:`~mfv_dsl.plan.build.build_plan` raises, such as MFV5003 for a name
                that the recipe has not.
        """
        names = None if only is None else texts(only, "only")
        try:
            plan = build_plan(self.checked, names)
        except MfvError as error:
            raise self._shown(error) from None
        shown = replace(
            plan,
            errors=tuple(map(self.checked.show, plan.errors)),
            warnings=tuple(map(self.checked.show, plan.warnings)),
        )
        return InteractivePlan.of(shown, self.given.objects)

    def _shown(self, error: MfvError) -> MfvError:
        """The error with its place in the option of ``overrides`` that it comes from."""
        error.diagnostics = tuple(map(self.checked.show, error.diagnostics))
        return error

    def run(
        self,
        out: str | Path | None = None,
        listener: Listener | None = None,
        *,
        device: str | None = None,
        fresh: bool = False,
        only: Sequence[str] | None = None,
        trace: bool = False,
        download: bool = False,
        locked: bool = False,
        progress: Progress = None,
        model: ModelLike | Mapping[str, ModelLike] | None = None,
        dataset: DatasetLike | Mapping[str, DatasetLike] | None = None,
        launcher: str | None = None,
        workers: int | str | None = None,
        gpus_per_worker: int | None = None,
        launcher_options: Mapping[str, object] | Sequence[str] = (),
    ) -> InteractiveResult:
        """Run it.  Finished steps are kept in the store (``$MFV_HOME``, default ``.mfv``) and not
        run again, and a model that this process has loaded is not loaded again.

        Args:
            out: The folder for results and vectors; :attr:`folder` if left out, or where that
                would lose results of other blocks than ``only``, :meth:`folder_of` them.  What an
                earlier run of the recipe wrote there is replaced, and nothing else.
            listener: Who is told how far it is.
            device: Where models run, in place of what the recipe says.
            fresh: Run finished steps all the same.
            only: Names of the tunes, evals and saves to run, with what they need.
            trace: Leave ``trace.txt``, too: what was read and written where, for the first prompts.
            download: Fetch the files of a model that are not on this machine.
            locked: Refuse vectors that are not what ``mfv.lock`` pins.
            progress: Whether to show how far it is; in notebooks if left out.
            model: In place of the recipe's own, as for :meth:`with_objects`.
            dataset: Likewise.
            launcher: Run the steps on workers: ``local`` (processes), ``slurm`` or ``ray``; what is
                left out of this and the following is as ``mfv.toml`` beside the recipe says.
            workers: How many workers, or ``auto``.
            gpus_per_worker: GPUs of each.
            launcher_options: Of the launcher, by name, or ``name=value`` each.

        Returns:
            Its rows, the folder, and every step's value.

        Raises:
            RecipeError: The errors of its plan, such as MFV7110 for more items than there are.
            MfvError: What :meth:`plan` raises; MFV6001 for a vector that is nowhere, MFV6020 for
                one that is not pinned, MFV6070 to MFV6072 for a folder that holds something else
                than an earlier run of the recipe, MFV6102 for one that cannot be made; MFV53xx for
                what comes out wrong as it runs, MFV70xx for a model that cannot be loaded; MFV5119
                for an argument of the wrong type, MFV5120 for a model that is not as it was loaded;
                MFV564x for settings of launchers, MFV567x for workers that cannot do it.

        >>> result = Recipe.from_file("quickstart").run("runs/mine")  # doctest: +SKIP
        >>> [row.accuracy for row in result.rows if row.eval == "raw"]  # doctest: +SKIP
        """
        from mfv_dsl.execute.finished import recall
        from mfv_dsl.execute.run_folder import RunFolder
        from mfv_dsl.execute.settings import RunSettings

        flags = {"fresh": fresh, "trace": trace, "download": download, "locked": locked}
        fresh, trace, download, locked = (truth(value, name) for name, value in flags.items())
        device = device_of(device)
        if model is not None or dataset is not None:
            return self.with_objects(model, dataset).run(
                out, listener, device=device, fresh=fresh, only=only, trace=trace,
                download=download, locked=locked, progress=progress, launcher=launcher,
                workers=workers, gpus_per_worker=gpus_per_worker,
                launcher_options=launcher_options,
            )  # fmt: skip
        beside = settings_folder(self.file)
        crew = launch_settings(beside, launcher, workers, gpus_per_worker, launcher_options)
        is_asked = any(one is not None for one in (launcher, workers, gpus_per_worker))
        needs_one = trace or not self.given.objects.keys().isdisjoint(self.checked.models)
        if needs_one and not (is_asked or launcher_options):  # a file alone asks for workers
            crew = None
        names = () if only is None else texts(only, "only")
        folder = self.folder if out is None else user_path(as_path(out, "out"))
        if out is None and RunFolder(folder).has_others(self._origin(folder, names)):
            folder = self.folder_of(names)
        recipe = (self.with_models() if download else self).fetched(only)
        if locked:
            check_lock(recipe.plan(only), recipe.checked, self.lock, self.name)
        plan, text, name = recipe.plan(only), self.text_as_run, recipe_label(self.name)
        settings = RunSettings(device, fresh, trace, download, self.given.objects)
        origin = replace(self._origin(folder, names), names_folder=out is not None)
        with interruptible(step.key for step in plan.steps), listening(progress, listener) as told:
            result = recall(plan, text, folder, settings, name=name, origin=origin)
            if result is None:
                from mfv_dsl.execute.run import run_plan

                by = self._performer(crew)
                result = run_plan(
                    plan, text, folder, told, settings, name=name, origin=origin, by=by
                )
        return InteractiveResult.of(result, self.given.objects)

    def _performer(self, crew: LaunchSettings | None) -> By | None:
        """What performs its steps in place of this process."""
        if crew is None:
            return None
        from mfv_dsl.launch.crews import performer

        return performer(crew)

    def _origin(self, folder: Path, only: Sequence[str]) -> Origin:
        """What a run of it in ``folder`` says of where it comes from."""
        from mfv_dsl.execute.run_folder import Origin

        source = "text"
        if self.file is not None and (name := bundled_name(self.file)) is not None:
            source = f"bundled {name}"
        elif self.file is not None:
            seen = os.path.relpath(os.path.realpath(self.file), os.path.realpath(folder))
            source = Path(seen).as_posix()
        return Origin(
            self.name, source, self.profile, self.overrides, tuple(only), used=self.used_files,
            alone=self.text_alone,
        )  # fmt: skip

    def with_models(self) -> Recipe:
        """The recipe once everything was downloaded that its models' facts depend on."""
        from mfv_dsl import models

        for name, model in self.checked.models.items():
            if name not in self.given.objects:
                models.fetch(model.constructor, **model.arguments)
        return replace(self)

    def fetched(self, only: Sequence[str] | None = None) -> Recipe:
        """The recipe once every vector that it loads is on this machine: those of the Hub are
        downloaded first.  Raises MfvError (MFV6001) for what is not there."""
        return replace(self) if fetch_loads(self.plan(only), self.lock) else self

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.recipes import recipe_html

        return recipe_html(self.name, self.text)

    def pin(self) -> dict[tuple[str, str | None], Pin]:
        """Write ``mfv.lock`` beside the recipe, so that it pins what the recipe loads; gives the
        pins by path and name.  Raises MfvError (MFV6023) where there is no file to write."""
        return pin_loads(self.checked, self.lock)


def compile(text: str) -> Expression | Recipe:
    """Compile the text of a recipe or of a vector expression.

    Args:
        text: A recipe begins with ``mfv`` or has several lines; anything else is an expression.

    Raises:
        RecipeError: Everything that is wrong with a recipe; that an expression does not parse.
        MfvError: MFV5119 for what is no text.

    >>> compile("fv(left) - fv(right)")
    Expression('fv(left) - fv(right)')
    """
    if as_text(text, "what is compiled").lstrip().startswith("mfv ") or "\n" in text.strip():
        return Recipe(text, "<text>")
    return Expression.parse(text)


def run(
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    device: str | None = None,
    *,
    profile: str | None = None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    only: Sequence[str] | None = None,
    fresh: bool = False,
    download: bool = False,
    trace: bool = False,
    locked: bool = False,
    progress: Progress = None,
    model: ModelLike | Mapping[str, ModelLike] | None = None,
    dataset: DatasetLike | Mapping[str, DatasetLike] | None = None,
    listener: Listener | None = None,
    launcher: str | None = None,
    workers: int | str | None = None,
    gpus_per_worker: int | None = None,
    launcher_options: Mapping[str, object] | Sequence[str] = (),
) -> InteractiveResult:
    """Run a recipe: :meth:`Recipe.from_file`, then :meth:`Recipe.run`.

    Args:
        recipe: The file, a bundled recipe's name, such as ``quickstart``, or a :class:`Recipe`.
        out: The folder for results and vectors; :attr:`Recipe.folder` if left out.
        device: Where models run, in place of what the recipe says.
        profile: The name of one of its profiles.
        overrides: ``NAME.ATTRIBUTE=VALUE`` each, or values by ``NAME.ATTRIBUTE``; they come after
            the profile.
        only: Names of the tunes, evals and saves to run, with what they need.
        fresh: Run finished steps all the same.
        download: Fetch the files of a model that are not on this machine.
        trace: Leave ``trace.txt``, too.
        locked: Refuse vectors that are not what ``mfv.lock`` pins.
        progress: Whether to show how far it is; in notebooks if left out.
        model: In place of the recipe's own: text, or one of :func:`load_model`; several by name.
        dataset: Likewise, text or one of :func:`load_dataset`.
        listener: Who is told how far it is, in place of ``progress``.
        launcher: Run the steps on workers: ``local`` (processes), ``slurm`` or ``ray``; what is
            left out of this and the following is as ``mfv.toml`` beside the recipe says.
        workers: How many workers, or ``auto``.
        gpus_per_worker: GPUs of each.
        launcher_options: Of the launcher, by name, or ``name=value`` each.

    Returns:
        Its rows, the folder, and every step's value.

    Raises:
        MfvError: What both raise.

    >>> result = run("quickstart", only=["raw"], overrides={"raw.layer": 1})  # doctest: +SKIP
    >>> print(result.table("eval", "relation"))  # doctest: +SKIP
    """
    if isinstance(recipe, Recipe):
        changes = (*recipe.overrides, *options_of(overrides))
        chosen = replace(
            recipe, overrides=changes, profile=recipe.profile if profile is None else profile
        )
    else:
        chosen = Recipe.from_file(recipe, options_of(overrides), profile)
    return chosen.run(
        out, listener, device=device, fresh=fresh, only=only, trace=trace, download=download,
        locked=locked, progress=progress, model=model, dataset=dataset, launcher=launcher,
        workers=workers, gpus_per_worker=gpus_per_worker, launcher_options=launcher_options,
    )  # fmt: skip


def _is_below(path: str) -> bool:
    """Whether a used file keeps its place beside a recipe in the folder of a run."""
    parts = Path(path).parts
    return (
        path.endswith(".mfv")
        and ".." not in parts
        and not os.path.isabs(path)
        and (path != "recipe.mfv")
    )
