"""Where ``load("path", "name")`` finds a vector: a file, a library folder, or the Hub.

``path`` is a ``.safetensors`` file (then there is no name), a library folder, one of the bundled
libraries (``vectors/...``), or ``hf://org/repo``, with ``@revision`` if not its main branch.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import VectorFacts
from mfv_dsl.base.names import SUFFIX, check_name, file_name, is_vector_file
from mfv_dsl.base.places import bundled, user_path
from mfv_dsl.library.address import hub_address
from mfv_dsl.library.folder import Library
from mfv_dsl.library.header import read_header
from mfv_dsl.library.lock import NO_LOCK, Lock


def file_of(
    path: str, name: str | None = None, revision: str | None = None, download: bool = True
) -> Path:
    """The file of a vector on this machine.

    One of the Hub is fetched first if ``download`` and it is not there yet; ``revision`` stands
    for the one that ``path`` names.  Raises MFV6001 where there is none, MFV6014 where a name is
    missing or too much, and what the Hub answers (MFV6030 and following).
    """
    address = hub_address(path)
    if address is None:
        return _local(path, name)
    from mfv_dsl.library import hub

    if revision is not None:
        address = replace(address, revision=revision)
    filename = f"{_file_of_name(_name_of(path, name))}{SUFFIX}"
    file = hub.download(address, filename) if download else hub.cached_file(address, filename)
    if file is None:
        raise MfvError(
            "MFV6001",
            f"there is no vector file `{name}` of {address} on this machine yet",
            help="`mfv run` and `mfv lock` download what a recipe loads",
        )
    return file


def at_hand(path: str, name: str | None, lock: Lock = NO_LOCK) -> VectorFacts | None:
    """What the header of a vector file says, without any download; None for one of the Hub that is
    not here.

    Raises MfvError (MFV6001) for a file that is not there, for one that is no vector, and for names
    and addresses that cannot be.
    """
    pin = lock.pins.get((path, name))
    try:
        file = file_of(path, name, pin.revision if pin else None, download=False)
    except MfvError as error:
        if error.code == "MFV6001" and hub_address(path) is not None:
            return None
        raise
    header = read_header(file)
    metadata, model = header.metadata, header.metadata["model"]
    return VectorFacts(
        file=str(file),
        model=model.get("id", "another model"),
        fingerprint=model["fingerprint"],
        d_model=model["d_model"],
        site=metadata["site"],
        bias=metadata["bias"],
        parts=header.has_parts,
        content=metadata["content_sha256"],
        revision=file.parent.name if hub_address(path) else None,
        pinned=pin.content if pin else None,
        layer=layer if isinstance(layer := metadata.get("layer"), int) else None,
        places=tuple((site, number) for site, number in metadata.get("places", ())),
    )


def library_at(path: str) -> Library:
    """The library at ``path``; a bundled one where there is no such folder here."""
    return Library(_here_or_bundled(path))


def _local(path: str, name: str | None) -> Path:
    if not is_vector_file(path) and not (name is None and os.path.isfile(path)):
        return library_at(path).path(_name_of(path, name))
    if name is not None:
        raise MfvError(
            "MFV6014",
            f"{path} is one vector's file, so it takes no name",
            help=f'write `load("{path}")`',
        )
    file = _here_or_bundled(path)
    if not os.path.exists(file):
        raise MfvError("MFV6001", f"there is no vector file {path}")
    return file


def _name_of(path: str, name: str | None) -> str:
    if name is None:
        raise MfvError(
            "MFV6014", f"{path} holds several vectors", help=f'name one: `load("{path}", "name")`'
        )
    return name


def _file_of_name(name: str) -> str:
    """The name, or the file's name of the relation that it is; a path is neither."""
    is_relation = " " in name.strip() or not name.isascii()
    return check_name(file_name(name) if is_relation and not set("/\\") & set(name) else name)


def _here_or_bundled(path: str) -> Path:
    here = user_path(path)
    if not here.parts or os.path.exists(here) or here.is_absolute() or ".." in here.parts:
        return here
    inside = here.relative_to("vectors") if here.parts[0] == "vectors" else here
    there = bundled("vectors") / inside
    return there if os.path.exists(there) else here
