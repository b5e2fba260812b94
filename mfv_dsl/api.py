"""The Python interface: recipes and expressions as objects, models and vectors by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import find_recipe
from mfv_dsl.base.source import Source
from mfv_dsl.execute.loads import check_lock, fetch_loads, pin_loads
from mfv_dsl.expression import Expression
from mfv_dsl.interactive import InteractivePlan, InteractiveResult
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.lang.parser import read_source
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.library.lock import NAME as LOCK_NAME
from mfv_dsl.library.lock import NO_LOCK, Lock, Pin, read_lock
from mfv_dsl.library.sources import at_hand
from mfv_dsl.plan.build import build_plan

if TYPE_CHECKING:
    from mfv_dsl.execute.session import Listener
    from mfv_dsl.models.openflamingo import OpenFlamingo


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.  Making one raises :class:`RecipeError` with everything wrong in it.

    ``lock`` is what ``mfv.lock``, beside the recipe, pins of the vectors that it loads.
    """

    text: str
    name: str = "recipe"
    overrides: tuple[str, ...] = ()
    lock: Lock = field(default=NO_LOCK, hash=False)

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe from a file; a bare name, ``quickstart``, is one of the bundled ones.

        ``overrides`` are ``NAME.ATTRIBUTE=VALUE``, checked as if they were written in it.
        """
        file = find_recipe(path)
        try:
            source = read_source(file, str(path))
        except OSError as error:
            raise MfvError("MFV6101", f"cannot read {path}: {error.strerror}") from None
        return cls(source.text, source.name, tuple(overrides), read_lock(file.parent / LOCK_NAME))

    def __post_init__(self) -> None:
        _ = self.checked

    @cached_property
    def checked(self) -> Checked:
        return load_recipe(
            Source(self.text, self.name),
            overrides=self.overrides,
            find=lambda path, name: at_hand(path, name, self.lock),
        )

    @property
    def text_as_run(self) -> str:
        """The recipe's text, with its overrides written into it if it has any."""
        if not self.overrides:
            return self.text
        options = " ".join(f"--set {option}" for option in self.overrides)
        return f"# {self.name} {options}\n{unparse(self.checked.recipe)}"

    def check(self) -> tuple[Diagnostic, ...]:
        """Its warnings; errors were raised when it was made."""
        return self.checked.warnings

    def plan(self, only: Sequence[str] | None = None) -> InteractivePlan:
        """What running the recipe will do; with ``only``, these blocks alone."""
        return InteractivePlan.of(build_plan(self.checked, only))

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
    ) -> InteractiveResult:
        """Run it; results and vectors go to ``out`` (default ``runs/<name>``).

        Finished steps are kept in the store (``$MFV_HOME``, default ``.mfv``) and not run again;
        ``fresh`` runs them all the same.  ``only`` names the blocks to run.  ``trace``
        also leaves ``trace.txt``: what was read and written where, for the first prompts.
        ``download`` lets a model's missing files be fetched.
        With ``locked``, every vector that it loads must be what ``mfv.lock`` pins.
        """
        from mfv_dsl.execute.run import run_plan
        from mfv_dsl.execute.session import RunOptions

        stem = Path(self.name).stem
        folder = Path(out) if out is not None else Path("runs") / stem
        recipe = self.fetched(only)
        if locked:
            check_lock(recipe.plan(only), recipe.checked, self.lock, self.name)
        result = run_plan(
            recipe.plan(only),
            self.text_as_run,
            folder,
            listener,
            RunOptions(device, fresh, trace, download),
            name=stem,
        )
        return InteractiveResult.of(result)

    def fetched(self, only: Sequence[str] | None = None) -> Recipe:
        """The recipe once every vector that it loads is on this machine: those of the Hub are
        downloaded, and what is not there is told (MFV6001)."""
        return replace(self) if fetch_loads(self.plan(only), self.lock) else self

    def pin(self) -> dict[tuple[str, str | None], Pin]:
        """Write ``mfv.lock`` beside the recipe, so that it pins what the recipe loads."""
        return pin_loads(self.checked, self.lock)


def compile(text: str) -> Expression | Recipe:
    """Compile the text of a recipe (it begins with ``mfv 1``) or of a vector expression."""
    if text.lstrip().startswith("mfv ") or "\n" in text.strip():
        return Recipe(text, "<text>")
    return Expression.parse(text)


def run(
    recipe: str | Path, out: str | Path | None = None, device: str | None = None
) -> InteractiveResult:
    """Run a recipe file, or a bundled recipe by its name."""
    return Recipe.from_file(recipe).run(out, device=device)


def load_model(name: str, device: str | None = None, **arguments: Any) -> OpenFlamingo:
    """Load a model by its constructor's name and arguments: ``load_model("tiny")``,
    ``load_model("openflamingo", path="…", dtype="bf16")``.

    Files that are missing are fetched with ``download=True`` only.
    """
    from mfv_dsl import models

    return models.load(name, device=device, **arguments)
