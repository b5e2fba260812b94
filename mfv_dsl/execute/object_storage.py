"""A storage in an object store: S3, Google Cloud Storage and whatever else fsspec reaches.

A name is created atomically where the service knows conditional requests: S3 and what speaks its
protocol (``If-None-Match``, ``If-Match``), Google Cloud Storage (creation alone).  Elsewhere two
may both be told that they created a name; then both do the same work, and either result is the
same.  Requests that fail for a moment are repeated by the client of the service.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any, ClassVar

from mfv_dsl.base.disk import StoreTrouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import checked_name

#: How many requests are on their way at once where many names are looked for.
_AT_ONCE = 32
#: What installs the client of a protocol, where that is no extra of mfv-dsl.
_CLIENTS = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}


class ObjectStorage:
    """Objects below the URL of a bucket and a prefix, as :class:`~mfv_dsl.execute.storage.Storage`.

    Args:
        url: ``s3://bucket/prefix``, ``gs://bucket/prefix``, or of another protocol of fsspec.

    Raises:
        MfvError: MFV6140 for a protocol that nobody knows, MFV6141 where its client is not
            installed.  What uses it raises OSError (:class:`~mfv_dsl.base.disk.StoreTrouble`):
            MFV6142 where there is no such bucket, MFV6143 where credentials are missing or do not
            suffice, MFV6144 where the service cannot be reached or fails.

    >>> storage = ObjectStorage("memory://bucket/prefix")
    >>> storage.create("claims/a", b"mine"), storage.create("claims/a", b"yours")
    (True, False)
    >>> storage.names(""), storage.read("claims/a")
    (['claims/a'], b'mine')
    """

    def __init__(self, url: str) -> None:
        self._protocol, _, place = url.partition("://")
        self.url = f"{self._protocol}://{place.strip('/')}"
        self._fs, self._root = _file_system(self.url)
        self._is_there = False

    def __repr__(self) -> str:
        return f"ObjectStorage({self.url!r})"

    def place(self, name: str) -> str:
        """As :meth:`Storage.place`."""
        return f"{self.url}/{checked_name(name)}"

    @contextmanager
    def for_writing(self) -> Iterator[None]:
        """As :meth:`Storage.for_writing`."""
        name = f"probe/{token_hex(8)}"
        self.write(name, b"")
        self.remove(name)
        yield

    def read(self, name: str) -> bytes:
        """As :meth:`Storage.read`."""
        path = self._path(name)
        with self._trouble("read", name):
            try:
                data = self._fs.cat_file(path, **self._whole)
            except FileNotFoundError:
                self._check_bucket()
                raise KeyError(name) from None
            return bytes(data)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """As :meth:`Storage.write`; an object is always durable."""
        path = self._path(name)
        with self._trouble("write", name):
            self._fs.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        """As :meth:`Storage.create`, atomically where the service can."""
        path = self._path(name)
        with self._trouble("write", name):
            try:
                self._fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return self._holds(name, data)
            except OSError as error:
                if _is_conflict(error):  # or the first of two requests succeeded, unheard
                    return self._holds(name, data)
                if error.errno != errno.ENOSYS:
                    raise
                if self.exists(name):  # a service that knows no conditions
                    return self._holds(name, data)
                self._fs.pipe_file(path, data)
                return self._holds(name, data)
        return True

    def exists(self, name: str) -> bool:
        """As :meth:`Storage.exists`."""
        path = self._path(name)
        with self._trouble("look for", name):
            try:
                return self._is_file(path)
            except FileNotFoundError:
                self._check_bucket()
                return False

    def present(self, names: Iterable[str]) -> set[str]:
        """As :meth:`Storage.present`, many at once."""
        wanted = list(dict.fromkeys(names))
        if len(wanted) < 2:
            return {name for name in wanted if self.exists(name)}
        with ThreadPoolExecutor(min(_AT_ONCE, len(wanted))) as pool:
            found = pool.map(self.exists, wanted)
            return {name for name, is_there in zip(wanted, found, strict=True) if is_there}

    def names(self, prefix: str) -> list[str]:
        """As :meth:`Storage.names`."""
        folder = self._path(prefix) if prefix else self._root
        with self._trouble("list", prefix):
            self._check_bucket()
            try:
                found = self._found(folder)
            except FileNotFoundError:
                return []
        start = len(self._root.strip("/"))
        names = (path.strip("/")[start:].lstrip("/") for path in found)
        below = f"{prefix}/" if prefix else ""
        return sorted(name for name in names if name.startswith(below) and "/." not in f"/{name}")

    def remove(self, *names: str) -> None:
        """As :meth:`Storage.remove`."""
        paths = [self._path(name) for name in names]
        with self._trouble("remove", names[0] if names else ""):
            self._remove(paths)

    def replace(self, name: str, was: bytes, data: bytes) -> bool:
        """As :meth:`Storage.replace`, atomically on S3."""
        path = self._path(name)
        with self._trouble("write", name):
            try:
                condition = self._as_now(path)  # before it is read
                if self.read(name) != was:
                    return False
                self._fs.pipe_file(path, data, **condition)
            except (FileNotFoundError, KeyError):
                return False
            except OSError as error:
                if not _is_conflict(error):
                    raise
                return self._holds(name, data)
        return True

    # -- requests ---------------------------------------------------------------------------------
    #: Options of reading a file at once.
    _whole: ClassVar[dict[str, Any]] = {}

    def _is_file(self, path: str) -> bool:
        return bool(self._fs.info(path)["type"] == "file")

    def _found(self, folder: str) -> list[str]:
        """The paths of all objects below a folder."""
        return list(self._fs.find(folder))

    def _remove(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError):
                self._fs.rm_file(path)

    def _as_now(self, path: str) -> dict[str, Any]:
        """Options of a request that succeeds while an object is as it is now; none where the
        service has no such condition."""
        return {}

    # -- inside -----------------------------------------------------------------------------------
    def _path(self, name: str) -> str:
        return f"{self._root}/{checked_name(name)}"

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.read(name) == data
        except KeyError:
            return False

    def _check_bucket(self) -> None:
        """FileNotFoundError where there is no such bucket; looked up once, as an object that is not
        there says nothing of it."""
        if self._is_there:
            return
        bucket = self._root.strip("/").partition("/")[0]
        if self._protocol != "memory":
            with suppress(PermissionError):  # who may not list a bucket may use what is in it
                self._fs.info(bucket)
        self._is_there = True

    @contextmanager
    def _trouble(self, what: str, name: str) -> Iterator[None]:
        """What goes wrong within, as an OSError that says it in our words."""
        try:
            yield
        except (KeyError, StoreTrouble):
            raise
        except Exception as error:  # clients raise what they like
            where = f"{self.url}/{name}" if name else self.url
            raise StoreTrouble(self._told(error, f"cannot {what} {where}")) from error

    def _told(self, error: Exception, what: str) -> MfvError:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        chain = list(_causes(error))
        kinds = " ".join(kind.__name__ for one in chain for kind in type(one).__mro__)
        if isinstance(error, FileNotFoundError) or "ParamValidationError" in kinds:
            return MfvError(
                "MFV6142", f"{what}: there is no such bucket", help="make the bucket with the "
                "tools of the service, or name another with the environment variable MFV_HOME",
            )  # fmt: skip
        if isinstance(error, PermissionError) or "Credential" in kinds or "ProfileNotF" in kinds:
            return MfvError(
                "MFV6143", f"{what}: {said}", help="give credentials that may read, write, list "
                "and remove there, as the service's own tools take them (for S3: AWS_PROFILE, or "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
            )  # fmt: skip
        return MfvError(
            "MFV6144", f"{what}: {said}", help="look whether the service can be reached from here "
            "(for S3 beside Amazon's: AWS_ENDPOINT_URL), and run the same command again: what is "
            "finished is kept",
        )  # fmt: skip


class S3Storage(ObjectStorage):
    """The same on S3, with one request for what fsspec, which has folders too, asks in several."""

    _whole: ClassVar[dict[str, Any]] = {"max_concurrency": 1}

    def _is_file(self, path: str) -> bool:
        self._head(path)
        return True

    def _found(self, folder: str) -> list[str]:
        bucket, prefix, _ = self._fs.split_path(folder)
        found: list[str] = []
        more: dict[str, Any] = {}
        while True:
            page = self._fs.call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", **more
            )
            found += (f"{bucket}/{entry['Key']}" for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _remove(self, paths: Sequence[str]) -> None:
        if len(paths) > 1:
            self._fs.rm(list(paths))  # a thousand with one request
        else:
            super()._remove(paths)

    def _as_now(self, path: str) -> dict[str, Any]:
        return {"IfMatch": self._head(path)["ETag"]}

    def _head(self, path: str) -> dict[str, Any]:
        bucket, key, _ = self._fs.split_path(path)
        return dict(self._fs.call_s3("head_object", Bucket=bucket, Key=key))


def object_storage(url: str) -> ObjectStorage:
    """The storage at a URL; raises MfvError as :class:`ObjectStorage`."""
    return (S3Storage if url.partition("://")[0] in ("s3", "s3a") else ObjectStorage)(url)


def _file_system(url: str) -> tuple[Any, str]:
    protocol, _, place = url.partition("://")
    if not place:
        raise MfvError(
            "MFV6140", f"the store cannot be at {url}: no bucket is named",
            help="name one: s3://bucket/prefix",
        )  # fmt: skip
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise _missing(protocol, url) from None
    try:
        # what others write is seen at once
        system, root = url_to_fs(url, use_listings_cache=False)
    except ImportError:
        raise _missing(protocol, url) from None
    except ValueError as error:
        raise MfvError(
            "MFV6140", f"the store cannot be at {url}: {error}", help="MFV_HOME names a folder, or "
            "a place such as s3://bucket/prefix or gs://bucket/prefix",
        ) from None  # fmt: skip
    return system, root


def _missing(protocol: str, url: str) -> MfvError:
    client = _CLIENTS.get(protocol)
    install = "pip install 'mfv-dsl[objects]'" + (f" {client}" if client else "")
    return MfvError(
        "MFV6141", f"a store at {url} needs a package that is not installed", help=install
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_conflict(error: OSError) -> bool:
    """Whether a service says that a condition does not hold (any more)."""
    for one in _causes(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (409, 412)
        if getattr(one, "code", None) in (409, 412):
            return True
    return False
