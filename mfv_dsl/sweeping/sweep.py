"""``mfv sweep``: one recipe under several values of what it declares."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.api import Recipe
from mfv_dsl.base.arguments import path as as_path
from mfv_dsl.base.arguments import texts, truth
from mfv_dsl.base.disk import disk_trouble, folder_for
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import store_home, user_path
from mfv_dsl.base.short import kind_of, names, short
from mfv_dsl.execute.run_result import StoredValues
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.execute.storage import finished
from mfv_dsl.given import options_of as overrides_of
from mfv_dsl.interruption import interruptible
from mfv_dsl.launch.settings import launch_settings, settings_folder
from mfv_dsl.plan.estimate import Estimate
from mfv_dsl.plan.machine import kept_machine
from mfv_dsl.plots import RunViews
from mfv_dsl.progress import Progress, listening
from mfv_dsl.sweeping.overs import options_of, read_overs
from mfv_dsl.sweeping.variants import Variant, Variants, variants_of

if TYPE_CHECKING:
    from mfv_dsl.base.table_text import TextTable
    from mfv_dsl.execute.folder import Performance
    from mfv_dsl.execute.rows import ResultRow, Results
    from mfv_dsl.execute.run import By
    from mfv_dsl.execute.run_result import RunResult
    from mfv_dsl.execute.settings import Listener
    from mfv_dsl.launch.forecast import Forecast
    from mfv_dsl.launch.settings import LaunchSettings
    from mfv_dsl.plan.steps import Plan
    from mfv_dsl.sweeping.joined import Outcome


@dataclass(frozen=True, repr=False)
class SweepResult(RunViews):
    """What a sweep gave: what became of each variant, and the results of all of them together,
    whose rows have a column for everything that varied."""

    variants: tuple[Outcome, ...]
    results: Results
    shown: list[ResultRow]
    folder: Path
    seconds: float
    metrics: Mapping[str, tuple[str, ...]] = field(repr=False)

    def __repr__(self) -> str:
        lost = sum(outcome.failed for outcome in self.variants)
        parts = [
            f"{len(self.variants)} variants: {names(o.variant.name for o in self.variants)}",
            f"{len(self.rows)} rows",
            f"{lost} variants failed" if lost else "",
            f"in {short(self.folder)}, {self.seconds:.0f} s",
        ]
        return f"{kind_of(self)}({', '.join(filter(None, parts))})"

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.results import run_html

        return run_html(self.folder, replace(self.results, rows=list(self.shown)), self.metrics)

    @property
    def rows(self) -> list[ResultRow]:
        """A row for every condition of every eval of every variant, and those of means over seeds;
        ``row.axes`` has the values that varied."""
        return self.results.rows

    @property
    def notes(self) -> list[str]:
        """What must be said beside the rows."""
        return [note["text"] for note in self.results.notes]

    @property
    def failed(self) -> bool:
        """Whether something that a variant asks for failed."""
        return any(outcome.failed for outcome in self.variants)

    def table(
        self,
        rows: Sequence[str] | str = "condition",
        cols: Sequence[str] | str = "relation",
        value: Sequence[str] | str | None = None,
        **options: Any,
    ) -> TextTable:
        """The results as a table of rows and columns, what varied among the fields:
        ``result.table("eval", "flamingo", where={"relation": "all"})``; see
        :func:`mfv_dsl.execute.records.table`."""
        from mfv_dsl.execute.records import table

        return table([self.folder], rows, cols, value, **options)

    def to_csv(self, path: str | Path | None = None) -> str:
        """All rows as CSV, with a column for everything that varied; written to ``path``, too, if
        there is one."""
        from mfv_dsl.base.csv_text import csv_text
        from mfv_dsl.base.files import write_atomically

        tables = self._tables()
        text = csv_text(tables.lines("rows"), tables.columns("rows"))
        if path is not None:
            write_atomically(user_path(as_path(path, "path")), text.encode())
        return text

    def to_json(self) -> dict[str, Any]:
        """Rows and places as plain data."""
        return {
            **self.results.to_json(),
            "folder": str(self.folder),
            "seconds": round(self.seconds, 2),
            "variants": [
                {
                    "name": outcome.variant.name,
                    "values": outcome.variant.values,
                    "folder": str(outcome.folder),
                    "saved": [str(path) for path in outcome.saved],
                    "failed": outcome.failed,
                    "error": outcome.error and outcome.error.code,
                }
                for outcome in self.variants
            ],
        }


def sweep(
    recipe: str | Path | Recipe,
    over: Mapping[str, Any] | Sequence[str],
    out: str | Path | None = None,
    device: str | None = None,
    *,
    profile: str | None = None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    only: Sequence[str] | None = None,
    fresh: bool = False,
    download: bool = False,
    progress: Progress = None,
    listener: Listener | None = None,
    launcher: str | None = None,
    workers: int | str | None = None,
    gpus_per_worker: int | None = None,
    launcher_options: Mapping[str, object] | Sequence[str] = (),
) -> SweepResult:
    """Run a recipe once for every combination of values of what it declares.

    Each variant is a run of its own, in a folder of its own; steps that variants share are run
    once.  A variant that fails costs no other.  Where a seed is varied there are rows of means over
    the seeds, as of an eval that is read for several.

    Args:
        recipe: The file, a bundled recipe's name, or a :class:`Recipe`.
        over: Values by what an override would set: ``{"defaults.seed": range(5), "flamingo":
            ["tiny()", 'tiny("llava")']}``, or texts as the command's ``--over`` takes them.
        out: The folder for all of it; one beside :attr:`Recipe.folder` if left out.
        device: Where models run, in place of what the recipe says.
        profile: The name of one of its profiles.
        overrides: What is set in all variants.
        only: Names of the tunes, evals and saves to run, with what they need.
        fresh: Run finished steps all the same.
        download: Fetch the files of models that are not on this machine.
        progress: Whether to show how far it is; in notebooks if left out.
        listener: Who is told how far it is, in place of ``progress``.
        launcher: Run the steps of all variants on workers, as for :meth:`Recipe.run`.
        workers: How many workers, or ``auto``.
        gpus_per_worker: GPUs of each.
        launcher_options: Of the launcher, by name, or ``name=value`` each.

    Returns:
        The variants, and the results of all of them together.

    Raises:
        RecipeError: What is wrong with any variant, with its place in ``over``, before any work.
        MfvError: MFV5690 and MFV5691 for what varies nothing or is given twice, MFV5692 for a
            folder that holds something else; where nothing came of any variant, why not of the
            first; MFV5119 for arguments of the wrong types; MFV564x for settings of
            launchers, MFV567x for workers that cannot do it.

    >>> result = sweep("quickstart", {"defaults.seed": range(5)})  # doctest: +SKIP
    >>> result.to_pandas().groupby("defaults.seed").accuracy.mean()  # doctest: +SKIP
    """
    fresh, download = truth(fresh, "fresh"), truth(download, "download")
    variants = planned(recipe, over, profile, overrides, only)
    beside = settings_folder(variants.recipe.file)
    crew = launch_settings(beside, launcher, workers, gpus_per_worker, launcher_options)
    return run_variants(
        variants, out, device, fresh=fresh, download=download, progress=progress,
        listener=listener, crew=crew,
    )  # fmt: skip


def planned(
    recipe: str | Path | Recipe, over: Mapping[str, Any] | Sequence[str],
    profile: str | None = None, overrides: Sequence[str] | Mapping[str, object] = (),
    only: Sequence[str] | None = None,
) -> Variants:  # fmt: skip
    """All variants, checked and planned; the arguments are those of :func:`sweep`."""
    overs = read_overs(options_of(over))
    if not overs:
        raise MfvError(
            "MFV5690", "nothing is varied",
            help="name what is varied, as in --over defaults.seed=0..4",
        )  # fmt: skip
    if isinstance(recipe, Recipe):
        changes = (*recipe.overrides, *overrides_of(overrides))
        own = recipe.profile if profile is None else profile
        chosen = replace(recipe, overrides=changes, profile=own)
    else:
        chosen = Recipe.from_file(recipe, overrides_of(overrides), profile)
    return variants_of(chosen, overs, None if only is None else texts(only, "only"))


def expected(variants: Variants, workers: int) -> Forecast:
    """What the steps of all variants will take on several workers, by the rates that were measured
    of this machine, if they were."""
    from mfv_dsl.estimates import estimate_of
    from mfv_dsl.launch.forecast import forecast

    plans = [variant.plan for variant in variants.all]
    done = finished({step.key for plan in plans for step in plan.steps})
    found = [estimate_of(plan, done) for plan in plans]
    estimates = [one for one in found if one is not None]
    whole = None
    if len(estimates) == len(plans):
        seconds = {key: one for estimate in estimates for key, one in estimate.seconds.items()}
        basis = f"the estimates of all variants; of the first, {estimates[0].basis}"
        memory = max(estimate.memory for estimate in estimates)
        whole = Estimate(seconds, memory, basis, max(one.before for one in estimates))
    return forecast(plans, done, workers, whole, kept_machine())


def run_variants(
    variants: Variants,
    out: str | Path | None = None,
    device: str | None = None,
    *,
    fresh: bool = False,
    download: bool = False,
    progress: Progress = None,
    listener: Listener | None = None,
    crew: LaunchSettings | None = None,
) -> SweepResult:
    """Run variants, one after the other or the steps of all by workers, and write the folder of all
    of them; the arguments, and what is raised, are as of :func:`sweep`."""
    from mfv_dsl.sweeping.folder import check_folder, write_sweep
    from mfv_dsl.sweeping.joined import joined, means, metrics_of

    started = time.perf_counter()
    folder = variants.folder if out is None else user_path(as_path(out, "out"))
    keys = [step.key for variant in variants.all for step in variant.plan.steps]
    with ExitStack() as stack:
        stack.enter_context(disk_trouble())
        check_folder(folder, variants)
        stack.enter_context(folder_for(folder, what="cannot make the folder", code="MFV6102"))
        stack.enter_context(interruptible(keys))
        told = stack.enter_context(listening(progress, listener))
        advance = told.begin("variants", len(variants.all)) if told is not None else None
        outcomes = []
        ready = variants.all
        if crew is not None:
            ready = _performed(variants, crew, told, RunSettings(device, fresh, False, download))
        for variant in ready:
            outcomes.append(
                _run(variant, folder / variant.name, told, variants.only, device, fresh, download)
            )
            if advance is not None:
                advance(1)
        if all(outcome.error is not None for outcome in outcomes):
            assert outcomes[0].error is not None
            raise outcomes[0].error
        results = joined(outcomes, variants.overs)
        metrics = metrics_of(outcomes)
        shown = means(results.rows, variants.overs) or results.rows
        write_sweep(folder, variants, outcomes, results, shown, metrics)
    seconds = time.perf_counter() - started
    return SweepResult(tuple(outcomes), results, shown, folder, seconds, metrics)


def _performed(
    variants: Variants, crew: LaunchSettings, listener: Listener | None, settings: RunSettings
) -> tuple[Variant, ...]:
    """The variants, whose steps workers have performed: those of all together, as if the variants
    were run one after the other."""
    from mfv_dsl.launch.crews import crew_of
    from mfv_dsl.launch.driver import perform_in_turn

    made = list(variants.all)
    new = [
        number for number, variant in enumerate(made)
        if settings.fresh or not variant.is_finished
    ]  # fmt: skip
    if not new:
        return variants.all
    if settings.download:
        made = [replace(v, recipe=v.recipe.with_models()) for v in made]
    settings = replace(settings, given=variants.recipe.given.objects)
    workers = crew_of(crew, settings.device)
    plans = [made[number].plan for number in new]
    result_of = perform_in_turn(plans, workers, listener, settings)
    for place, number in enumerate(new):
        recipe = replace(made[number].recipe, by=_giving(partial(result_of, place)))
        made[number] = replace(made[number], recipe=recipe)
    return tuple(made)


def _giving(result_of: Callable[[], Performance | MfvError]) -> By:
    """What gives a result that is there already."""

    def by(plan: Plan, listener: Listener | None, settings: RunSettings) -> Performance:
        result = result_of()
        if isinstance(result, MfvError):
            raise result
        return result

    return by


def _run(
    variant: Variant, folder: Path, listener: Listener | None, only: Sequence[str],
    device: str | None, fresh: bool, download: bool,
) -> Outcome:  # fmt: skip
    """Run one variant; what it fails with is noted."""
    from mfv_dsl.sweeping.joined import Outcome

    started = time.perf_counter()
    try:
        result = variant.recipe.run(
            folder, listener, device=device, fresh=fresh, only=only or None, download=download,
            progress=False,
        )  # fmt: skip
    except MfvError as error:
        return Outcome(variant, folder, error=error, seconds=time.perf_counter() - started)
    return Outcome(
        variant, folder, result.results, None, tuple(result.saved), tuple(result.unsaved),
        result.seconds, result.cached, _values(result), result.failures,
    )  # fmt: skip


def _values(result: RunResult) -> Mapping[str, Any]:
    """The values of its evaluations, read from the store when they are asked for: those of all
    variants together may be more than memory holds.  Those that are not kept are held."""
    operations = {step.key: step.operation for step in result.plan.steps}
    unkept = {}
    if not isinstance(result.values, StoredValues):
        unkept = {
            key: value for key, value in result.values.items() if getattr(value, "failures", ())
        }
    kept = {
        key: operation for key, operation in operations.items()
        if key not in unkept and key not in result.failures
    }  # fmt: skip
    return ChainMap(unkept, StoredValues(kept, store_home()))  # type: ignore[arg-type]
