"""What `save` blocks write where: names of vectors, and two of one name in one folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.disk import check_path
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import file_name, fitting, plain
from mfv_dsl.base.places import identity_of_place
from mfv_dsl.base.source import Span
from mfv_dsl.lang.checked import CheckedBlock
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.relations import bound, relation_text, substituted
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Axis, Call, Expr, Name, Text, as_called
from mfv_dsl.lang.unparse import unparse

_ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]*://|hf:")  # of the Hub, of the web, of a cloud


def vector_name(expr: Expr, relations: Mapping[str, str], axes: Iterable[Axis] = ()) -> str:
    """The file name of a saved vector: ``left`` for fv(left), ``pure_left`` for pure(left),
    ``left_draw_2`` for what is saved for each value of a sweep.

    ``relations`` says what names of relations, such as ``each``, stand for.
    """
    reading = "".join(f"_{plain(f'{axis.name}_{axis.value}')}" for axis in axes)
    return fitting(_name_of(substituted(as_called(expr), relations), relations) + reading)


def _name_of(expr: Expr, relations: Mapping[str, str]) -> str:
    if isinstance(expr, Name):
        return _own(expr)
    if isinstance(expr, Call) and _is_of_pair(expr):
        names = [relation_text(argument) or "" for argument in expr.arguments]
        return "_".join((_own(expr.function), *map(file_name, names)))
    if isinstance(expr, Call) and _is_of_one(expr):
        relation = file_name(bound(relation_text(expr.arguments[0]) or "", relations))
        return relation if expr.function.text == "fv" else f"{_own(expr.function)}_{relation}"
    return plain(unparse(substituted(expr, relations)))


def _own(name: Name) -> str:
    """What another file, used under a name of its own, calls what it declares."""
    return name.text.rpartition(".")[2]


def _is_of_pair(call: Call) -> bool:
    """Whether a call is of a family of two relations, as no function is."""
    texts = [relation_text(argument) for argument in call.arguments]
    return len(texts) == 2 and None not in texts and call.function.text not in FUNCTION


def _is_of_one(call: Call) -> bool:
    """Whether a call is of one relation, or of one name."""
    return len(call.arguments) == 1 and (
        isinstance(call.arguments[0], Name)
        or (isinstance(call.arguments[0], Text) and call.function.text != "load")
    )


def is_per_relation(expr: Expr) -> bool:
    """Whether an expression of a `save` stands for one vector a relation."""
    return any(isinstance(node, Name) and node.text == "each" for node in expr.walk())


def check_folder(scope: Scope, at: Name | Text | None, folder: str) -> None:
    """Refuse (MFV6016, MFV6122) a folder that is none of this machine or cannot be made; warn
    (MFV6121) of one that may not be made here.  ``~`` is a user's own folder."""
    if at is None:
        return
    if _ADDRESS.match(folder):
        scope.error(
            "MFV6016", at, f"vectors are saved into a folder, and `{folder}` is an address", "",
            'save into a folder, such as "vectors/mine", and then `mfv vectors push FOLDER '
            "hf://org/repo`",
        )  # fmt: skip
        return
    path = os.path.expanduser(folder)
    if path.startswith("~"):
        user = folder.partition("/")[0]
        scope.error(
            "MFV6016", at, f"there is no user `{user[1:]}` whose own folder `{user}` is", "",
            f"for a folder of that name, write `./{user}`",
        )  # fmt: skip
        return
    try:
        check_path(path)
    except MfvError as error:
        severity = "error" if error.code == "MFV6122" else "warning"
        scope.error(error.code, at, error.message, "", error.help, severity=severity)


def check_saves(scope: Scope, blocks: Iterable[CheckedBlock]) -> None:
    """Report (MFV5006) a vector that a `save` would write in the place of another one's of the same
    name, however the two write the folder; names that differ by capitals alone count as one."""
    saves = [block for block in blocks if block.kind == "save"]
    first: dict[tuple[object, str], tuple[CheckedBlock, Span]] = {}
    for block in saves if len(saves) > 1 else ():
        folder = identity_of_place(block.name)
        for name, at in dict(_written(block)).items():
            other, place = first.setdefault((folder, name.lower()), (block, at))
            if other is not block:
                as_written = f" ({other.name})" if other.name != block.name else ""
                scope.error(
                    "MFV5006", at,
                    f"`{name}` would be saved twice into {block.name}", "in the place of the other",
                    "name another folder, or declare one as `vector NAME = ...` and save it by "
                    "that name",
                    secondary=[Label(place, f"saved here{as_written}")],
                )  # fmt: skip
                break


def _written(block: CheckedBlock) -> Iterator[tuple[str, Span]]:
    """The names of the vectors that a `save` writes, as far as they are known, and where it says
    so."""
    expressions = block["vectors"]
    for expr in expressions if isinstance(expressions, tuple) else ():
        relations = (block["on"] or ()) if is_per_relation(expr) else ("",)
        for relation in relations:
            bound = {"each": relation} if relation else {}
            yield vector_name(expr, bound, block.axes), expr.span
