"""How much a vector's file would say of what the vector was made of, known before it is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import quoted_relation
from mfv_dsl.lang.checked import Checked
from mfv_dsl.plan.steps import Save, Step, TuneRow

#: Bytes of metadata from which on a vector's file cannot be sure to hold them: a file's header is
#: 1 MiB at most, and there are result rows in it, too.
MOST = 800_000
#: Of a vector, its name's apart: hashes, numbers and the words around them.
_EACH, _EXTRACTED, _HEAD, _PART = 250, 700, 40, 30
#: Bytes of the lineage of a loaded vector that another one's file repeats; of more its own tells.
MOST_OF_LOADED = 20_000
#: Operations that give heads, or what heads are chosen by, and no vector.
_NO_VECTORS = frozenset(("activations", "mediation", "head_norms", "head_outputs",
                         "head_relevance", "head_mask", "head_probe", "head_votes",
                         "overall_mean", "evaluate", "answers", "off_task", "norm", "dot",
                         "cosine", "arithmetic"))  # fmt: skip


def check_files(
    checked: Checked, steps: Sequence[Step], saves: Iterable[Save], tunes: Iterable[TuneRow]
) -> None:
    """Refuse (MFV6073) a vector to be saved whose file could not say what it was made of; ``steps``
    are all of the plan, each after its inputs."""
    if metadata_bytes(steps, checked.datasets) <= MOST:
        return
    by_key = {step.key: step for step in steps}
    place = {step.key: number for number, step in enumerate(steps)}
    vectors = [(saved.name, saved.step) for save in saves for saved in save.vectors]
    vectors += [(f"{row.tune}({quoted_relation(row.relation)})", row.step) for row in tunes]
    for name, key in vectors:
        behind, work = {key}, [key]
        while work:
            new = set(by_key[work.pop()].input_keys) - behind
            behind |= new
            work += new
        ordered = [by_key[one] for one in sorted(behind, key=place.__getitem__)]
        size = metadata_bytes(ordered, checked.datasets)
        if size > MOST:
            _refuse(checked, name, size)


def _refuse(checked: Checked, name: str, size: int) -> None:
    message = (
        f"`{name}` is made of so many vectors that its file cannot name them: about "
        f"{size / 1e6:.1f} MB, and {MOST / 1e6:.1f} MB is the most"
    )
    help = "save parts of it, and combine in a second recipe what is loaded from there"
    label = name.partition("(")[0]
    item = checked.vectors.get(label) or checked.tunes.get(label)
    span = None if item is None else item.span
    source = None if item is None else checked.recipe.source
    raise MfvError("MFV6073", message, help, diagnostics=[
        Diagnostic("MFV6073", message, source, span, help=help)
    ])  # fmt: skip


def metadata_bytes(steps: Iterable[Step], datasets: Mapping[str, Any]) -> int:
    """About how many bytes the metadata of a vector's file takes, rather more than fewer.

    ``steps`` are the vector's own and all that it follows from, each after its inputs; ``datasets``
    are those of the recipe, by name.
    """
    heads: dict[str, int] = {}
    arguments = {
        name: len(json.dumps(dict(dataset.arguments), default=str))
        for name, dataset in datasets.items()
    }
    most = max(arguments.values(), default=0)
    total = 0
    for step in steps:
        p = step.parameters
        if step.operation in ("head_set", "top", "other_heads"):
            heads[step.key] = len(p["heads"]) if step.operation == "head_set" else p["k"]
        elif step.operation.startswith("head_") and step.operation != "head_norms":
            heads[step.key] = sum(heads.get(key, 0) for key in step.input_keys)
        elif step.operation not in _NO_VECTORS:
            # names are ASCII in the file: six bytes for a character beyond it
            total += _EACH + len(json.dumps(step.label)) + _PART * len(step.input_keys)
            if step.operation == "extract":
                chosen = sum(heads.get(key, 0) for key in step.input_keys)
                total += _EXTRACTED + _HEAD * chosen + most
            elif step.operation == "load":
                total += MOST_OF_LOADED + _EXTRACTED
    return total
