"""Sweeps written out: whatever depends on one is read once for each of its values.

For every combination of the values that a block or a declaration depends on
(:mod:`mfv_dsl.lang.sweeps`) there is a reading of it, with the values in place.  The first reading
stands as it is written; the others are copies (:mod:`mfv_dsl.lang.copies`) with names that nobody
can type, ``best[draw=2]``.  Vectors that take an `eval`'s `heads` are read again for these, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice, product
from math import prod

from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang.copies import Copies
from mfv_dsl.lang.entries import FUNCTION, ITEM, VECTOR_WRITES
from mfv_dsl.lang.literals import plain
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.scope import Use
from mfv_dsl.lang.sweeps import (
    MAX_READINGS,
    SWEEP,
    Reading,
    Sweeps,
    axis_name,
    is_swept,
    may_have_heads,
    reading_text,
    takes_one,
)
from mfv_dsl.lang.syntax import (
    Attribute,
    Axis,
    Block,
    Call,
    Declaration,
    Expr,
    Gap,
    Item,
    Keyword,
    ListExpr,
    Name,
    Node,
    RecipeTree,
    rewritten,
)
from mfv_dsl.lang.values_in import (
    calls_in,
    label_of,
    names_in,
    own_words,
    parameters_of,
    takes_heads,
)


def without_sweeps(
    recipe: RecipeTree, copies: Copies, findings: list[Diagnostic], uses: dict[Span, Use]
) -> RecipeTree:
    """The recipe with a reading of each item for every combination of the values that it depends
    on.

    Finds MFV2050 for a sweep that is no list of values, MFV2051 for a name that a sweep cannot
    have, MFV3014, MFV2013, MFV3008 and MFV3012 for lists and ranges as elsewhere, MFV3042 for more
    readings than are allowed, MFV5331 for a comparison with several readings.
    """
    readings = _Readings(recipe, copies, findings, uses)
    if not readings.any:
        return recipe
    return replace(recipe, items=tuple(readings.items()))


class _Readings(Sweeps):
    """The readings of a recipe's items."""

    def __init__(
        self, recipe: RecipeTree, copies: Copies, findings: list[Diagnostic], uses: dict[Span, Use]
    ) -> None:
        super().__init__(recipe, findings)
        self.copies, self.uses = copies, uses
        self._parts: list[Item] = []  # kept, as what is found of items is found by their identity
        self._heads: dict[tuple[str, str], tuple[str, Item, Reading, Expr]] = {}

    # -- readings ---------------------------------------------------------------------------------
    def items(self) -> Iterator[Item]:
        """Every item in all its readings, then those of vectors that take an eval's heads."""
        for item in self.recipe.items:
            kind = item.kind.text
            if kind == "profile" or (isinstance(item, Declaration) and kind in (SWEEP, "let")):
                yield item
            elif kind == "defaults":
                yield self._first_of_defaults(item)
            else:
                for part in self._apart(item):
                    for reading in self._combinations(part):
                        yield self._read(part, reading)
        done = 0
        while done < len(self._heads):  # reading one may ask for others
            for name, vector, reading, heads in list(self._heads.values())[done:]:
                done += 1
                yield self._read(vector, reading, name, heads)

    def _apart(self, item: Item) -> list[Item]:
        """The parts of a `save` or a `report` whose vectors or numbers depend on the same sweeps,
        each as a block of its own: what depends on none is there once."""
        if not isinstance(item, Block) or item.kind.text not in ("save", "report"):
            return [item]
        at = next((i for i, a in enumerate(item.attributes) if a.name.text == "vectors"), None)
        listed = None if at is None else item.attributes[at].value
        values = listed.items if isinstance(listed, ListExpr) else item.values
        groups: dict[frozenset[str], list[Expr]] = {}
        for value in values:
            groups.setdefault(frozenset(self.inside(value, None, item)), []).append(value)
        if len(groups) < 2:
            return [item]
        parts: list[Item] = []
        for group in map(tuple, groups.values()):
            if at is None or not isinstance(listed, ListExpr):
                parts.append(replace(item, values=group))
            else:
                attributes = list(item.attributes)
                attributes[at] = replace(attributes[at], value=replace(listed, items=group))
                parts.append(replace(item, attributes=tuple(attributes)))
        self._parts += parts
        return parts

    def _combinations(self, item: Item) -> Iterable[Reading]:
        sweeps = self.of(item)
        count = prod(len(sweep.values) for sweep in sweeps.values())
        if count > MAX_READINGS:
            label = item.name if isinstance(item, Declaration) else item.label or item.kind
            self.report(
                "MFV3042", label, f"this is swept over {count:,} combinations of values",
                f"{MAX_READINGS:,} at most", "sweep fewer values at a time",
                tuple(Label(s.place, f"{len(s.values)} values") for s in sweeps.values()),
            )  # fmt: skip
        combinations = product(*(sweep.values for sweep in sweeps.values()))
        most = 1 if count > MAX_READINGS else MAX_READINGS
        return [dict(zip(sweeps, values, strict=True)) for values in islice(combinations, most)]

    def _read(
        self, item: Item, reading: Reading, name: str | None = None, heads: Expr | None = None
    ) -> Item:
        """An item with the values of a reading in it; ``heads`` are those of an eval, for the
        `fv` of a vector that names none."""
        if isinstance(item, Block):
            heads = self._heads_in(item, reading)
        written = self._written(item, reading, heads)
        own = label_of(item)
        if own is not None:
            name = name or self._name(item, reading)
            label = Name(name, span=own.span)
            if isinstance(written, Declaration):
                written = replace(written, name=label)
            else:
                written = replace(written, label=label)
            if name != own.text:
                self.copies.names[name] = own.text
        if isinstance(written, Block):
            sweeps = self.of(item)
            axes = (Axis(n, plain(v), sweeps[n].is_seed) for n, v in reading.items())
            written = replace(written, axes=tuple(axes))
        is_first = self._is_first(item, reading) if own is None else name == own.text
        return written if is_first else self.copies.again(written)

    def _is_first(self, item: Item, reading: Reading) -> bool:
        sweeps = self.of(item)
        return all(reading[name] is sweep.values[0] for name, sweep in sweeps.items())

    def _name(self, item: Item, reading: Reading) -> str:
        """What an item is called in a reading, which may say more than it depends on."""
        own = label_of(item)
        assert own is not None
        own_reading = {name: reading[name] for name in self.of(item)}
        if self._is_first(item, own_reading):
            return own.text
        return own.text + reading_text((n, plain(v)) for n, v in own_reading.items())

    def _written(self, item: Item, reading: Reading, heads: Expr | None) -> Item:
        if isinstance(item, Declaration):
            value = self._value(item.value, reading, None, parameters_of(item), heads)
            return replace(item, value=value)
        entry, own, attributes = ITEM.get(item.kind.text), self.own_of(item), list[Attribute]()
        for attribute in item.attributes:
            axis = axis_name(item, attribute.name.text)
            parameter = entry.parameter(attribute.name.text) if entry else None
            node = attribute.value
            if is_swept(item, attribute):
                node = reading[axis] if axis in own else Gap("", span=node.span)
            if attribute.name.text == "against":
                attributes.append(replace(attribute, value=self._against(item, node, reading)))
            else:
                # heads are those of the vectors that are written; what is ablated has its own
                given = heads if attribute.name.text in VECTOR_WRITES else None
                value = self._value(node, reading, parameter, (), given)
                attributes.append(replace(attribute, value=value))
        settled = list[Attribute]()
        for parameter in self.defaults_of(item):
            if self.inside(self.defaults[parameter.name], parameter, item):
                node = self._value(self.defaults[parameter.name], reading, parameter, (), None)
                attributes.append(_attribute(parameter.name, node))
        for name, node in self.defaults.items():
            sweeps = self.inside(node, None, item)
            if sweeps and set(sweeps) <= set(reading):
                value = self._value(node, reading, None, (), None)
                settled.append(_attribute(name, value))
        for kind in ("model", "dataset"):
            only = self.only_one(item, kind)
            if only is not None and self.of(only):
                at = item.label.span if item.label is not None else item.kind.span
                attributes.append(_attribute(kind, Name(self._name(only, reading), span=at)))
        return replace(
            item,
            attributes=tuple(attributes),
            settled=tuple(settled),
            written=item,
            values=tuple(self._value(v, reading, None, (), None) for v in item.values),
        )

    def _value(
        self, node: Expr, reading: Reading, parameter: Parameter | None, hidden: Collection[str],
        heads: Expr | None,
    ) -> Expr:  # fmt: skip
        """A value with those of the reading in it, and the names of the readings of what it is
        made of."""
        kinds = {id(name): of for name, of in names_in(node, parameter)}

        def value_of(part: Node) -> Node | None:
            if not isinstance(part, Name) or isinstance(part, Gap) or part.text in hidden:
                return None
            if part.text in self.broken:
                return Gap("", span=part.span)
            if part.text in self.sweeps:
                self.uses[part.span] = Use("name", part.text)
                if part.text not in reading:
                    return None
                return self.copies.at(part.span, reading[part.text], f"the sweep `{part.text}`")
            if id(part) in kinds and not own_words(kinds[id(part)]):
                return self._named_as(part, reading, heads)
            return None

        def called(part: Node) -> Node:
            if not isinstance(part, Call):
                return part
            keywords = [*part.keywords]
            for option in self.missing(part):
                if option.name == "heads" and heads is not None:
                    continue
                default = self.default_for(part, option)
                if self.inside(default, option, _NOTHING):
                    made = self._value(default, reading, option, (), None)
                    keywords.append(
                        Keyword(Name(option.name, span=made.span), made, span=made.span)
                    )
            if heads is not None and takes_heads(part):
                keywords.append(Keyword(Name("heads", span=heads.span), heads, span=heads.span))
            function = part.function
            if function.text not in FUNCTION:
                function = self._named_as(function, reading, heads) or function
            return replace(part, function=function, keywords=tuple(keywords))

        valued: Expr = rewritten(node, value_of)
        done: Expr = rewritten(valued, lambda part: None, called)
        return done

    def _named_as(self, name: Name, reading: Reading, heads: Expr | None) -> Name | None:
        """The name of the reading of what a name stands for, None where that has one alone."""
        item = self.declared.get(name.text)
        if item is None or not all(sweep in reading for sweep in self.of(item)):
            return None
        own = self._name(item, reading)
        is_vector = isinstance(item, Declaration) and item.kind.text == "vector"
        if heads is not None and is_vector and self._takes_heads(item.value):  # type: ignore[union-attr]
            key = (own, str(plain(heads)))
            inner = {sweep: reading[sweep] for sweep in self.of(item)}
            if key not in self._heads:
                made = f"{own}[heads={key[1]}]".replace("][", ", ")
                self._heads[key] = (made, item, {**reading, **inner}, heads)
                self.copies.names[made] = name.text
            own = self._heads[key][0]
        return None if own == name.text else replace(name, text=own)

    # -- heads of an eval -------------------------------------------------------------------------
    def _heads_in(self, block: Block, reading: Reading) -> Expr | None:
        """What an eval's `heads` are in a reading, None where it has none."""
        attribute = next((a for a in block.attributes if a.name.text == "heads"), None)
        if attribute is None or may_have_heads(block) is None or isinstance(attribute.value, Gap):
            return None
        node = attribute.value
        if is_swept(block, attribute):
            if "heads" not in reading:
                return None
            node = reading["heads"]
        vectors = [a.value for a in block.attributes if a.name.text in VECTOR_WRITES]
        if vectors and not any(self._takes_heads(vector) for vector in vectors):
            self.report(
                "MFV2022", attribute.name, "`heads` has no effect here",
                "no `fv` of this block is without heads of its own", severity="warning",
            )  # fmt: skip
        return self._value(node, reading, None, (), None)

    def _takes_heads(self, vector: Expr) -> bool:
        """Whether an `fv` behind a vector takes the heads of the eval it is used in."""
        work, seen = [vector], set[str]()
        while work:
            node = work.pop()
            if any(takes_heads(call) for call in calls_in(node)):
                return True
            for name, _ in names_in(node, None):
                other = self.declared.get(name.text)
                if isinstance(other, Declaration) and other.kind.text == "vector":
                    if name.text not in seen:
                        work.append(other.value)
                    seen.add(name.text)
        return False

    # -- comparisons and defaults -----------------------------------------------------------------
    def _against(self, block: Block, node: Expr, reading: Reading) -> Expr:
        """The evals that one is compared with, each in the reading of the same values."""

        def reading_of(part: Node) -> Node | None:
            other = self.evals.get(part.text) if isinstance(part, Name) else None
            if other is None or other is block:
                return None
            assert isinstance(part, Name)
            own = self.of(block)
            meant: dict[str, Expr] = {}
            for name, sweep in self.of(other).items():
                by_value = {plain(value): value for value in sweep.values}
                here = {plain(value) for value in own[name].values} if name in own else set()
                if here and here <= set(by_value):
                    meant[name] = by_value[plain(reading[name])]
                elif len(by_value) == 1:
                    meant[name] = sweep.values[0]
                else:
                    self.report(
                        "MFV5331", part, f"`{part.text}` has several conditions for each relation",
                        "which one is meant?", f"sweep `{name}` here, too, over the same values",
                        (Label(sweep.place, f"`{part.text}` is swept over this"),),
                    )  # fmt: skip
                    return Gap("", span=part.span)
            return replace(part, text=self._name(other, meant))

        changed: Expr = rewritten(node, reading_of)
        return changed

    def _first_of_defaults(self, item: Item) -> Item:
        """`defaults` with the first value of each sweep: what stands there is looked at once."""
        first = {name: sweep.values[0] for name, sweep in self.sweeps.items()}
        if isinstance(item, Declaration):
            return item
        attributes = []
        for attribute in item.attributes:
            value = attribute.value
            if item.reach is not None and takes_one(item.reach.text, attribute):
                value = (self._values(value, f"`{attribute.name.text}`") or (Gap(""),))[0]
            value = self._value(value, first, None, (), None)
            attributes.append(replace(attribute, value=value))
        return replace(item, attributes=tuple(attributes))


#: What a default is looked into for that belongs to no item.
_NOTHING = Declaration(Name(""), Name(""), (), Gap(""))


def _attribute(name: str, value: Expr) -> Attribute:
    return Attribute(Name(name, span=value.span), value, given=True, span=value.span)
