"""The folder of a transformers model: given by the user, or in the Hub's cache; no torch."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import hash_sample, hash_tensors, read_regular
from mfv_dsl.base.hub_cache import cached_revision, folder_of, snapshots
from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json

_CONFIG = "config.json"
_PROCESSORS = "processor_config.json", "preprocessor_config.json"
_INDEX, _WEIGHTS = "model.safetensors.index.json", "model.safetensors"
#: The files that make tokens and pixels of prompts, as far as a model has them.
_INPUTS = (
    "tokenizer*.json", "tokenizer*.model", "*.tiktoken", "spiece.model", "vocab.json", "vocab.txt",
    "merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.*",
    "additional_chat_templates/*", *_PROCESSORS, "image_processor_config.json",
    "generation_config.json",
)  # fmt: skip
#: What is fetched of a repository; some have their weights a second time, in another layout.
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_IGNORED = ["consolidated*", "original/*", "onnx/*"]
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
#: How a file begins that git-lfs left in place of the real one.
_POINTER = b"version https://git-lfs"

#: The code of the error that says that a repository is not on this machine.
NOT_HERE = "MFV7263"


def locate(path: str, revision: str | None = None, download: bool = False) -> Path:
    """The folder of ``path``: itself where it is one, else the snapshot of the Hub's repository of
    that name.  Only with ``download`` is what is not on this machine fetched.

    Raises MfvError: MFV7262 for what is neither a folder nor a repository's name, MFV7263 for a
    repository that is not in the cache, not all of it, or that cannot be fetched.
    """
    folder = user_path(path)
    if os.path.isdir(folder):
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError

    nowhere = MfvError(
        "MFV7262", f"there is no folder {path}, and it is no repository's name either",
        help="give a folder, or a name such as Qwen/Qwen3-VL-4B-Instruct", argument="path",
    )  # fmt: skip
    if not _NAME.fullmatch(path):
        raise nowhere

    def snapshot(here: bool) -> Path:
        return Path(
            snapshot_download(
                path, revision=cached_revision(path, revision) if here else revision,
                local_files_only=here, allow_patterns=_PATTERNS,
                ignore_patterns=_IGNORED,
            )
        )  # fmt: skip

    missing: list[str] = []
    try:
        folder = snapshot(here=True)
        missing = _missing(folder)
        if not missing:
            return folder
    except HFValidationError:
        raise nowhere from None
    except OSError:  # not here, or not all of it
        pass
    if not download:
        at = f" --revision {revision}" if revision else ""
        raise MfvError(
            NOT_HERE, f"{path} is not on this machine",
            help=f"fetch it with --download, or by `hf download {path}{at}`",
            notes=_presence(path, revision, missing), argument="path",
        )  # fmt: skip
    try:
        return snapshot(here=False)
    except GatedRepoError:
        raise MfvError(
            NOT_HERE, f"{path} is given to those who were granted access",
            help=f"ask for it on https://huggingface.co/{path}, then `hf auth login`",
            argument="path",
        ) from None  # fmt: skip
    except Exception as error:  # of many kinds: no network, no such name, no space left
        summary = str(error).strip().partition("\n")[0]
        raise MfvError(
            NOT_HERE, f"{path} cannot be fetched",
            help="look at its name; if it is private, `hf auth login`; what was fetched is kept",
            notes=[f"{type(error).__name__}: {summary}"], argument="path",
        ) from None  # fmt: skip


def _presence(path: str, revision: str | None, missing: list[str]) -> list[str]:
    """What the Hub's cache has of a repository whose revision it lacks, or lacks files of."""
    if missing:
        return [f"the Hub's cache has it without {', '.join(missing)}"]
    commits = snapshots(path)
    if not commits:
        return []
    return [
        f"the Hub's cache ({folder_of(path)}) does not have its revision `{revision or 'main'}` "
        f'whole; it has {", ".join(commits)}, which `revision="..."` names'
    ]


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the Hub's cache holds, None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def read_config(folder: Path, name: str = _CONFIG) -> dict[str, Any]:
    """A JSON file of the folder.  Raises MfvError (MFV7264) where it is missing or no object."""
    path = folder / name
    try:
        config = read_json(path, LARGEST_CONFIG, finite=False)
    except OSError as error:
        raise MfvError(
            "MFV7264", f"cannot read {path}: {error.strerror}",
            help="a model's folder has config.json, its weights as safetensors, and the files of "
            "its processor",
        ) from None  # fmt: skip
    except BadText as error:
        raise MfvError("MFV7264", f"cannot read {path}: {error}", help=error.help) from None
    if not isinstance(config, dict):
        raise MfvError("MFV7264", f"{path} holds no JSON object")
    return config


def read_processor(folder: Path) -> dict[str, Any]:
    """What the folder's files say of how pictures are processed; nothing where they are missing,
    which is told when the model is loaded."""
    for name in _PROCESSORS:
        if (folder / name).is_file():
            config = read_config(folder, name)
            part = config.get("image_processor", config if name == _PROCESSORS[1] else None)
            if isinstance(part, dict):
                return part
    return {}


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files, in order.  Raises MfvError (MFV7266) for missing ones, and
    for links of git-lfs in place of them."""
    files = _weight_files(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise MfvError(
            "MFV7266", f"{folder} has no weights: {_listed(missing)} missing",
            help="weights are read as safetensors",
        )  # fmt: skip
    links = [file.name for file in files if _is_link(file)]
    if links:
        raise MfvError(
            "MFV7266", f"{folder} has links of git-lfs in place of its weights: {_listed(links)}",
            help="fetch them with `git lfs pull`",
        )  # fmt: skip
    return files


def _weight_files(folder: Path) -> list[Path]:
    names = [_WEIGHTS]
    if (folder / _INDEX).is_file():
        places = read_config(folder, _INDEX).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise MfvError("MFV7264", f"{folder / _INDEX} names no weight files")
        names = sorted({str(name) for name in places.values()})
    return [folder / name for name in names]


def _missing(folder: Path) -> list[str]:
    """The files that a snapshot lacks; some programs fetch only what they need of a repository."""
    files = [folder / _CONFIG, *_weight_files(folder)]
    return [file.name for file in files if not file.is_file()]


def _is_link(file: Path) -> bool:
    with file.open("rb") as data:
        return data.read(len(_POINTER)) == _POINTER


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def input_hash(folder: Path) -> str:
    """SHA-256 of the files that make tokens and pixels of prompts: of tokenizer, chat template and
    processor, and of what generation begins and ends with; and of a little of every tensor in
    weight files that the fingerprint takes a sample of."""
    digest = hashlib.sha256()
    for file in weight_files(folder):
        hash_tensors(digest, file)
    for file in sorted(path for name in _INPUTS for path in folder.glob(name) if path.is_file()):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def fingerprint(folder: Path) -> str:
    """SHA-256 that tells which weights these are: of config.json and of every weight file's size
    and content (of large files of some blocks, the first and the last among them)."""
    digest = hashlib.sha256(read_regular(folder / _CONFIG, LARGEST_CONFIG))
    for file in weight_files(folder):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        hash_sample(digest, file)
    return digest.hexdigest()
