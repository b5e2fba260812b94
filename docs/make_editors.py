"""Makes the conversation in docs/editors.md: ``python -m docs.make_editors``.

The server is started as an editor starts it, and what goes over the wire is written down: a recipe
with a mistake, its repair, a question, and the lenses over blocks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mfv_dsl.base.files import write_atomically

PAGE = Path(__file__).with_name("editors.md")
_PLACE = re.compile(r"(?<=<!-- conversation -->\n```\n).*(?=^```$)", re.S | re.M)
RECIPE = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right, above])
vector pure(r) = fv(r) - mean(fv(left), fv(rihgt))
eval few { shots = 4 }
"""
WIDTH = 130


class Wire:
    """A server's process, and what was said."""

    def __init__(self, folder: str) -> None:
        self.said: list[str] = []
        environment = {**os.environ, "MFV_HOME": os.path.join(folder, ".mfv")}
        self.server = subprocess.Popen(
            [sys.executable, "-m", "mfv_dsl", "lsp"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self.number = 0

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.server.stdin is not None
        self.server.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.server.stdin.flush()

    def receive(self) -> dict[str, Any]:
        stdout = self.server.stdout
        assert stdout is not None
        length = 0
        while (line := stdout.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        message: dict[str, Any] = json.loads(stdout.read(length))
        return message

    def ask(self, method: str, params: Any, shown: Any = None) -> Any:
        """A request and its answer; both are written down where ``shown`` says what of it is."""
        self.number += 1
        self.send({"id": self.number, "method": method, "params": params})
        while (message := self.receive()).get("id") != self.number:
            pass
        if shown is not None:
            self.note(f"→ {method}", params)
            self.note("←", shown(message["result"]))
        return message["result"]

    def tell(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    def published(self, version: int) -> list[Any]:
        """The diagnostics of a version of the recipe, which are written down."""
        while True:
            message = self.receive()
            params = message.get("params", {})
            if message.get("method") == "textDocument/publishDiagnostics" and (
                params.get("version") == version
            ):
                found: list[Any] = params["diagnostics"]
                kept = ("range", "code", "message")
                rows = [{name: row[name] for name in kept} for row in found]
                self.note("← textDocument/publishDiagnostics", rows)
                return found

    def note(self, who: str, what: Any) -> None:
        text = json.dumps(what, ensure_ascii=False)
        self.said.append(f"{who} {text if len(text) < WIDTH * 3 else text[: WIDTH * 3] + ' …'}")


def conversation() -> str:
    """What is said, line by line."""
    with tempfile.TemporaryDirectory() as folder:
        wire = Wire(folder)
        uri = "file:///recipe.mfv"
        it = {"uri": uri}
        wire.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        wire.tell("initialized", {})
        item = {"uri": uri, "languageId": "mfv", "version": 1, "text": RECIPE}
        wire.tell("textDocument/didOpen", {"textDocument": item})
        (wrong,) = wire.published(1)
        actions = wire.ask(
            "textDocument/codeAction",
            {"textDocument": it, "range": wrong["range"], "context": {"diagnostics": []}},
            lambda found: [row["title"] for row in found],
        )
        (edit,) = actions[0]["edit"]["changes"][uri]
        change = {"range": edit["range"], "text": edit["newText"]}
        params = {"textDocument": {**it, "version": 2}, "contentChanges": [change]}
        wire.note("→ textDocument/didChange", change)
        wire.tell("textDocument/didChange", params)
        wire.published(2)
        line = RECIPE.splitlines()[3]
        at = {"line": 3, "character": line.index("pure") + 2}
        wire.ask(
            "textDocument/hover", {"textDocument": it, "position": at},
            lambda found: found["contents"]["value"],
        )  # fmt: skip
        wire.ask(
            "textDocument/codeLens", {"textDocument": it},
            lambda found: [row["command"]["title"] for row in found],
        )  # fmt: skip
        wire.ask("shutdown", None)
        wire.tell("exit", None)
        wire.server.wait(60)
    return "\n".join(wire.said).replace(uri, "…/recipe.mfv") + "\n"


def main() -> None:
    """Write the conversation into the page."""
    said = conversation()
    page, count = _PLACE.subn(lambda _: said, PAGE.read_text(encoding="utf-8"))
    assert count == 1, f"{PAGE} has {count} places for it"
    write_atomically(PAGE, page.encode())


if __name__ == "__main__":
    main()
