"""Sets of vectors from folders, by their models: what `mfv compare-models` compares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.inputs import vector_files
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods.model_comparison import (
    Arrangement,
    Ceiling,
    ModelComparison,
    arrangement,
    ceiling,
    compare_arrangements,
)
from mfv_dsl.methods.vectors import Vector

#: What a vector's name has around that of its relation in the folder of a run: how it was made, and
#: the beginning of its step's key.
_AROUND = re.compile(r"^fv_|_[0-9a-f]{8}$")


@dataclass(frozen=True, repr=False)
class ModelComparisons(Short):
    """Models compared, two by two: by the name of each its ``arrangements`` and, of several sets of
    vectors, its ``ceilings``; ``pairs`` has a comparison for every two."""

    arrangements: Mapping[str, Arrangement]
    ceilings: Mapping[str, Ceiling]
    pairs: Mapping[tuple[str, str], ModelComparison]

    def to_json(self) -> dict[str, Any]:
        """What was found, as plain data."""
        return {
            "relations": list(next(iter(self.arrangements.values())).relations),
            "models": [
                {"model": name, "dissimilarities": one.dissimilarities.tolist(),
                 "sets": len(one.single),
                 "ceiling": asdict(self.ceilings[name]) if name in self.ceilings else None}
                for name, one in self.arrangements.items()
            ],
            "pairs": [{"models": list(of), **asdict(pair)} for of, pair in self.pairs.items()],
        }  # fmt: skip


def compare_models(
    folders: Sequence[str | Path], names: Sequence[str] = (), distance: str = "cosine",
    draws: int = 9999, seed: int = 0,
) -> ModelComparisons:  # fmt: skip
    """Models compared by how their vectors for the same relations lie to one another.

    Args:
        folders: Of each a set of vectors: a library, or the folder of a run.  Several of one model,
            such as those of several seeds, are taken together, unless all are of one model: then
            each stands for itself.
        names: Patterns of the vectors that are taken, such as ``tuned_*``; all that every folder
            has if left out.
        distance: ``cosine`` or ``correlation``.
        draws: Orders that are drawn where relations are too many to try all.
        seed: Of the draws.

    Raises:
        MfvError: MFV5601 for fewer than two folders, or fewer than three vectors that all have;
            MFV5603 for two vectors of one name in the folder of a run; MFV5304 for one that is
            zero; MFV5303 for a folder with vectors of several models; and what reading raises.
    """
    if len(folders) < 2:
        raise MfvError(
            "MFV5601", "models are compared by two folders of vectors at least, and there is "
            f"{'one' if folders else 'none'}",
            help="name a library of vectors, or the folder of a run, for each model",
        )  # fmt: skip
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise MfvError(
            "MFV5601", f"a folder is named twice: {', '.join(map(str, folders))}",
            help="name another folder for the other model",
        )  # fmt: skip
    sets = {str(folder): _vectors(str(folder)) for folder in folders}
    common = [
        name for name in next(iter(sets.values()))
        if all(name in vectors for vectors in sets.values())
        and (not names or any(fnmatchcase(name, pattern) for pattern in names))
    ]  # fmt: skip
    groups = _by_model(sets)
    arrangements = {name: arrangement(own, common, distance) for name, own in groups.items()}
    ceilings = {name: ceiling(one) for name, one in arrangements.items()}
    return ModelComparisons(
        arrangements,
        {name: one for name, one in ceilings.items() if one is not None},
        {
            (a, b): compare_arrangements(arrangements[a], arrangements[b], draws, seed)
            for a, b in combinations(arrangements, 2)
        },
    )


def _vectors(folder: str) -> dict[str, Vector]:
    """The vectors of a folder by what they are called there."""
    own = Path(folder) / "vectors"
    is_run = (Path(folder) / "manifest.json").is_file() and own.is_dir()
    found: dict[str, Vector] = {}
    where = str(own) if is_run else folder
    files = vector_files(where)
    if files is None:
        raise MfvError("MFV6001", f"there is no folder of vectors {folder}")
    for path in files.values():
        name = _AROUND.sub("", path.stem) if is_run else path.stem
        if name in found:
            raise MfvError(
                "MFV5603", f"{folder} has several vectors called `{name}`",
                help="`save` in the recipe gives each vector a name of its own in a library",
            )  # fmt: skip
        found[name] = load_vector(path).vector
    return found


def _by_model(
    sets: Mapping[str, Mapping[str, Vector]],
) -> dict[str, list[Mapping[str, Vector]]]:
    """Sets of vectors by a name of their model, or where all are of one model by folder."""
    of_model: dict[str, list[str]] = {}
    for folder, vectors in sets.items():
        first = next(iter(vectors.values()))
        of_model.setdefault(first.space.fingerprint, []).append(folder)
    if len(of_model) == 1:
        return {folder: [vectors] for folder, vectors in sets.items()}
    return {", ".join(own): [sets[folder] for folder in own] for own in of_model.values()}
