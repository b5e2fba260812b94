"""Runs all benchmarks and writes what they print into their page: ``python -m benchmarks.all``.

Each block of ``benchmarks/README.md``

    <!-- printed: python benchmarks/mediation.py --rounds 3 -->

    the day and the versions

    what the command printed, fenced

    <!-- end -->

gets what its command prints now.  From these blocks come the tables of ratios between
``<!-- ratios -->`` and ``<!-- end -->``, there and in ``README.md``.  The prose stays as it is.
``--only TEXT`` runs only commands that have this text in them.  ``--quick`` runs each as small as
it goes, to see that all of them work; it prints the blocks and writes nothing.

Each command runs with one thread, one after the other; all together take about half an hour.  A
block whose script lacks a library ("not measured") stays as it is.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from mfv_dsl.base.files import write_atomically

ROOT = Path(__file__).parents[1]
PAGE, FRONT = ROOT / "benchmarks" / "README.md", ROOT / "README.md"
#: What makes a run of each script a short one, behind the page's own options.
QUICK = {
    "front_end": "--runs 1",
    "mediation": "--model tiny --prompts 2 --rounds 1 --passes 1",
    "long_prompts": "--shots 1,2 --prompts 1 --rounds 1",
    "precision": "--prompts 2 --rounds 1",
    "vision_language": "--layers 2 --prompts 1 --sample 2",
    "pictures": "--prompts 2 --rounds 1",
    "paper": "",
    "loading": "--megabytes 50",
    "tuning": "--batch 4 --prompts 8 --epochs 1 --rounds 1",
    "other_libraries": "--prompts 1 --rounds 1",
    "data": "--rounds 1",
    "published_sets": "--part 0.02",
    "device_counts": "",
    "figures": "--rows 400 --heads 4 --rounds 1",
    "selection": "--trials 4 --items 4",
    "editors": "--lines 200 --rounds 1 --longest 1000",
}
#: What the tables of ratios have a row of: a way's name, and a line of its script about it.
WAYS = (
    ("the official way: a hooked full pass a head and prompt", "a full pass a head (official way)"),
    ("the same, prompts batched and pictures encoded once", "mediate_plain"),
    ("nnsight 0.8, a trace a head", "nnsight, a trace per head"),
    ("nnsight, a layer's heads as batched invokes", "nnsight, an invoke per head"),
    ("nnsight, batched invokes behind a KV cache", "nnsight, invokes on a KV cache"),
    ("pyvene 0.1, a call a head", "pyvene, a call per head"),
    ("transformers' KV cache and hooks, a prompt at a time", "KV cache by hand, a prompt at once"),
    ("the same, all prompts batched, all pictures handed on", "the same, handing on all pictures"),
    ("the same, all prompts batched, the last picture only", "KV cache by hand, all prompts"),
)
_BLOCK = re.compile(r"<!-- printed: (.*?) -->\n(?:(?!<!--).*\n)*<!-- end -->")
_RATIOS = re.compile(r"<!-- ratios -->\n(?:(?!<!--).*\n)*<!-- end -->")
_RATE = re.compile(r"^this machine: (\d+) GFLOP/s", re.M)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks and write their page.")
    parser.add_argument("--only", metavar="TEXT", help="only commands that have this text in them")
    parser.add_argument("--quick", action="store_true", help="small runs; nothing is written")
    asked = parser.parse_args()
    for command in commands(PAGE.read_text(encoding="utf-8")):
        if asked.only and asked.only not in command:
            continue
        print(f"$ {command}", file=sys.stderr, flush=True)
        printed = output(command, asked.quick)
        if "not measured" in printed:
            print(f"{printed}left as it was: {command}", file=sys.stderr)
        elif asked.quick:
            print(block(command, printed), flush=True)
        else:  # at once, so that an interrupted run keeps what it has
            write(filled(PAGE.read_text(encoding="utf-8"), {command: printed}))
    return 0


def write(page: str) -> None:
    """Write the page, and the tables of ratios that follow from it."""
    write_atomically(PAGE, page.encode())  # first, lest figures are lost
    write_atomically(PAGE, with_ratios(page, page).encode())
    front = FRONT.read_text(encoding="utf-8")
    write_atomically(FRONT, with_ratios(front, page).encode())


def commands(page: str) -> list[str]:
    """The commands of the page's blocks, in their order."""
    return _BLOCK.findall(page)


def output(command: str, quick: bool) -> str:
    """What a command of the page prints, run with this Python and one thread."""
    words = shlex.split(command)
    script = ROOT / words[1]
    if quick:
        words += shlex.split(QUICK[script.stem])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), *words[2:]], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)} failed; the page is left as it was")
    return done.stdout


def block(command: str, printed: str) -> str:
    """A block of the page with what its command printed today."""
    text = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    made = f"{datetime.date.today()}, CPython {platform.python_version()}, {versions}, one thread:"
    return f"<!-- printed: {command} -->\n\n{made}\n\n```\n{text}\n```\n\n<!-- end -->"


def filled(page: str, printed: dict[str, str]) -> str:
    """The page with the blocks of these commands made anew; the others and the prose stay."""
    return _BLOCK.sub(
        lambda there: block(there[1], printed[there[1]]) if there[1] in printed else there[0], page
    )


def with_ratios(text: str, page: str) -> str:
    """A text whose table of ratios is that of the page's blocks."""
    return _RATIOS.sub(lambda _: f"<!-- ratios -->\n\n{table(page)}\n\n<!-- end -->", text)


def table(page: str) -> str:
    """How many times as long each way of measuring all heads takes as ours, and the machine's own
    rate: the medians that the page's blocks show, as Markdown."""
    mediation, libraries = (_printed(page, name) for name in ("mediation", "other_libraries"))
    small, large = (_section(mediation, name) for name in ("tiny", "16x16"))
    lines = [
        "| effects of all heads, time as a multiple of ours | 10 × 8 heads, d = 128 "
        "| 16 × 16 heads, d = 512 |",
        "| --- | ---: | ---: |",
    ]
    for label, way in WAYS:
        ratio = _ratio(small, way) or _ratio(libraries, way)
        lines.append(f"| {label} | {ratio} | {_ratio(large, way) or '–'} |")
    rates = " and ".join(_RATE.findall(mediation) + _RATE.findall(libraries))
    lines += ["", f"One thread; a large product of matrices ran at {rates} GFLOP/s meanwhile."]
    return "\n".join(lines)


def _printed(page: str, script: str) -> str:
    """The block of a script's command."""
    for there in _BLOCK.finditer(page):
        if f"/{script}.py" in there[1]:
            return there[0]
    raise SystemExit(f"the page has no block of {script}.py")


def _section(text: str, model: str) -> str:
    """The part of what ``mediation.py`` printed that is about a model."""
    found = re.search(rf"^{model}: .*?(?=\n\n)", text, flags=re.M | re.S)
    if not found:
        raise SystemExit(f"the page has no figures of {model}")
    return found[0]


def _ratio(text: str, way: str) -> str:
    """The median ratio on a way's line, as ``4.0 ×`` or ``119 ×``; empty without such a line."""
    line = re.search(rf"^ *{re.escape(way)} +(.*)$", text, flags=re.M)
    if not line:
        return ""
    ratio = float(re.sub(r"\([^)]*\)", " ", line[1]).split()[1])
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


if __name__ == "__main__":
    sys.exit(main())
