"""Finds a checkpoint's files, in folders and in the hub's cache, and fetches them when asked to.

Nothing goes over the network unless ``download`` is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.hub_cache import cached_revision, choice_of, snapshots
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json, reason
from mfv_dsl.models.checkpoints.layout import (
    CheckpointLayout,
    CheckpointPart,
    Repository,
    checkpoint_layout,
)
from mfv_dsl.models.checkpoints.published_checkpoints import LANGUAGES

#: What each part needs beside weights; what is taken along where there is such a file.
NEEDED: dict[str, tuple[str, ...]] = {
    "checkpoint": (),
    "language": ("config.json", "tokenizer.json"),
    "vision": ("open_clip_config.json",),
}
OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json")
#: Files that weights may be in, the first that is there counts; an index names further files.
_WEIGHTS = {
    "checkpoint": ("checkpoint.pt", "checkpoint.safetensors"),
    "language": (
        "model.safetensors", "model.safetensors.index.json",
        "pytorch_model.bin", "pytorch_model.bin.index.json",
    ),
    "vision": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
}  # fmt: skip


@dataclass(frozen=True)
class Files:
    """The files of a checkpoint that are all there: of the language model its folder."""

    checkpoint: Path
    language: Path
    vision_config: Path
    vision_weights: Path


def find(part: CheckpointPart, name: str) -> Path | None:
    """The file ``name`` of a part, if it is here."""
    if isinstance(part, Path):
        return path if (path := part / name).is_file() else None
    if not snapshots(part.name):  # nothing of it; the Hub's client takes long to import
        return None
    from huggingface_hub import try_to_load_from_cache

    revision = cached_revision(part.name, part.revision)
    cached = try_to_load_from_cache(part.name, name, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def weight_files(kind: str, part: CheckpointPart) -> tuple[list[Path], list[str]]:
    """The files that hold a part's weights, and the names of those that are missing."""
    for name in _WEIGHTS[kind]:
        if (path := find(part, name)) is not None:
            shards = _shards(path)
            shard_paths = {shard: find(part, shard) for shard in shards}
            paths = [path, *(shard for shard in shard_paths.values() if shard is not None)]
            return paths, [shard for shard in shards if shard_paths[shard] is None]
    if isinstance(part, Repository) and part.name in LANGUAGES:
        return [], list(LANGUAGES[part.name].weights)
    return [], [_WEIGHTS[kind][0]]


def _shards(path: Path) -> list[str]:
    """The files that an index names; none for a file that holds weights itself."""
    if not path.name.endswith(".index.json"):
        return []
    try:
        index = read_json(path, LARGEST_CONFIG)
    except (OSError, BadText) as error:
        raise MfvError("MFV7215", f"{path} is no index of weight files: {reason(error)}") from None
    places = index.get("weight_map") if isinstance(index, dict) else None
    names = places.values() if isinstance(places, dict) else [None]
    if not all(isinstance(name, str) for name in names):
        raise MfvError(
            "MFV7215",
            f"{path} is no index of weight files: it has no `weight_map` of names of files",
        )
    return sorted(set(names))


def missing_files(kind: str, part: CheckpointPart) -> list[str]:
    """The names of a part's files that are not here."""
    needed = [name for name in NEEDED[kind] if find(part, name) is None]
    return needed + weight_files(kind, part)[1]


def is_here(path: str) -> bool:
    """Whether all files of a checkpoint are here."""
    return not any(
        missing_files(kind, part) for kind, part in checkpoint_layout(path).parts.items()
    )


def locate(layout: CheckpointLayout, download: bool = False) -> Files:
    """All files of a checkpoint; with ``download`` those that are missing are fetched first.

    Raises MfvError: MFV7213 names every missing file and how to get it, MFV7214 says why fetching
    failed.
    """
    if download:
        for kind, part in layout.parts.items():
            if isinstance(part, Repository) and missing_files(kind, part):
                _fetch(kind, part)
    missing = {kind: missing_files(kind, part) for kind, part in layout.parts.items()}
    if any(missing.values()):
        raise _missing(layout, missing)
    config = find(layout.language, "config.json")
    clip = find(layout.vision, "open_clip_config.json")
    assert config is not None and clip is not None
    (checkpoint, *_), (vision, *_) = (
        weight_files(kind, layout.parts[kind])[0] for kind in ("checkpoint", "vision")
    )
    return Files(checkpoint, config.parent, clip, vision)


def resolved(path: str, **_: Any) -> dict[str, dict[str, str]]:
    """Where each part of ``openflamingo(path, …)`` comes from: a folder, or a repository at the
    commit that is in the cache (at the revision asked for where nothing is)."""
    return {kind: _source(kind, part) for kind, part in checkpoint_layout(path).parts.items()}


def _source(kind: str, part: CheckpointPart) -> dict[str, str]:
    if isinstance(part, Path):
        return {"folder": str(part)}
    paths = [find(part, name) for name in (*NEEDED[kind], *_WEIGHTS[kind])]
    commit = next((path.parent.name for path in paths if path is not None), part.revision)
    return {"repository": part.name, "commit": commit}


# -- fetching -------------------------------------------------------------------------------------
def _fetch(kind: str, part: Repository) -> None:
    """Bring a part's files into the hub's cache."""
    from huggingface_hub import HfApi, hf_hub_download

    def get(name: str) -> Path:
        return Path(hf_hub_download(part.name, name, revision=part.revision))

    try:
        offered = HfApi().list_repo_files(part.name, revision=part.revision)
        for name in _files_of_part(kind, offered, get):
            get(name)
    except Exception as error:  # of the hub, of its HTTP library, of the system
        reason = str(error).strip().partition("\n")[0]
        raise MfvError(
            "MFV7214",
            f"cannot fetch the files of {part.name}: {reason or type(error).__name__}",
            help="what was fetched is kept; run it again to go on",
        ) from None


def _files_of_part(kind: str, offered: list[str], get: Callable[[str], Path]) -> Iterator[str]:
    """Those of the files ``offered`` that a part needs."""
    yield from NEEDED[kind]
    yield from (name for name in OPTIONAL if kind == "language" and name in offered)
    weights = next((name for name in _WEIGHTS[kind] if name in offered), None)
    if weights is not None:
        yield weights
        yield from _shards(get(weights)) if weights.endswith(".json") else ()


# -- what is missing ------------------------------------------------------------------------------
def _missing(layout: CheckpointLayout, missing: dict[str, list[str]]) -> MfvError:
    """One error for all missing files."""
    from huggingface_hub.constants import HF_HUB_CACHE

    notes, commands = [], []
    for kind, names in missing.items():
        part = layout.parts[kind]
        if not names:
            continue
        place = part if isinstance(part, Path) else f"the cache ({HF_HUB_CACHE})"
        size = _size(layout, kind, names)
        notes.append(f"{kind}: {', '.join(names)}{size}\nlooked for in {place}")
        if isinstance(part, Repository) and (choice := choice_of(part.name, part.revision)):
            notes.append(choice)
        if (command := _command(layout, kind, names)) is not None:
            commands.append(command)
    repositories = [part for kind, part in layout.parts.items()
                    if missing[kind] and isinstance(part, Repository)]  # fmt: skip
    ways = []
    if commands:
        ways.append("\n  ".join(["fetch them by", *commands]))
    if repositories:
        ways.append("let mfv fetch them: `mfv run RECIPE --download`, in Python download=True")
    return MfvError(
        "MFV7213",
        f"files of {layout.name} are not here",
        notes=notes,
        help="\nor ".join(ways) or "put them there",
    )


def _repository(layout: CheckpointLayout, kind: str) -> Repository | None:
    """The repository that a part's files come from; None for those of one's own."""
    part, publication = layout.parts[kind], layout.publication
    if isinstance(part, Repository) or publication is None:
        return part if isinstance(part, Repository) else None
    return {
        "checkpoint": Repository(publication.name, publication.revision),
        "language": Repository(publication.language.repo),
        "vision": Repository(publication.vision.repo),
    }[kind]


def _size(layout: CheckpointLayout, kind: str, names: list[str]) -> str:
    """How much there is to fetch, where that is known and weights are among it."""
    source = _repository(layout, kind)
    if layout.publication is None or source is None or all(name in NEEDED[kind] for name in names):
        return ""
    return f" (about {layout.publication.download[source.name] / 1e9:.1f} GB)"


def _command(layout: CheckpointLayout, kind: str, names: list[str]) -> str | None:
    """What to type to fetch a part's files to where they are looked for."""
    source, part = _repository(layout, kind), layout.parts[kind]
    if source is None:
        return None
    extras = [name for name in OPTIONAL if kind == "language"]
    revision = f" --revision {source.revision}" if source.revision != "main" else ""
    place = f" --local-dir {part}" if isinstance(part, Path) else ""
    return f"hf download {source.name} {' '.join([*names, *extras])}{revision}{place}"
