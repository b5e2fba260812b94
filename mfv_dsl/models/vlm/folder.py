"""The folder of a transformers model: given by the user, or in the Hub's cache; no torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError

#: What a repository's folder needs besides weights; of several names the first that is there.
_NEEDED = ("config.json",)
_WEIGHTS = ("model.safetensors.index.json", "model.safetensors")
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
#: A file up to so many bytes is hashed whole, of a larger one its size and some blocks.
_WHOLE, _BLOCKS, _BLOCK = 64 << 20, 64, 64 << 10


#: The code of the error that says that a repository is not on this machine.
NOT_HERE = "MFV7263"


def locate(path: str, revision: str | None = None, download: bool = False) -> Path:
    """The folder of ``path``: itself where it is one, else the snapshot of the Hub's repository of
    that name.  Nothing is fetched unless ``download`` is said.

    Raises MfvError: MFV7262 for what is neither a folder nor a repository's name, MFV7263 for a
    repository that is not in the cache or cannot be fetched.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or path.startswith((".", "~")) or path.count("/") != 1:
        raise MfvError(
            "MFV7262", f"there is no folder {path}, and it is no repository's name either",
            help="give a folder, or a name such as Qwen/Qwen3-VL-4B-Instruct", argument="path",
        )  # fmt: skip
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(
            path, revision=revision, local_files_only=not download, allow_patterns=_PATTERNS
        )
    except Exception as error:  # of many kinds: not here, no network, no access, no such name
        at = f" --revision {revision}" if revision else ""
        summary = str(error).strip().partition("\n")[0]
        raise MfvError(
            NOT_HERE, f"{path} is not on this machine",
            help=f"fetch it with --download, or by `hf download {path}{at}`",
            notes=[f"{type(error).__name__}: {summary}"] if download else [], argument="path",
        ) from None  # fmt: skip
    return Path(snapshot)


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the Hub's cache holds, None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON file of the folder.  Raises MfvError (MFV7264) where it is missing or no object."""
    path = folder / name
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MfvError(
            "MFV7264", f"cannot read {path}: {error.strerror}",
            help="a model's folder has config.json, its weights as safetensors, and the files of "
            "its processor",
        ) from None  # fmt: skip
    except ValueError as error:
        raise MfvError("MFV7264", f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise MfvError("MFV7264", f"{path} holds no JSON object")
    if "auto_map" in config:
        raise MfvError(
            "MFV7265", f"the code of {folder.name} comes with its weights; such code is not run",
            help="models whose code is in transformers can be loaded",
        )  # fmt: skip
    return config


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files, in order.  Raises MfvError (MFV7266) for missing ones."""
    index = folder / _WEIGHTS[0]
    names = [_WEIGHTS[1]]
    if index.is_file():
        names = sorted(set(read_config(folder, index.name).get("weight_map", {}).values()))
    files = [folder / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise MfvError(
            "MFV7266", f"{folder} has no weights: {', '.join(missing) or _WEIGHTS[1]} missing",
            help="weights are read as safetensors",
        )  # fmt: skip
    return files


def fingerprint(folder: Path) -> str:
    """SHA-256 that tells which weights these are: of config.json and of every weight file's size
    and content (of large files of some blocks, the first and the last among them)."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in weight_files(folder):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as data:
            if size <= _WHOLE:
                digest.update(data.read())
                continue
            for block in range(_BLOCKS):
                data.seek((size - _BLOCK) * block // (_BLOCKS - 1))
                digest.update(data.read(_BLOCK))
    return digest.hexdigest()
