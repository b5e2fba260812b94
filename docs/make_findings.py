"""Makes the tables of docs/findings.md: ``python -m docs.make_findings``, or ``make findings``.

Each command of :data:`RUNS` is run, unless it was run before with the same code, recipe and models,
and each block of the page

    <!-- table: mfv table FOLDER --rows eval --cols relation -->

    | the table | …

    <!-- end -->

gets what its command prints as Markdown.  The prose stays as it is.  An interrupted run goes on
where it stopped.  With ``--check`` nothing is written: tables are held against those on the page,
to the digit where the page was made with the same kernels, else within rounding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from typer.testing import CliRunner

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.places import find_recipe, run_folder
from mfv_dsl.cli.app import app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "findings.md"
#: What is measured, in this order; each command stands on the page.
_RELATIONS = ("left", "right", "above", "below", "above_right", "below_left")
_BUNDLED = " ".join(
    f"vectors/flamingo-tiny/{kind}{name}.safetensors"
    for name in _RELATIONS
    for kind in ("", "tuned_")
)
_OF_LLAVA = " ".join(f"vectors/quickstart-llava/{name}.safetensors" for name in _RELATIONS[:4])
RUNS = tuple(
    " ".join(command.split())
    for command in f"""
    mfv heads left right above below -k 12 --plot docs/images/heads.png
    mfv run sweeps
    mfv run tuning
    mfv run composition
    mfv run findings/sums
    mfv run controls
    mfv run seeds
    mfv run siblings
    mfv cost {_BUNDLED} --layer 1 --out runs/findings/cost
    mfv heads left right above below -k 12 --model 'tiny("llava")' --out runs/heads-llava
    mfv run sweeps --profile llava
    mfv run tuning --profile llava
    mfv run composition --profile llava
    mfv run findings/sums --profile llava
    mfv run controls --profile llava
    mfv run seeds --profile llava
    mfv run siblings --profile llava
    mfv run quickstart --profile llava
    mfv cost {_OF_LLAVA} --layer 1 --model 'tiny("llava")' --out runs/findings/cost-llava
    mfv cost {_OF_LLAVA} --layer 1 --scale 2 --model 'tiny("llava")' \
        --out runs/findings/cost-llava-twice
    mfv cost vectors/tuned-llava --layer 1 --model 'tiny("llava")' \
        --out runs/findings/cost-llava-tuned
    mfv run tuning --profile llava --set 'novel_untrained.scale=[1,1.5,2,3]' \
        --set 'novel_untrained.choose=[layer,scale]' \
        --only novel_untrained --out runs/findings/novel-llava
    mfv run tuning --set 'novel_untrained.scale=[1,1.5,2,3]' \
        --set 'novel_untrained.choose=[layer,scale]' \
        --only novel_untrained --out runs/findings/novel-flamingo
    mfv run composition --profile llava --only sums --set 'sums.on=[above_right,below_left]' \
        --set 'sums.scale=[0.5,1,1.5,2,3]' --set 'sums.choose=[layer,scale]' \
        --out runs/findings/scaled-sums-llava
    mfv run findings/claims --out runs/findings/seed-0
    mfv run findings/claims --set 'flamingo=tiny("seeds/1")' --out runs/findings/seed-1
    mfv run findings/claims --set 'flamingo=tiny("seeds/3")' --out runs/findings/seed-3
    """.strip().splitlines()
)  # fmt: skip
_BLOCK = re.compile(r"<!-- table: (.*?) -->\n.*?<!-- end -->", re.DOTALL)
_MADE_WITH = re.compile(r"<!-- made with: (.*?) -->")
_FOLDER = re.compile(r'tiny\("([^"]+/[^"]+)"\)')
_NUMBER = re.compile(r"[+−-]?\d+(?:\.\d+)?")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the tables of docs/findings.md.")
    parser.add_argument("--check", action="store_true", help="compare with the page; write nothing")
    parser.add_argument("--only", metavar="TEXT", help="only commands that have this text in them")
    parser.add_argument("--fresh", action="store_true", help="run also what was run before")
    parser.add_argument("--dry-run", action="store_true", help="show what would be run")
    asked = parser.parse_args()
    done = set(run_all(asked.only or "", asked.fresh, asked.dry_run))
    if asked.dry_run:
        return 0
    page = PAGE.read_text(encoding="utf-8")
    made = filled(page, done)
    if asked.check:
        found = list(differences(page, made, exact=made_with(page) == kernels()))
        print("\n".join(found) or "the page's tables are what its commands print")
        return 1 if found else 0
    if not asked.only:
        made = _MADE_WITH.sub(lambda _: f"<!-- made with: {kernels()} -->", made)
    write_atomically(PAGE, made.encode())
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


# -- runs -----------------------------------------------------------------------------------------
def run_all(only: str, fresh: bool, dry_run: bool) -> Iterator[str]:
    """Run what has not been run yet; the folders that have results now."""
    started, in_all = time.perf_counter(), 0.0
    code = hashlib.sha256(b"".join(_digest(path) for path in _sources())).hexdigest()
    for command in RUNS:
        if only not in command:
            continue
        folder = folder_of(command)
        missing = [name for name in _FOLDER.findall(command) if not (ROOT / name).is_dir()]
        if missing:
            print(f"left out: {command}\n  {missing[0]} is missing: python -m tools.tiny.train "
                  f"--out {missing[0]} --seed {Path(missing[0]).name}")  # fmt: skip
            continue
        stamp, key = ROOT / folder / "findings.json", _key(command, code)
        there = _stamp(stamp)
        if there.get("key") == key and not fresh:
            print(f"{there['seconds']:6.0f} s before: {command}")
        else:
            print(f"     running: {command}", flush=True)
            if dry_run:
                continue
            began = time.perf_counter()
            words = [sys.executable, "-m", "mfv_dsl", *shlex.split(command)[1:]]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            there = {"key": key, "seconds": round(time.perf_counter() - began, 1)}
            write_atomically(stamp, json.dumps(there).encode())
            print(f"{there['seconds']:6.0f} s", flush=True)
        in_all += there["seconds"]
        yield folder
    print(f"{time.perf_counter() - started:.0f} s now, {in_all:.0f} s in all")


def folder_of(command: str) -> str:
    """The folder that a command leaves its results in."""
    words = shlex.split(command)
    if "--out" in words:
        return words[words.index("--out") + 1]
    if words[1] == "heads":
        return "runs/heads"
    profile = words[words.index("--profile") + 1] if "--profile" in words else ""
    return run_folder(f"recipes/{words[2]}.mfv", profile).as_posix()


def _sources() -> list[Path]:
    """What results depend on besides the recipe: the code, and the bundled models."""
    package = ROOT / "mfv_dsl"
    return sorted(
        path for ending in ("*.py", "*.safetensors", "*.json") for path in package.rglob(ending)
    )


def _key(command: str, code: str) -> str:
    digest = hashlib.sha256(f"{command}\n{code}\n{kernels()}".encode())
    words = shlex.split(command)
    if words[1] == "run":
        digest.update(find_recipe(words[2]).read_bytes())
    for name in _FOLDER.findall(command):
        digest.update(_digest(ROOT / name / "model.safetensors"))
    return digest.hexdigest()


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _stamp(path: Path) -> dict[str, object]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def kernels() -> str:
    """What decides the last digits: torch, its instruction set and its number of threads."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {capability}, threads: {torch.get_num_threads()}"


# -- the page -------------------------------------------------------------------------------------
def blocks(page: str) -> list[str]:
    """The commands of the page's tables."""
    return [" ".join(command.split()) for command in _BLOCK.findall(page)]


def filled(page: str, folders: set[str] | None = None, root: Path = ROOT) -> str:
    """The page with every table made anew whose runs are among ``folders`` (None: all)."""

    def fill(block: re.Match[str]) -> str:
        if folders is not None and not set(runs_of(block[1])) <= folders:
            return block[0]
        return f"<!-- table: {block[1]} -->\n\n{printed(block[1], root)}\n<!-- end -->"

    return _BLOCK.sub(fill, page)


def runs_of(command: str) -> list[str]:
    """The folders that a table is made of: the words before its first option."""
    words = shlex.split(command)[2:]
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return words[:first]


def printed(command: str, root: Path = ROOT) -> str:
    """What ``mfv table …`` prints as Markdown; its folders are below ``root``."""
    words, runs = shlex.split(command), runs_of(command)
    paths = [str(root / run) for run in runs]
    done = CliRunner().invoke(app, ["table", *paths, *words[2 + len(runs) :], "--markdown"])
    if isinstance(done.exception, MfvError):
        raise SystemExit(f"{command}\n{done.exception}")
    if done.exit_code:
        raise SystemExit(f"{command}\n{done.output}")
    return done.stdout


# -- comparing ------------------------------------------------------------------------------------
def made_with(page: str) -> str | None:
    """What the page's tables were made with."""
    found = _MADE_WITH.search(page)
    return found[1] if found else None


def differences(page: str, made: str, exact: bool) -> Iterator[str]:
    """Where two versions of the page differ; unless ``exact`` by more than rounding."""
    for before, after in zip(_BLOCK.finditer(page), _BLOCK.finditer(made), strict=True):
        old, new = before[0].splitlines(), after[0].splitlines()
        if len(old) != len(new):
            yield f"{before[1]}: {len(old)} lines on the page, {len(new)} now"
            continue
        for there, here in zip(old, new, strict=True):
            if there != here and (exact or not alike(there, here)):
                yield f"{before[1]}\n  page: {there}\n  now:  {here}"


def alike(there: str, here: str) -> bool:
    """Whether two lines of a table say the same but for rounding: an accuracy may differ by an item
    of a hundred, which moves the bounds of its interval by up to three."""
    if _NUMBER.sub("#", there) != _NUMBER.sub("#", here):
        return False
    numbers = [_NUMBER.findall(line.replace("−", "-")) for line in (there, here)]
    return all(
        abs(float(one) - float(other)) <= (0.03 if "." in one else 3)
        for one, other in zip(*numbers, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
