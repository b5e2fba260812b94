"""Libraries on the Hugging Face Hub, through huggingface_hub, which also keeps the tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.hub_cache import cached_revision, choice_of
from mfv_dsl.base.names import SUFFIX, check_name
from mfv_dsl.base.texts import BadText, to_text
from mfv_dsl.library.address import HubAddress
from mfv_dsl.library.folder import CARD, INDEX, Library
from mfv_dsl.library.header import LARGEST, read_file


@dataclass(frozen=True)
class Upload:
    """One file that a push uploads."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def cached_file(address: HubAddress, filename: str) -> Path | None:
    """A file of the Hub that was downloaded before; asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    revision = cached_revision(address.repo, address.revision)
    with _hub_errors(address, filename):
        path = try_to_load_from_cache(address.repo, filename, revision=revision)
    return Path(path) if isinstance(path, str) else None


def download(address: HubAddress, filename: str) -> Path:
    """A file of the Hub, fetched into huggingface_hub's cache unless it is there already.

    Where the Hub is out of reach and the cache does not say which snapshot is the main branch, a
    single one is.
    """
    from huggingface_hub import HfApi

    try:
        with _hub_errors(address, filename):
            facts = HfApi().hf_hub_download(
                address.repo, filename, revision=address.revision, dry_run=True
            )
            _check_size(address, filename, facts.file_size)
            return Path(HfApi().hf_hub_download(address.repo, filename, revision=address.revision))
    except MfvError as error:
        if error.code != "MFV6034":
            raise
        if (choice := choice_of(address.repo, address.revision)) is not None:
            raise MfvError(error.code, error.message, choice, error.notes) from None
        is_single = cached_revision(address.repo, address.revision) != address.revision
        here = cached_file(address, filename) if is_single else None
        if here is None:
            raise
        return here


def pull(address: HubAddress, library: Library) -> list[str]:
    """Fetch every vector, recipe and the card of a repository into ``library``; their names.

    Nothing is written unless every vector could be fetched and read.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _hub_errors(address):
        info = api.model_info(address.repo, revision=address.revision, files_metadata=True)
        files = {file.rfilename: file for file in info.siblings or []}
        vectors = [name for name in files if name.endswith(SUFFIX) and "/" not in name]
        recipes = [name for name in files if name.endswith(".mfv") and "/" not in name]
        if not vectors:
            raise MfvError("MFV6032", f"{address} has no vector files")
        paths: dict[str, Path] = {}
        for name in (*vectors, *recipes, *({CARD} & set(files))):
            check_name(name.rpartition(".")[0])
            _check_size(address, name, files[name].size)
            paths[name] = Path(api.hf_hub_download(address.repo, name, revision=info.sha))
    contents = {name: read_file(paths[name])[1] for name in vectors}
    texts = {name: _recipe(address, name, paths[name]) for name in recipes}
    with library.writing():
        for name, data in contents.items():
            library.put_file(name.removesuffix(SUFFIX), data)
        for name, text in texts.items():
            library.put_recipe(name.removesuffix(".mfv"), text)
        if CARD in paths and not (library.root / CARD).exists():
            write_atomically(library.root / CARD, paths[CARD].read_bytes())
    return sorted(name.removesuffix(SUFFIX) for name in vectors)


def uploads(library: Library) -> list[Upload]:
    """What a push of ``library`` uploads: every vector, the index, the card, the recipes.

    Every vector file is read and checked first; MFV6033 where one is bad or there is none.
    """
    names = library.names()
    if not names:
        raise MfvError("MFV6033", f"{library.root} has no vectors, so there is nothing to push")
    files = []
    for name in names:
        try:
            files.append(Upload(f"{name}{SUFFIX}", read_file(library.path(name))[1]))
        except MfvError as error:
            raise MfvError(
                "MFV6033", f"{library.root} cannot be pushed: {error.message}"
            ) from error
    files += [Upload(path.name, path.read_bytes()) for path in library.recipes()]
    return [*files, Upload(INDEX, library.index_bytes()), Upload(CARD, library.card_bytes())]


def push(address: HubAddress, files: list[Upload], create: bool, private: bool) -> str:
    """Upload ``files`` in one commit; returns its URL.  ``create`` makes a repository that is not
    there, ``private`` if asked."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with _hub_errors(address):
        if create:
            api.create_repo(address.repo, private=private, exist_ok=True)
        commit = api.create_commit(
            address.repo,
            [CommitOperationAdd(file.name, file.data) for file in files],
            commit_message=f"{sum(file.name.endswith(SUFFIX) for file in files)} vectors",
            revision=address.revision,
        )
    url: str = commit.commit_url
    return url


def _recipe(address: HubAddress, name: str, path: Path) -> str:
    try:
        return to_text(path.read_bytes())
    except BadText as error:
        raise MfvError("MFV6032", f"{name} of {address} cannot be read: {error}") from None


def _check_size(address: HubAddress, filename: str, size: int | None) -> None:
    if size is None or size > LARGEST:
        length = "of unknown size" if size is None else f"{size:,} bytes long"
        raise MfvError(
            "MFV6032", f"{filename} of {address} is {length}; a vector file has at most {LARGEST:,}"
        )


@contextmanager
def _hub_errors(address: HubAddress, filename: str | None = None) -> Iterator[None]:
    """What the Hub answers as errors that say what to do; they never hold a token."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except MfvError:
        raise
    except (HTTPError, OSError, ValueError) as error:
        raise _hub_error(error, address, filename) from None


def _hub_error(error: BaseException, address: HubAddress, filename: str | None) -> MfvError:
    from huggingface_hub import errors

    what = f"{filename} of {address}" if filename else str(address)
    local = isinstance(error, errors.LocalEntryNotFoundError)
    if local and error.__cause__ is not None:
        return _hub_error(error.__cause__, address, filename)  # it is not in the cache either
    if isinstance(error, errors.GatedRepoError):
        return MfvError(
            "MFV6030", f"{address} is gated",
            help="ask for access on its page, then `hf auth login`",
        )  # fmt: skip
    if isinstance(error, errors.RevisionNotFoundError | errors.EntryNotFoundError) and not local:
        return MfvError("MFV6031", f"the Hub has no {what}")
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if status in (401, 403) or isinstance(error, errors.RepositoryNotFoundError):
        return MfvError(
            "MFV6030",
            f"the Hub shows no repository {address}: it is not there, or not for you",
            help="look at its spelling; if it is private, `hf auth login`; to make it, "
            "`push --create`",
        )
    if status == 404:
        return MfvError("MFV6031", f"the Hub has no {what}")
    if isinstance(error, errors.HFValidationError):
        return MfvError("MFV6015", f"`{address}` is no address on the Hub: {error}")
    return MfvError(
        "MFV6034",
        f"the Hub could not be used for {what}",
        notes=(f"it answered {status}" if status else str(error).split("\n")[0],),
        help="try again later; what was fetched before is kept",
    )
