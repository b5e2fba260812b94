"""Counts what a run asks of its store, alone and on workers.

    python -m benchmarks.store_requests [--recipe FILE] [--workers 2] [--json]

The store is in an S3 server of this process (`pip install 'moto[server]'`), which sees the requests
of all processes: by what is asked for (finished steps, parts, claims, signs of life, reports) and
how.  A run with everything finished is counted as well, and the same by :class:`Counted`, which
counts the calls of any storage in one process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from mfv_dsl.execute.storage import Storage

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """\
mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=200)
defaults { heads = top(5, on=[left]), trials = 70, items = 70, layer = 2 }
eval e { add = fv(each) }
"""
_REQUEST = re.compile(r"(GET|PUT|HEAD|POST|DELETE) (/\S*)")


class Counted:
    """A storage that counts what is asked of another: ``counts`` by function and by the first part
    of the name."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.counts = storage, Counter[str]()

    def _count(self, function: str, name: str) -> None:
        self.counts[f"{function} {name.partition('/')[0]}"] += 1

    def read(self, name: str) -> bytes:
        self._count("read", name)
        return self.storage.read(name)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._count("write", name)
        self.storage.write(name, data, durable=durable)

    def create(self, name: str, data: bytes) -> bool:
        self._count("create", name)
        return self.storage.create(name, data)

    def exists(self, name: str) -> bool:
        self._count("exists", name)
        return self.storage.exists(name)

    def present(self, names: Iterable[str]) -> set[str]:
        names = list(names)
        for name in names:
            self._count("exists", name)
        return self.storage.present(names)

    def names(self, prefix: str) -> list[str]:
        self._count("list", prefix)
        return self.storage.names(prefix)

    def remove(self, *names: str) -> None:
        for name in names:
            self._count("remove", name)
        self.storage.remove(*names)

    def replace(self, name: str, was: bytes, data: bytes) -> bool:
        self._count("replace", name)
        return self.storage.replace(name, was, data)

    def place(self, name: str) -> Path | str:
        return self.storage.place(name)

    def for_writing(self) -> AbstractContextManager[None]:
        return self.storage.for_writing()


class _Requests(logging.Handler):
    """What a server logs, counted by method and by what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        found = _REQUEST.search(record.getMessage())
        if found is None:
            return
        method, path = found.groups()
        if "list-type" in path:
            method, path = "LIST", re.search(r"prefix=([^&]*)", path)[1]  # type: ignore[index]
            path = f"/bucket/{path}"
        parts = path.partition("?")[0].replace("%2F", "/").split("/")
        self.counts[f"{method} {parts[3] if len(parts) > 3 else 'bucket'}"] += 1


def measure(recipe: str, workers: int) -> dict[str, dict[str, int | float]]:
    """Requests of a run alone, of the same again, and on workers; each with its seconds."""
    from moto.server import ThreadedMotoServer

    log, seen = logging.getLogger("werkzeug"), _Requests()
    log.addHandler(seen)
    log.setLevel(logging.INFO)
    log.propagate = False
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    folder = Path(tempfile.mkdtemp(prefix="requests-"))
    environment = {
        **os.environ, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1", "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    os.environ.update(environment)
    try:
        import s3fs

        s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)
        (folder / "r.mfv").write_text(recipe)
        found = {}
        for name, home, more in (
            ("alone", "one", []),
            ("alone, all finished", "one", []),
            (f"{workers} workers", "two", ["--launcher", "local", "--workers", str(workers)]),
        ):
            seen.counts.clear()
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "mfv_dsl", "run", "r.mfv", "--quiet", "--out", name, *more],
                cwd=folder, env={**environment, "MFV_HOME": f"s3://bucket/{home}"},
                capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            seconds = round(time.monotonic() - started, 1)
            results = (folder / name / "results.csv").read_bytes()
            assert results == (folder / "alone" / "results.csv").read_bytes()
            found[name] = {**dict(sorted(seen.counts.items())), "seconds": seconds}
        steps = json.loads((folder / "alone" / "plan.json").read_text())["steps"]
        return {**found, "plan": {"steps": len(steps)}}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def calls(recipe: str) -> dict[str, int]:
    """Calls of the storage by a run alone in a folder, in this process."""
    import mfv_dsl
    from mfv_dsl.execute import store
    from mfv_dsl.execute.storage import FolderStorage

    with tempfile.TemporaryDirectory() as folder:
        counted = Counted(FolderStorage(Path(folder, "store")))
        plain, store.storage_at = store.storage_at, lambda home: counted
        try:
            mfv_dsl.Recipe(recipe).run(Path(folder, "out"))
        finally:
            store.storage_at = plain
        return dict(sorted(counted.counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description="What a run asks of its store.")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    recipe = RECIPE if asked.recipe is None else asked.recipe.read_text()
    found = {**measure(recipe, asked.workers), "calls of a storage, alone": calls(recipe)}
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    steps = found["plan"]["steps"]
    print(f"{steps} steps")
    for name, counts in found.items():
        if name != "plan":
            requests = sum(count for what, count in counts.items() if what != "seconds")
            print(f"\n{name}: {requests} requests, {requests / steps:.1f} a step")
            for what, count in counts.items():
                print(f"  {what:<16} {count:>6}")


if __name__ == "__main__":
    main()
