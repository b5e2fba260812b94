"""A stand-in for the Hugging Face Hub on the loopback: the part of its API that huggingface_hub
uses for model repositories, and the faults that it can have."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Repositories: every commit is a mapping of file names to bytes.

    ``fault``: 401, 404, 500, … answers everything so; ``cut`` ends downloads in the middle;
    ``silent`` closes every connection.  ``lfs`` says whether vector files go the LFS way.
    """

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.blobs: dict[str, bytes] = {}  # uploaded the LFS way, by SHA-256
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.fault: int | str | None = None
        self.lfs = True
        self.url = ""

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Add a commit with ``files`` besides those that are there; its hash."""
        history = self.commits.setdefault(repo, [])
        content = {**(history[-1][1] if history else {}), **files}
        oid = hashlib.sha1(f"{repo}{len(history)}".encode()).hexdigest()
        history.append((oid, content))
        return oid

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        history = self.commits.get(repo, [])
        if revision == "main" and history:
            return history[-1]
        return next((one for one in history if one[0] == revision), None)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        hub = self.hub
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        hub.requests.append(f"{self.command} {path}")
        if self.headers.get("Authorization"):
            hub.tokens.add(self.headers["Authorization"])
        if hub.fault == "silent":
            self.close_connection = True
            return
        if isinstance(hub.fault, int):
            self._refuse(hub.fault)
            return
        for pattern, method in (
            (r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?", self._info),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", lambda body: self._json({"errors": [], "warnings": []})),
            (r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", self._preupload),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/lfs/([0-9a-f]{64})", self._upload),
            (r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", self._commit),
        ):
            if found := re.fullmatch(pattern, path):
                method(body, *found.groups())
                return
        self._refuse(404)

    # -- answers ----------------------------------------------------------------------------------
    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._bytes(json.dumps(value).encode(), status, headers)

    def _bytes(self, data: bytes, status: int = 200, headers: Any = ()) -> None:
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.fault == "cut" and "/resolve/" in self.path:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(data)

    def _refuse(self, status: int, code: str = "") -> None:
        self._json({"error": "no"}, status, **({"X_Error_Code": code} if code else {}))

    # -- the API ----------------------------------------------------------------------------------
    def _found(self, repo: str, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        if repo not in self.hub.commits:
            self._refuse(404, "RepoNotFound")
            return None
        found = self.hub.files(repo, revision or "main")
        if found is None:
            self._refuse(404, "RevisionNotFound")
        return found

    def _info(self, _: bytes, repo: str, revision: str | None) -> None:
        if found := self._found(repo, revision):
            oid, files = found
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            self._json({"id": repo, "modelId": repo, "sha": oid, "siblings": siblings})

    def _resolve(self, _: bytes, repo: str, revision: str, name: str) -> None:
        found = self._found(repo, revision)
        if not found:
            return
        oid, files = found
        if name not in files:
            self._refuse(404, "EntryNotFound")
            return
        etag = hashlib.sha256(files[name]).hexdigest()
        self._bytes(files[name], headers={"ETag": f'"{etag}"', "X-Repo-Commit": oid})

    def _create(self, body: bytes) -> None:
        said = json.loads(body)
        repo = f"{said['organization']}/{said['name']}"
        if repo in self.hub.commits:
            self._refuse(409)
            return
        self.hub.commit(repo, {})
        self._json({"url": f"{self.hub.url}/{repo}"})

    def _preupload(self, body: bytes, repo: str) -> None:
        if self._found(repo, None) is None:
            return
        files = []
        for one in json.loads(body)["files"]:
            lfs = self.hub.lfs and one["path"].endswith(".safetensors")
            mode = "lfs" if lfs else "regular"
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False})
        self._json({"files": files})

    def _batch(self, body: bytes, repo: str) -> None:
        objects = [
            {"oid": one["oid"], "size": one["size"],
             "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]  # fmt: skip
        self._json({"transfer": "basic", "objects": objects})

    def _upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self._bytes(b"")

    def _commit(self, body: bytes, repo: str, revision: str) -> None:
        files = {}
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                files[one["value"]["path"]] = self.hub.blobs[one["value"]["oid"]]
        oid = self.hub.commit(repo, files)
        self._json(
            {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{repo}/commit/{oid}"}
        )
