"""The Python interface: recipes and expressions as objects, models and vectors by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.expression import Expression
from mfv_dsl.lang import load_recipe, read_source
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.diagnostics import Diagnostic, MfvError
from mfv_dsl.lang.source import Source
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.steps import Plan

if TYPE_CHECKING:
    from mfv_dsl.backends.openflamingo import OpenFlamingo
    from mfv_dsl.execute.run import RunResult
    from mfv_dsl.execute.session import Listener


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.  Making one raises :class:`RecipeError` with everything wrong in it."""

    text: str
    name: str = "recipe"
    overrides: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe from a file; a bare name, ``quickstart``, is one of the bundled ones.

        ``overrides`` are ``NAME.ATTRIBUTE=VALUE``, checked as if they were written in it.
        """
        try:
            source = read_source(find_recipe(path), str(path))
        except OSError as error:
            raise MfvError("MFV6101", f"cannot read {path}: {error.strerror}") from None
        return cls(source.text, source.name, tuple(overrides))

    def __post_init__(self) -> None:
        _ = self.checked

    @cached_property
    def checked(self) -> Checked:
        return load_recipe(Source(self.text, self.name), overrides=self.overrides)

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

    def plan(self, only: Sequence[str] | None = None) -> Plan:
        """What running the recipe will do; with ``only``, these blocks alone."""
        return build_plan(self.checked, only)

    def run(
        self,
        out: str | Path | None = None,
        listener: Listener | None = None,
        device: str | None = None,
        fresh: bool = False,
        only: Sequence[str] | None = None,
        trace: bool = False,
        download: bool = False,
    ) -> RunResult:
        """Run it; results and vectors go to ``out`` (default ``runs/<name>``).

        Finished steps are kept in the store (``$MFV_HOME``, default ``.mfv``) and not run again;
        ``fresh`` runs them all the same.  ``only`` names the blocks to run.  ``trace``
        also leaves ``trace.txt``: what was read and written where, for the first prompts.
        ``download`` lets a model's missing files be fetched.
        """
        from mfv_dsl.execute.run import run_plan
        from mfv_dsl.execute.store import default_store

        folder = Path(out) if out is not None else Path("runs") / Path(self.name).stem
        return run_plan(
            self.plan(only),
            self.text_as_run,
            folder,
            listener,
            device,
            default_store(),
            fresh,
            trace,
            download,
        )


def compile(text: str) -> Expression | Recipe:
    """Compile the text of a recipe (it begins with ``mfv 1``) or of a vector expression."""
    if text.lstrip().startswith("mfv ") or "\n" in text.strip():
        return Recipe(text, "<text>")
    return Expression.parse(text)


def run(recipe: str | Path, out: str | Path | None = None, device: str | None = None) -> RunResult:
    """Run a recipe file, or a bundled recipe by its name."""
    return Recipe.from_file(recipe).run(out, device=device)


def load_model(name: str, device: str | None = None, **arguments: Any) -> OpenFlamingo:
    """Load a model by its constructor's name and arguments: ``load_model("tiny")``,
    ``load_model("openflamingo", path="…", dtype="bf16")``.

    Files that are missing are fetched with ``download=True`` only.
    """
    from mfv_dsl import backends

    return backends.load(name, device=device, **arguments)


def bundled(folder: str) -> Path:
    """A folder that comes with mfv-dsl (``recipes``, ``vectors``): inside the installed package, or
    beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def find_recipe(path: str | Path) -> Path:
    """``path`` if it is there, else the bundled recipe of that name (``paper/heads``)."""
    here = Path(path)
    if here.exists():
        return here
    folder = bundled("recipes")
    name = here.relative_to("recipes") if here.parts[:1] == ("recipes",) else here
    known = folder / name.with_suffix(".mfv")
    if not here.is_absolute() and ".." not in here.parts and known.exists():
        return known
    names = ", ".join(
        sorted(found.relative_to(folder).with_suffix("").as_posix()
               for found in folder.rglob("*.mfv"))
    )  # fmt: skip
    raise MfvError("MFV6101", f"there is no recipe {path}", help=f"the bundled recipes are {names}")
