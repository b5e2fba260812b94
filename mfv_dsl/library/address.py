"""What names a vector: ``folder/name``, a file, or on the Hub ``hf://org/repo/name``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import is_vector_file

_ADDRESS = re.compile(r"hf://([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class HubAddress:
    """A repository of the Hub, and a branch, tag or commit of it if one is meant."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def hub_address(path: str) -> HubAddress | None:
    """The address that ``path`` is, None for a local path; MFV6015 where it is malformed.

    >>> hub_address("hf://org/repo@v1")
    HubAddress(repo='org/repo', revision='v1')
    """
    if not path.startswith("hf:"):
        return None
    match = _ADDRESS.fullmatch(path)
    if match is None or ".." in path:
        raise MfvError(
            "MFV6015",
            f"`{path}` is no address on the Hub",
            help="write `hf://org/repo`, or `hf://org/repo@revision`",
        )
    return HubAddress(match[1], match[2])


def split_address(address: str) -> tuple[str, str | None]:
    """``folder/name`` or ``hf://org/repo/name`` as path and name; a file has no name.  MFV6014 for
    an address without a name.

    >>> split_address("vectors/mine/left"), split_address("left.safetensors")
    (('vectors/mine', 'left'), ('left.safetensors', None))
    """
    if is_vector_file(address):
        return address, None
    folder, slash, name = address.rpartition("/")
    if not slash or not folder:
        raise MfvError(
            "MFV6014",
            f"`{address}` names no vector",
            help="write `folder/name`, `hf://org/repo/name`, or a .safetensors file",
        )
    return folder, name
