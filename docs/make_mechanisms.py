"""Makes the tables in docs/mechanisms.md: ``python -m docs.make_mechanisms [TEXT...]``.

A table stands behind the block of its commands.  It is what the first of these prints that is no
``mfv extract``, which makes what the others take; those behind it are not run.  With TEXT only
tables whose command has it in it are made anew.  All together take some three minutes of one core,
most of it for the lens that is trained; the page's picture is made by :mod:`docs.make_figures`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mfv_dsl.base.files import write_atomically

PAGE = Path(__file__).parent / "mechanisms.md"
#: The commands before a table, and the table.
_SHOWN = re.compile(r"(?<=```\n)((?:mfv .*\n)+)(```\n\n```\n)([^`]*)(?=```)")


def main(texts: list[str]) -> None:
    page, made = PAGE.read_text(encoding="utf-8"), {}
    with tempfile.TemporaryDirectory() as folder:  # where they leave lenses and vectors
        for commands in tables(page):
            *before, shown = commands
            if not texts or any(text in shown for text in texts):
                for command in before:
                    run(command, folder)
                print(f"$ {shown}", file=sys.stderr, flush=True)
                made[shown] = run(shown, folder)
    write_atomically(PAGE, filled(page, made).encode())


def tables(page: str) -> list[list[str]]:
    """Of each table of the page the commands that make it, the last of which prints it."""
    return [_making(match[1]) for match in _SHOWN.finditer(page)]


def _making(block: str) -> list[str]:
    """The commands of a block up to the one whose table is shown, without their comments."""
    commands = [line.partition("#")[0].strip() for line in block.splitlines()]
    first = next(n for n, line in enumerate(commands) if not line.startswith("mfv extract "))
    return commands[: first + 1]


def filled(page: str, made: Mapping[str, str]) -> str:
    """The page with the tables that these commands printed; the others stay."""
    return _SHOWN.sub(lambda m: m[1] + m[2] + made.get(_making(m[1])[-1], m[3]), page)


def run(command: str, folder: str) -> str:
    """What a command prints, without what it says of files, its margin and its empty lines."""
    words = [sys.executable, "-m", "mfv_dsl", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return tidied(done.stdout)


def tidied(printed: str) -> str:
    """The lines of what a command printed that the page shows."""
    lines = [line.rstrip().removeprefix(" ") for line in printed.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("saved")) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
