"""Makes the quickstart's tables in README.md: ``python -m docs.make_quickstart``.

The recipe is run on both bundled models.  What each run prints goes into the README, and its rows
into ``tests/golden``, which the tests hold the README and other machines' runs against.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mfv_dsl.base.files import write_atomically

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GOLDEN = ROOT / "tests" / "golden"
#: Rows by the file that they are kept in: how ``mfv run quickstart`` is called for them.
RUNS = {"quickstart": (), "quickstart_llava": ("--profile", "llava")}
#: The README's tables, in the order of :data:`RUNS`.
_TABLE = re.compile(r"(?<=```\n) eval [^`]*(?=```)")
_NOT_KEPT = ("note", "saved", "results in")


def main() -> None:
    tables = iter([run(name, options) for name, options in RUNS.items()])
    page, count = _TABLE.subn(lambda _: next(tables), README.read_text(encoding="utf-8"))
    assert count == len(RUNS), f"README.md has {count} tables"
    write_atomically(README, page.encode())


def run(name: str, options: tuple[str, ...]) -> str:
    """Keep the rows of one run; the table that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mfv_dsl", "run", "quickstart", *options, "--out", folder]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        rows = json.loads((Path(folder) / "results.json").read_text())["rows"]
    write_atomically(
        GOLDEN / f"{name}.json", (json.dumps({"rows": rows}, indent=1) + "\n").encode()
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    kept = [line for line in lines if not line.startswith(_NOT_KEPT)]
    return "\n".join(kept).strip("\n") + "\n"


if __name__ == "__main__":
    main()
