"""The variants of a recipe: one for every combination of the values that a sweep varies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.api import Recipe
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.names import DEVICES, plain
from mfv_dsl.base.places import identity_of_place
from mfv_dsl.base.source import Source
from mfv_dsl.execute.storage import finished
from mfv_dsl.interactive import InteractivePlan
from mfv_dsl.lang.sweeps import COLUMNS
from mfv_dsl.lang.syntax import Axis
from mfv_dsl.sweeping.overs import OPTION, Over, Value, target_name

if TYPE_CHECKING:
    from mfv_dsl.execute.run import By
    from mfv_dsl.launch.settings import LaunchSettings

#: A value that a folder may be called by as it is.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
#: Characters of a variant's name, at most.
_LONGEST = 100


@dataclass(frozen=True, repr=False)
class VariantRecipe(Recipe):
    """The recipe of one variant; what it saves goes to ``libraries`` in place of the folders that
    other variants save into as well."""

    libraries: Mapping[str, str] = field(default_factory=dict, hash=False, kw_only=True)
    #: what performs its steps, where that is not this process
    by: By | None = field(default=None, hash=False, compare=False, kw_only=True)

    def plan(self, only: Sequence[str] | None = None) -> InteractivePlan:
        """What running it will do; see :meth:`mfv_dsl.api.Recipe.plan`."""
        plan = super().plan(only)
        saves = tuple(
            replace(save, folder=self.libraries.get(save.folder, save.folder))
            for save in plan.saves
        )
        return replace(plan, saves=saves)

    def _performer(self, crew: LaunchSettings | None) -> By | None:
        return self.by

    def source_in(self, folder: Path) -> str:
        """Where its text comes from, seen from a folder."""
        return self._origin(folder, ()).source


@dataclass(frozen=True)
class Variant:
    """One combination of values: its name, which its folder has, the values by what is varied, its
    recipe and its plan."""

    name: str
    axes: tuple[Axis, ...]
    recipe: VariantRecipe
    plan: InteractivePlan

    @property
    def values(self) -> dict[str, int | float | str]:
        """The values by what is varied."""
        return {axis.name: axis.value for axis in self.axes}

    @property
    def is_finished(self) -> bool:
        """Whether the store has all of its steps."""
        keys = {step.key for step in self.plan.steps}
        return finished(keys) == keys

    @property
    def text(self) -> str:
        """The values for people."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items())


@dataclass(frozen=True)
class Variants:
    """All variants of a recipe, in the order in which they are run: the last that is varied varies
    fastest.  ``warnings`` are those of all of them, each once."""

    recipe: Recipe
    overs: tuple[Over, ...]
    all: tuple[Variant, ...]
    only: tuple[str, ...]
    warnings: tuple[Diagnostic, ...]

    @property
    def folder(self) -> Path:
        """Where a sweep leaves its results if nothing else is said: another folder for all that
        differs in what is varied, set or run."""
        told = [f"{over.name}={[value.text for value in over.values]}" for over in self.overs]
        text = "\n".join([*self.recipe.overrides, *told, "only", *sorted(self.only)])
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        names = "-".join(_short_names(self.overs).values())
        return self.recipe.folder_named(f"sweep-{names[:60]}-{digest}")

    @property
    def summary(self) -> str:
        """How many variants there are, and how much work."""
        steps = [step.key for variant in self.all for step in variant.plan.steps]
        different = set(steps)
        shared = len(steps) - len(different)
        again = f" ({shared} of {len(steps)} are those of other variants)" if shared else ""
        done = len(finished(different))
        return (
            f"{len(self.all)} variants, {len(different)} different steps{again}, "
            f"{done} of them finished"
        )

    def to_text(self) -> str:
        """The variants for people: the values of each, its steps, and what it saves."""
        lines = []
        for variant in self.all:
            saves = ", ".join(save.folder for save in variant.plan.saves)
            lines.append(
                f"{variant.name}: {variant.text}; {len(variant.plan.steps)} steps"
                + (f"; saves into {saves}" if saves else "")
            )
        return "\n".join([*lines, "", self.summary, f"results go to {self.folder}", ""])

    def to_json(self) -> dict[str, Any]:
        """The variants as plain data."""
        return {
            "folder": str(self.folder),
            "variants": [
                {
                    "name": variant.name, "values": variant.values,
                    "steps": [step.key for step in variant.plan.steps],
                    "saves": [save.folder for save in variant.plan.saves],
                }
                for variant in self.all
            ],
        }  # fmt: skip


def variants_of(
    recipe: Recipe, overs: Sequence[Over], only: Sequence[str] | None = None
) -> Variants:
    """Every variant of ``recipe``, checked and planned.

    Variants that would save into one folder get folders of their own, with their names behind that.

    Raises:
        RecipeError: What is wrong with any of them, each once, with its place in the option that
            it comes from and the variant that it is of.
        MfvError: MFV5691 for what is set and varied; what :meth:`~mfv_dsl.api.Recipe.plan` raises.
    """
    _check_set_and_varied(recipe, overs)
    names = _short_names(overs)
    folders = {over.name: _folder_names(over) for over in overs}
    findings, made = _Findings(tuple(overs)), list[Variant]()
    for values in product(*(over.values for over in overs)):
        pairs = tuple(zip(overs, values, strict=True))
        axes = tuple(replace(over.axis(value), name=_column(over)) for over, value in pairs)
        name = _limited("-".join(f"{names[o.name]}-{folders[o.name][v.text]}" for o, v in pairs))
        changes = (*recipe.overrides, *(over.change(value) for over, value in pairs))
        text = ", ".join(f"{over.name}={value.text}" for over, value in pairs)
        try:
            own = _with_overrides(recipe, changes)
            plan = own.plan(only)
        except RecipeError as error:
            findings.add(error.diagnostics, pairs, text)
            continue
        findings.add((*own.check(), *plan.warnings, *plan.errors), pairs, text)
        made.append(Variant(name, axes, own, plan))
    if findings.errors:
        raise RecipeError(findings.errors)
    apart = _with_libraries(made, only)
    return Variants(recipe, tuple(overs), apart, tuple(only or ()), findings.warnings)


def _with_overrides(recipe: Recipe, overrides: tuple[str, ...]) -> VariantRecipe:
    return VariantRecipe(
        recipe.text, recipe.name, overrides, recipe.lock, recipe.profile, recipe.file,
        recipe.given,
    )  # fmt: skip


def _check_set_and_varied(recipe: Recipe, overs: Sequence[Over]) -> None:
    for option in recipe.overrides:
        name = target_name(option.partition("=")[0])
        if any(over.name == name for over in overs):
            raise MfvError(
                "MFV5691", f"`{name}` is both set and varied",
                help="leave out --set (overrides=) of what --over varies",
            )  # fmt: skip


def _with_libraries(variants: Sequence[Variant], only: Sequence[str] | None) -> tuple[Variant, ...]:
    """The variants, those that save into one folder into folders of their own."""
    savers: dict[object, set[str]] = {}
    for variant in variants:
        for save in variant.plan.saves:
            savers.setdefault(identity_of_place(save.folder), set()).add(variant.name)
    made = []
    for variant in variants:
        libraries = {
            save.folder: f"{save.folder.rstrip('/')}-{variant.name}"
            for save in variant.plan.saves
            if len(savers[identity_of_place(save.folder)]) > 1
        }
        if libraries:
            recipe = replace(variant.recipe, libraries=libraries)
            variant = replace(variant, recipe=recipe, plan=recipe.plan(only))
        made.append(variant)
    return tuple(made)


class _Findings:
    """What is found in variants, each once: shown in the option that it comes from, with the
    variants that it is of, unless it is of all."""

    def __init__(self, overs: tuple[Over, ...]) -> None:
        self._overs, self._count = overs, 0
        self._found: dict[Diagnostic, list[str]] = {}

    def add(
        self, found: Iterable[Diagnostic], pairs: Sequence[tuple[Over, Value]], variant: str
    ) -> None:
        """Note what is found in one variant."""
        self._count += 1
        for diagnostic in dict.fromkeys(_in_option(one, pairs) for one in found):
            self._found.setdefault(diagnostic, []).append(variant)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors."""
        return tuple(d for d in self._told() if d.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings."""
        return tuple(d for d in self._told() if d.severity != "error")

    def _told(self) -> list[Diagnostic]:
        told = []
        for diagnostic, variants in self._found.items():
            notes = diagnostic.notes
            if len(variants) < self._count:
                others = f" and {len(variants) - 1} others" if variants[1:] else ""
                notes = (*notes, f"of the variant {variants[0]}{others}")
            told.append(replace(diagnostic, notes=notes))
        return told


def _in_option(diagnostic: Diagnostic, pairs: Sequence[tuple[Over, Value]]) -> Diagnostic:
    """A finding in what an option has made a recipe's override, at its place in the option."""
    notes = diagnostic.notes
    for over, value in pairs:
        change = over.change(value)
        given = f"given by `{OPTION} {over.option}`"
        notes = tuple(given if note == f"given by `--set {change}`" else note for note in notes)
        source, span = diagnostic.source, diagnostic.span
        if source is None or span is None or source.name != "--set" or source.text != change:
            continue
        return replace(
            diagnostic, source=Source(over.option, OPTION), span=over.at(value, span),
            secondary=tuple(
                replace(label, span=over.at(value, label.span))
                for label in diagnostic.secondary if label.source is None
            ),
            fixes=(), notes=notes,
        )  # fmt: skip
    return replace(diagnostic, notes=notes)


def _column(over: Over) -> str:
    """What its column in results is called."""
    return f"over.{over.name}" if over.name in COLUMNS else over.name


def _short_names(overs: Sequence[Over]) -> dict[str, str]:
    """What is varied, in folders' names: the attribute, the whole name where two have one."""
    last = {over.name: plain(over.name.rpartition(".")[2]) for over in overs}
    short = list(last.values())
    return {
        name: own if short.count(own) == 1 else plain(name.replace(".", "_"))
        for name, own in last.items()
    }


def _folder_names(over: Over) -> dict[str, str]:
    """What its values are called in folders' names, by their texts."""
    named = {}
    for value in over.values:
        text = str(value.shown)
        is_safe = _SAFE.fullmatch(text) and not text.endswith(".") and text.lower() not in DEVICES
        named[value.text] = text if is_safe else plain(text)
        if text[:1] == "-":
            named[value.text] = f"minus_{plain(text)}"
    lower = [name.lower() for name in named.values()]
    return {
        text: name if lower.count(name.lower()) == 1 else f"{name}-{_digest(text)}"
        for text, name in named.items()
    }


def _limited(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
