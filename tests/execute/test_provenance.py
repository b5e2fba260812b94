"""What vectors' files say of the evals that used them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import mfv_dsl as mfv
from mfv_dsl.report.vectors import provenance_tree

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=20)
defaults { trials = 2, items = 4, heads = {L2H6}, shots = 1 }
save "lib" { vectors = [fv(left)] }
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("evals", "layer", "where"),
    [
        ("eval a { add = fv(left), layer = {3, 6} }", None, {}),
        ("eval a { add = fv(left), layer = [{3, 6}, 3] }", None, {}),
        ("eval a { add = fv(left), layer = 3 }", 3, {}),
        ("eval a { add = fv(left), layer = native }", "native", {}),
        ("eval a { add = fv(left), layer = 3, site = attention }", None, {"site": "attention"}),
        ('eval a { add = fv(left), layer = 3, position = "Q:" }', 3, {"position": "Q:"}),
        (
            "eval a { add = fv(left), layer = 3 }\n"
            "eval b { add = fv(left), layer = 1, site = mlp }",
            3,
            {"site": "mlp"},
        ),
    ],
)
def test_a_file_says_where_its_vector_was_written(
    evals: str, layer: int | str | None, where: dict[str, str], tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    mfv.Recipe(f"{HEAD}{evals}\n").run()
    metadata = mfv.load_vector("lib", "left").metadata
    assert metadata.get("layer") == layer
    last = metadata["metrics"][-1]
    assert {name: last[name] for name in ("site", "position") if name in last} == where
    table = Path("lib/README.md").read_text().partition("## Results")[2]
    for name in ("site", "position"):
        assert (f"| {name} |" in table) == (name in where)
    shown = "".join(f", {name} {value}" for name, value in where.items())
    console = Console(file=io.StringIO(), width=200)
    console.print(provenance_tree(metadata))
    assert f"scale 1{shown}: " in console.file.getvalue()
