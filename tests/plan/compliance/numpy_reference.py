"""The meaning of vector expressions, said a second time: a small interpreter on NumPy.

It walks the syntax tree and computes in float64, without types, plans or steps.  It shares only the
parser with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from mfv_dsl.base.source import Source
from mfv_dsl.lang.parser import parse, parse_expression
from mfv_dsl.lang.syntax import Binary, Call, Declaration, Expr, Name, Number, Unary

Value: TypeAlias = "float | np.ndarray"
Bound = Mapping[str, str]  # a family's parameter -> the relation it stands for

#: function -> how many vectors it takes without a name (None: one or more), and by which names
TAKES: dict[str, tuple[int | None, tuple[str, ...]]] = {
    "mean": (None, ()),
    "normalize": (1, ()),
    "project": (1, ("onto",)),
    "reject": (1, ("from",)),
    "random_like": (1, ()),
    "zeros": (0, ()),
    "norm": (1, ()),
    "dot": (2, ()),
    "cosine": (2, ()),
}


class Refused(Exception):
    """The expression has no value; ``code`` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Reference:
    """Values of expressions over ``atoms``, the vectors (width,) that ``fv(relation)`` stands for;
    ``declarations`` are lines of a recipe."""

    def __init__(self, atoms: Mapping[str, list[float]], declarations: str = "") -> None:
        self.atoms = {name: np.array(numbers, dtype=np.float64) for name, numbers in atoms.items()}
        recipe = parse(Source(f"mfv 1\n{declarations}")).recipe
        assert recipe is not None
        items = [item for item in recipe.items if isinstance(item, Declaration)]
        self.declared = {item.name.text: item for item in items}

    def vector(self, expression: str) -> np.ndarray:
        """The vector that ``expression`` is. Raises Refused, or RecipeError for bad syntax."""
        return self._vector(parse_expression(Source(expression)), {})

    def number(self, expression: str) -> float:
        """The same for a number."""
        value = self._value(parse_expression(Source(expression)), {})
        if isinstance(value, np.ndarray):
            raise Refused("MFV3001")
        return value

    def _vector(self, node: Expr, bound: Bound) -> np.ndarray:
        value = self._value(node, bound)
        if not isinstance(value, np.ndarray):
            raise Refused("MFV3001")
        return value

    def _value(self, node: Expr, bound: Bound) -> Value:
        if isinstance(node, Number):
            return float(node.value)
        if isinstance(node, Name):
            return self._name(node.text, bound)
        if isinstance(node, Unary):
            value = self._value(node.operand, bound)
            return -value if node.operator == "-" else value
        if isinstance(node, Binary):
            return self._binary(node, bound)
        if isinstance(node, Call):
            return self._call(node, bound)
        raise Refused("MFV3001")

    def _name(self, name: str, bound: Bound) -> np.ndarray:
        if name in bound or name in self.atoms:
            raise Refused("MFV3001")  # a relation is no vector
        if name not in self.declared:
            raise Refused("MFV2002")
        if self.declared[name].parameters:
            raise Refused("MFV3010")
        return self._vector(self.declared[name].value, {})

    def _binary(self, node: Binary, bound: Bound) -> Value:
        left, right = self._value(node.left, bound), self._value(node.right, bound)
        vectors = isinstance(left, np.ndarray), isinstance(right, np.ndarray)
        if node.operator == "*" and all(vectors):
            raise Refused("MFV3003")
        joined = {
            "+": vectors[0] == vectors[1],
            "-": vectors[0] == vectors[1],
            "*": True,
            "/": not vectors[1],
        }
        if not joined.get(node.operator):
            raise Refused("MFV3002")
        if node.operator == "/" and right == 0:
            raise Refused(_not_finite(node.right))
        with np.errstate(over="ignore", invalid="ignore"):
            value = _OPERATORS[node.operator](left, right)
        if not np.isfinite(value).all():
            raise Refused("MFV5306" if any(vectors) else _not_finite(node))
        return value

    # -- calls ----------------------------------------------------------------------------------
    def _call(self, node: Call, bound: Bound) -> Value:
        name = node.function.text
        if name == "fv":
            return self.atoms[self._relation(node.arguments[0], bound)]
        if name not in TAKES:
            return self._member(node, bound)
        most, named = TAKES[name]
        if most is not None and len(node.arguments) > most:
            raise Refused("MFV2016")
        given = {keyword.name.text: keyword.value for keyword in node.keywords}
        seed = given.pop("seed") if name == "random_like" and "seed" in given else Number(1234)
        if set(given) - set(named):
            raise Refused("MFV2007")
        if set(given) != set(named) or len(node.arguments) < (1 if most is None else most):
            raise Refused("MFV2015")
        wanted = [*node.arguments, *(given[word] for word in named)]
        vectors = [self._vector(argument, bound) for argument in wanted]
        if name == "random_like":
            return _random_like(vectors[0], int(self._value(seed, bound)))
        if name == "zeros":
            return np.zeros_like(next(iter(self.atoms.values())))
        return _FUNCTIONS[name](*vectors)

    def _member(self, node: Call, bound: Bound) -> np.ndarray:
        family = self.declared.get(node.function.text)
        if family is None:
            raise Refused("MFV2003")
        if not family.parameters:
            raise Refused("MFV3010")
        if len(node.arguments) != 1:
            raise Refused("MFV2015")
        relation = self._relation(node.arguments[0], bound)
        return self._vector(family.value, {family.parameters[0].text: relation})

    def _relation(self, node: Expr, bound: Bound) -> str:
        if not isinstance(node, Name):
            raise Refused("MFV3001")
        if node.text == "each":
            raise Refused("MFV2010")
        relation = bound.get(node.text, node.text)
        if relation not in self.atoms:
            raise Refused("MFV2001")
        return relation


def _not_finite(node: Expr) -> str:
    """Numbers made of literals are refused by the checker, measured ones when they are known."""
    return "MFV5306" if any(isinstance(part, Call) for part in node.walk()) else "MFV3009"


def _direction(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    if length == 0:
        raise Refused("MFV5304")
    return vector / length


def _project(vector: np.ndarray, onto: np.ndarray) -> np.ndarray:
    along = _direction(onto)
    return (vector @ along) * along


def _random_like(vector: np.ndarray, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=vector.shape)
    return np.linalg.norm(vector) * _direction(drawn)


_OPERATORS = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
}
_FUNCTIONS = {
    "mean": lambda *vectors: np.mean(vectors, axis=0),
    "normalize": _direction,
    "project": _project,
    "reject": lambda vector, direction: vector - _project(vector, direction),
    "norm": lambda vector: float(np.linalg.norm(vector)),
    "dot": lambda first, second: float(first @ second),
    "cosine": lambda first, second: float(_direction(first) @ _direction(second)),
}
