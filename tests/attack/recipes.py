"""Recipes drawn at random from the words of the language, and damaged word by word.

They are written from the declarations in :mod:`mfv_dsl.lang.entries`, so that a new word is among
them by itself.  Most numbers make sense and some do not; most names are declared and some are not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM, PLACED, UNITS, VECTOR_WRITES
from mfv_dsl.lang.functions import FUNCTIONS
from mfv_dsl.lang.registry import Entry, Parameter

_SEED = Parameter("seed", ("Number",), "", unit="seed")
RELATIONS = ("left", "right", "above", "below")
SPLITS = ("extract", "train", "validation", "test")
NUMBERS = (
    "0", "1", "2", "3", "7", "8", "-1", "0.5", "1.5", "1e-3", "100", "1e9", "1e308", "1e-320",
    "999999999999", "0.1", "2.0", "-0.0", "1e400",
)  # fmt: skip
_WORD = re.compile(r'"[^"\n]*"|[A-Za-z_]\w*|\d+\.?\d*(?:e-?\d+)?|\.\.|\S|\n')
_HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=40)
defaults { trials = 4, items = 4, heads = top(3, on=[left], trials=4), shots = 1 }
"""


class Writer:
    """Writes one recipe; everything is drawn from ``chance``."""

    def __init__(self, chance: random.Random, odd: float = 0.06) -> None:
        self.chance = chance
        self.odd = odd  # how often something is written that may make no sense
        self.vectors: list[str] = []
        self.families: list[str] = []
        self.heads: list[str] = []
        self.evals: list[str] = []
        self.sweeps: list[str] = []
        self.constants: list[str] = []
        self.pairs: list[str] = []
        self.each = False  # whether a relation may be called `each` here

    def recipe(self) -> str:
        """A recipe of a few declarations and blocks."""
        parts = [_HEAD]
        for number in range(self.chance.randint(1, 5)):
            kind = self.chance.choice(
                (
                    "heads",
                    "vector",
                    "family",
                    "tune",
                    "eval",
                    "eval",
                    "eval",
                    "save",
                    "profile",
                    "sweep",
                    "report",
                    "reach",
                    "constant",
                    "pair",
                )
            )
            parts.append(getattr(self, f"_{kind}")(number))
        if self.chance.random() < self.odd:
            self.chance.shuffle(parts)
        return "\n".join(parts) + "\n"

    # -- items ------------------------------------------------------------------------------------
    def _heads(self, number: int) -> str:
        text = f"heads h{number} = {self.head_set(2)}"
        self.heads.append(f"h{number}")
        return text

    def _vector(self, number: int) -> str:
        text = f"vector v{number} = {self.vector(2)}"
        self.vectors.append(f"v{number}")
        return text

    def _family(self, number: int) -> str:
        outer = self.each
        self.each = True
        value = re.sub(r"\beach\b", "r", self.vector(2))
        self.each = outer
        self.families.append(f"w{number}")
        return f"vector w{number}(r) = {value}"

    def _pair(self, number: int) -> str:
        outer = self.each
        self.each = True
        value = re.sub(r"\beach\b", lambda _: self.chance.choice(("a", "b")), self.vector(2))
        self.each = outer
        self.pairs.append(f"p{number}")
        return f"vector p{number}(a, b) = {value}"

    def _constant(self, number: int) -> str:
        parameter = Parameter("layer", ("Number",), "", unit="layer")
        kind = self.chance.choice(("Number", "Range", "List[Number]", "List[Relation]", "Relation"))
        name = f"c{number}" if self.chance.random() > self.odd else "h0"
        text = f"let {name} = {self.of_type(kind, parameter, 1)}"
        self.constants.append(name)
        return text

    def _tune(self, number: int) -> str:
        text = self.block("tune", f"t{number}")
        self.families.append(f"t{number}")
        return text

    def _eval(self, number: int) -> str:
        name = f"e{number}" if self.chance.random() > self.odd else "e0"
        text = self.block("eval", name)
        self.evals.append(name)
        return text

    def _save(self, number: int) -> str:
        return self.block("save", f'"made/{number % 2}"')

    def _sweep(self, number: int) -> str:
        size = self.chance.choice((0, 1, 2, 2, 3))
        values = [self.number(_SEED) for _ in range(size)]
        whole = f"{self.number(_SEED)}..{self.number(_SEED)}"
        text = whole if self.chance.random() < 0.3 else f"[{', '.join(values)}]"
        name = f"s{number}" if self.chance.random() > self.odd else "layer"
        self.sweeps.append(name)
        return f"sweep {name} = {text}"

    def _report(self, number: int) -> str:
        self.each = True
        lines = [f"  {self.call('Number', 2)}" for _ in range(self.chance.randint(1, 2))]
        self.each = False
        return "report {\n" + "\n".join(lines) + "\n}"

    def _reach(self, number: int) -> str:
        kind = self.chance.choice(("eval", "tune", "save", "report", "fv", "top", "random"))
        parameters = (ITEM.get(kind) or FUNCTION[kind]).parameters
        self.each = kind in ITEM
        written = self.chance.sample(parameters, min(2, len(parameters)))
        lines = [f"  {p.name} = {self.value(p)}" for p in written]
        self.each = False
        return f"defaults for {kind} {{\n" + "\n".join(lines) + "\n}"

    def _profile(self, number: int) -> str:
        names = [*self.evals, "defaults", "d", "m", *self.sweeps]
        lines = [
            f"  {self.chance.choice(names)}.{p.name} = {self.value(p)}"
            for p in self.chance.sample(ITEM["eval"].parameters, 2)
        ]
        return f"profile p{number} {{\n" + "\n".join(lines) + "\n}"

    def block(self, kind: str, label: str) -> str:
        """A block with the attributes it must have, and some of the others."""
        self.each = True
        parameters = ITEM[kind].parameters
        share = self.chance.random() ** 2
        written = [p for p in parameters if p.required or self.chance.random() < share]
        if kind == "eval" and self.chance.random() < 0.6:
            names = (self.chance.choice(("add", *PLACED)), "layer")
            written = [p for p in written if p.name not in VECTOR_WRITES]
            written += [p for p in parameters if p.name in names and p not in written]
            if self.chance.random() < 0.2:
                names = ("when", "when_layer", "above")
                written += [p for p in parameters if p.name in names and p not in written]
        lines = [f"  {p.name} = {self.value(p)}" for p in written]
        if lines and self.chance.random() < self.odd:
            lines.append(self.chance.choice(lines))
        self.each = False
        return f"{kind} {label} {{\n" + "\n".join(lines) + "\n}"

    # -- values -----------------------------------------------------------------------------------
    def value(self, parameter: Parameter, depth: int = 2) -> str:
        """A value of one of the parameter's types."""
        if self.chance.random() < self.odd:
            return self.oddity()
        if parameter.read_again and self.chance.random() < 0.25:
            kind = f"List[{parameter.types[0]}]"
            return self.of_type(self.chance.choice((kind, "Range")), parameter, depth)
        return self.of_type(self.chance.choice(parameter.types), parameter, depth)

    def of_type(self, kind: str, parameter: Parameter, depth: int) -> str:
        if kind.startswith("List["):
            inner = kind[5:-1]
            size = self.chance.choice((0, 1, 1, 2, 2, 3))
            return f"[{', '.join(self.of_type(inner, parameter, depth) for _ in range(size))}]"
        writers: dict[str, Callable[[], str]] = {
            "Number": lambda: self.number(parameter),
            "Range": lambda: f"{self.number(parameter)}..{self.number(parameter)}",
            "Text": lambda: self.chance.choice(('"a"', '""', '"vectors/flamingo-tiny"', '"left"')),
            "Boolean": lambda: self.chance.choice(tuple(CONSTANTS)),
            "Name": self.relation,
            "Relation": self.relation,
            "Choice": lambda: self.chance.choice(parameter.choices or ("none",)),
            "Split": lambda: self.chance.choice(SPLITS),
            "Model": lambda: "m",
            "Dataset": lambda: "d",
            "Eval": lambda: self.chance.choice([*self.evals, "e0", "zero_shot"]),
            "Heads": lambda: self.head_set(depth - 1),
            "Vector": lambda: self.vector(depth - 1),
            "States": lambda: self.states(depth - 1),
            "Adapter": lambda: self.call("Adapter", depth - 1),
            "Layers": lambda: f"{{{self.number(parameter)}, {self.number(parameter)}}}",
            "Code": lambda: self.chance.choice(("MFV4010", "MFV2060", "MFV3024", "MFV9999")),
        }
        return writers[kind]()

    def number(self, parameter: Parameter | None = None) -> str:
        if parameter is None or self.chance.random() < self.odd:
            return self.chance.choice(NUMBERS)
        if self.sweeps and self.chance.random() < 0.15:
            return self.chance.choice(self.sweeps)
        if self.constants and self.chance.random() < 0.1:
            return self.chance.choice(self.constants)
        unit = UNITS[parameter.unit or "factor"]
        whole = str(self.chance.choice((0, 1, 1, 2, 3, 4, 6)))
        return whole if unit.whole else self.chance.choice((whole, "0.5", "1e-2", "-1", "2"))

    def relation(self) -> str:
        if self.each and self.chance.random() < 0.4:
            return "each"
        return self.chance.choice(RELATIONS)

    def head_set(self, depth: int) -> str:
        if depth > 0 and self.chance.random() < 0.3:
            joint = self.chance.choice("|&-")
            return f"({self.head_set(depth - 1)} {joint} {self.head_set(depth - 1)})"
        return self.chance.choice(
            [*self.heads, "L3H6", "[L0H0, L2H6]", "{L1H1}", self.call("Heads", depth)]
        )

    def match(self, depth: int) -> str:
        """A choice between vectors by the relation."""
        names = self.chance.sample(RELATIONS, self.chance.choice((0, 1, 2, 4)))
        names += ["else"] if len(names) < 4 or self.chance.random() < self.odd else []
        if self.chance.random() < self.odd:
            names.append(self.chance.choice((*RELATIONS, "nowhere")))
        cases = ", ".join(f"{name}: {self.vector(depth - 1)}" for name in names)
        return f"(match each {{ {cases} }})"

    def vector(self, depth: int) -> str:
        if depth > 0 and self.each and self.chance.random() < 0.15:
            return self.match(depth)
        if depth > 0 and self.chance.random() < 0.5:
            draw = self.chance.random()
            if draw < 0.35:
                joint = self.chance.choice("+-")
                return f"{self.vector(depth - 1)} {joint} {self.vector(depth - 1)}"
            if draw < 0.6:
                joint = self.chance.choice("*/")
                number = self.chance.choice((self.number(), self.call("Number", depth - 1)))
                pair = (f"({self.vector(depth - 1)})", number)
                return f" {joint} ".join(pair if joint == "/" else self.chance.sample(pair, 2))
            return self.call("Vector", depth - 1)
        families = [f"{name}({self.relation()})" for name in self.families]
        families += [f"{name}({self.relation()}, {self.relation()})" for name in self.pairs]
        return self.chance.choice([*self.vectors, *families, f"fv({self.relation()})"])

    def states(self, depth: int) -> str:
        """Rows of states, mostly of prompts and places that go together."""
        if depth > 0 and self.chance.random() < 0.4:
            return f"{self.states(depth - 1)} {self.chance.choice('+-')} {self.states(depth - 1)}"
        if depth > 0 and self.chance.random() < 0.2:
            return f"({self.states(depth - 1)}) {self.chance.choice('*/')} {self.number()}"
        if self.chance.random() < 0.2:
            return self.call("States", depth)
        more = self.chance.choice(
            ("layer=3", "layer=all", "layer={1, 2}, site=[mlp, attention]", "layer=3, shots=0",
             "layer=all, shots=0", "layer=3, position=demonstrations", "layer=3, corrupt=shuffle")
        )  # fmt: skip
        return f"states({self.relation()}, {more})"

    def call(self, result: str, depth: int) -> str:
        """A call of a function with that result."""
        entries = [entry for entry in FUNCTIONS if entry.result == result]
        entry = self.chance.choice(entries)
        return f"{entry.name}({', '.join(self.arguments(entry, depth))})"

    def arguments(self, entry: Entry, depth: int) -> list[str]:
        words = []
        for parameter in entry.parameters:
            times = self.chance.randint(1, 3) if parameter.variadic else 1
            for _ in range(times):
                if parameter.required or self.chance.random() < 0.15:
                    value = self.value(parameter, depth)
                    words.append(value if parameter.positional else f"{parameter.name}={value}")
        return words

    def oddity(self) -> str:
        return self.chance.choice(
            (*NUMBERS, "[]", "each", "native", "true", '""', "left", "m", "d", "L0H0", "L99H0",
             "0..0", "3..1", "0..1e9", "[1, [2]]", "fv(each)", "zeros()", "-fv(left)", "e0",
             "top(0)", "all() - all()", "normalize(zeros())", "fv(left) / 0", "[each]", "none")
        )  # fmt: skip


def drawn(chance: random.Random) -> str:
    """A recipe; one in three damaged in a few words."""
    text = Writer(chance).recipe()
    return damaged(text, chance) if chance.random() < 0.33 else text


def damaged(text: str, chance: random.Random) -> str:
    """The text with a few of its words left out, doubled, or in place of others."""
    words = _WORD.findall(text)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(3, len(words))  # what stands first is the language's version
        kind = chance.randrange(4)
        if kind == 0:
            del words[at]
        elif kind == 1:
            words.insert(at, words[chance.randrange(len(words))])
        elif kind == 2:
            words[at] = words[chance.randrange(len(words))]
        else:
            words[at] = chance.choice((*NUMBERS, "[", "]", "{", "}", "=", "each", "left"))
    return " ".join(words).replace(" \n ", "\n")
