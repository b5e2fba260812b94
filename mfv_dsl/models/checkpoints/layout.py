"""What a checkpoint's name or folder stands for: three parts, each a folder or a repository.

A folder of one's own holds ``checkpoint.pt`` (or ``checkpoint.safetensors``) and
``flamingo.json``::

    {"language": "language", "vision": "vision", "cross_attn_every_n_layers": 2}

``language`` and ``vision`` name folders in it, or repositories of the hub.  A folder that is called
like a published checkpoint needs no ``flamingo.json``.  No torch, no hub.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json, reason
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN, PublishedCheckpoint

SETTINGS = "flamingo.json"
_KEYS = ("language", "vision", "cross_attn_every_n_layers")
_LAYOUT = f"""a folder of your own holds
checkpoint.pt, {SETTINGS}, language/ (as transformers saves it), vision/ (as open_clip saves it)"""


@dataclass(frozen=True)
class Repository:
    """A repository of the hub at a revision."""

    name: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.name


CheckpointPart: TypeAlias = "Path | Repository"


@dataclass(frozen=True)
class CheckpointLayout:
    """Where a checkpoint's parts are, whether or not their files are there.

    ``publication`` is the published checkpoint that it is by its name.
    """

    name: str
    checkpoint: CheckpointPart
    language: CheckpointPart
    vision: CheckpointPart
    every: int
    publication: PublishedCheckpoint | None = None

    @property
    def parts(self) -> dict[str, CheckpointPart]:
        """checkpoint, language, vision."""
        return {"checkpoint": self.checkpoint, "language": self.language, "vision": self.vision}


def checkpoint_layout(path: str) -> CheckpointLayout:
    """What ``path`` stands for: a published checkpoint's name, or a folder.

    Raises MfvError: MFV7210 for neither, MFV7211 for a folder that does not say what is in it,
    MFV7212 for a ``flamingo.json`` that cannot be used.
    """
    if path in KNOWN:
        return _published(path, KNOWN[path])
    folder = user_path(path)
    if os.path.isfile(folder / SETTINGS):
        return _described(path, folder)
    by_name = {checkpoint.short: checkpoint for checkpoint in KNOWN.values()}
    if folder.name in by_name:
        return _published(path, by_name[folder.name], folder)
    if os.path.isdir(folder):
        raise MfvError(
            "MFV7211",
            f"the folder {path} has no {SETTINGS} that says what its language and vision models "
            "are",
            help=f"{_LAYOUT};\nin {SETTINGS}: "
            '{"language": "language", "vision": "vision", "cross_attn_every_n_layers": 2}',
            argument="path",
        )
    near = suggest(path, KNOWN) or suggest(folder.name, by_name)
    raise MfvError(
        "MFV7210",
        f"there is no OpenFlamingo checkpoint {path}",
        help=f"did you mean `{near if near in KNOWN else by_name[near].name}`?" if near else None,
        notes=("the published checkpoints are\n" + "\n".join(KNOWN), _LAYOUT),
        argument="path",
    )


def _published(
    path: str, publication: PublishedCheckpoint, folder: Path | None = None
) -> CheckpointLayout:
    """A published checkpoint; what ``folder`` holds of it comes first."""
    language: CheckpointPart = Repository(publication.language.repo)
    vision: CheckpointPart = Repository(publication.vision.repo)
    checkpoint: CheckpointPart = Repository(publication.name, publication.revision)
    if folder is not None:
        checkpoint = folder
        language = inside if (inside := folder / "language").is_dir() else language
        vision = inside if (inside := folder / "vision").is_dir() else vision
    return CheckpointLayout(path, checkpoint, language, vision, publication.every, publication)


def _described(path: str, folder: Path) -> CheckpointLayout:
    """A folder with its own description."""
    try:
        settings = read_json(folder / SETTINGS, LARGEST_CONFIG)
    except (OSError, BadText) as error:
        raise _unusable(folder, reason(error)) from None
    if not isinstance(settings, dict) or set(settings) != set(_KEYS):
        raise _unusable(folder, f"it says something else than {', '.join(_KEYS)}")
    every = settings["cross_attn_every_n_layers"]
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise _unusable(folder, f"cross_attn_every_n_layers is {every!r}, no number of layers")
    return CheckpointLayout(
        path, folder, _part(folder, "language", settings), _part(folder, "vision", settings), every
    )


def _part(folder: Path, key: str, settings: dict[str, Any]) -> CheckpointPart:
    """A folder inside ``folder`` (or anywhere, if absolute), else a repository ``owner/name``."""
    value = settings[key]
    if not isinstance(value, str) or not value:
        raise _unusable(folder, f"{key} is {value!r}, no folder and no repository")
    inside = folder / value
    if inside.is_dir() or value.count("/") != 1 or value.startswith((".", "/")):
        return inside
    return Repository(value)


def _unusable(folder: Path, why: str) -> MfvError:
    return MfvError(
        "MFV7212",
        f"{folder / SETTINGS} cannot be used: {why}",
        help='it looks like {"language": "language", "vision": "vision", '
        '"cross_attn_every_n_layers": 2}',
        argument="path",
    )
