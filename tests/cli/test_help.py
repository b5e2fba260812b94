"""Every example that a `--help` shows works on what is bundled."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command

from mfv_dsl.cli.app import app
from tests.cli.support import mfv_command

ROOT = get_command(app)
#: How an example of an option is tried, by what the example is: `…` stands for it.
SHORT = "--trials 4 --shots 1 --print-recipe"
WAYS = {
    "--set defaults.shots=8 --set raw.layer=0..3 --set 'flamingo=tiny()'": "plan quickstart …",
    "--over flamingo='tiny()','tiny(\"llava\")' --over defaults.seed=0..4":
        "sweep quickstart --profile llava --dry-run …",
    "'fv(left) - fv(right)'": "decode … --heads {L3H1} --trials 4 --shots 1 -q --top 2",
    "'scenes(seed=3)'": f"heads left --dataset … {SHORT}",
    "'top(10)'": f"extract left --heads … {SHORT}",
    "'{L4H1, L3H7}'": f"extract left --heads … {SHORT}",
    "'{L4H1}'": "eval --ablate … --shots 2 --print-recipe",
    "'L2H6, L3H1'": """attention … --model 'tiny("llava")'""",
    "'X5H2'": "attention …",
    "'fv(each)'": "eval --add … --layer 1 --print-recipe",
    "'\"Q:\"'": "eval --add fv(each) --layer 1 --position … --print-recipe",
    "'[0.5, 1]'": "eval --add fv(each) --layer 1 --scale … --print-recipe",
    "'openflamingo(\"REPO\", dtype=bf16)'": None,  # REPO and folder stand for what the user has
    "'openflamingo(\"folder\")'": None,
    "'metadata_csv(\"folder\")'": None,
}  # fmt: skip
EXAMPLE = re.compile(r"--(?:set|over) \S+=.*|(?<![\w>])'[^']+'")


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *path, name)


ALL = dict(commands(ROOT))


def texts(command: click.Command) -> list[str]:
    return [command.help or "", *(getattr(p, "help", "") or "" for p in command.params)]


def examples() -> list[str]:
    found = {
        example
        for command in ALL.values()
        for text in texts(command)
        for example in EXAMPLE.findall(text)
    }
    return sorted(found)


@pytest.mark.parametrize("example", examples())
def test_an_example_works(example: str, tmp_path: Path):
    assert example in WAYS, "say in WAYS how this example is tried"
    way = WAYS[example]
    if way is None:
        return
    typed = shlex.split(example)
    words = [word for part in shlex.split(way) for word in (typed if part == "…" else [part])]
    done = mfv_command(*words, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_is_whole(path: tuple[str, ...]):
    """What stands in brackets, such as a default, is shown; `mfv help` shows the same."""
    done = mfv_command(*path, "--help")
    assert done.returncode == 0
    shown = " ".join(done.stdout.split())
    for text in texts(ALL[path]):
        for bracket in re.findall(r"\[default: [^\]]+\]", text):
            assert " ".join(bracket.split()) in shown
    asked = mfv_command("help", *path)
    assert asked.returncode == 0
    assert asked.stdout.split()[3:] == done.stdout.split()[3:]
