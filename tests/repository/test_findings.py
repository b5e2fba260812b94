"""The tables of docs/findings.md: made by the commands that stand beside them."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

import pytest

from docs.make_findings import (
    PAGE,
    ROOT,
    RUNS,
    alike,
    blocks,
    differences,
    filled,
    folder_of,
    printed,
    runs_of,
)  # fmt: skip
from mfv_dsl.api import Recipe
from mfv_dsl.data.scenes import Scenes
from tests.cli.support import mfv_command

TEXT = PAGE.read_text(encoding="utf-8")


def test_what_is_run_stands_on_the_page_and_nothing_else_is_tabled():
    shown = "\n".join(" ".join(line.split()) for line in TEXT.replace("\\\n", " ").splitlines())
    assert [command for command in RUNS if command not in shown.splitlines()] == []
    folders = {folder_of(command) for command in RUNS}
    assert {run for command in blocks(TEXT) for run in runs_of(command)} <= folders
    assert len(blocks(TEXT)) >= 30
    outside = re.sub(r"<!-- table: .*?<!-- end -->", "", TEXT, flags=re.DOTALL)
    assert len(re.findall(r"^\| ---", outside, flags=re.M)) == 1  # what `mfv identify` says


@pytest.mark.slow
def test_a_page_is_filled_and_its_prose_left_alone(tmp_path: Path):
    folder = tmp_path / "runs" / "it"
    recipe = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left])\neval e { items = 2 }\n"
    Recipe(recipe, "r.mfv").run(folder)
    page = (
        "Before 1.\n<!-- table: mfv table runs/it --rows eval\n    --label e=this -->\n\n"
        "| old |\n\n<!-- end -->\nAfter.\n"
    )
    made = filled(page, root=tmp_path)
    assert made.startswith("Before 1.\n<!-- table: mfv table runs/it --rows eval\n    --label e=")
    assert made.endswith("<!-- end -->\nAfter.\n") and "| old |" not in made
    assert re.search(r"^\| this \| \d+ \[", made, flags=re.M)
    assert filled(made, root=tmp_path) == made
    assert filled(page, set()) == page
    assert list(differences(made, made, exact=True)) == []
    assert len(list(differences(page, made, exact=False))) == 1
    with pytest.raises(SystemExit, match="MFV6110"):
        printed("mfv table runs/it --rows evl", tmp_path)


def test_only_rounding_is_forgiven():
    row = "| raw | 98 [95, 100] | −3 [−5, +1] | 0.658 |"
    assert alike(row, "| raw | 97 [93, 99] | −2 [−4, +2] | 0.661 |")
    assert not alike(row, row.replace("98", "90"))
    assert not alike(row, row.replace("−3", "+3"))
    assert not alike(row, row.replace("0.658", "0.758"))
    assert not alike(row, row.replace("raw", "row"))


@pytest.mark.slow
def test_a_table_of_the_page_comes_out_again(tmp_path: Path):
    """The rows of the composition that need no vector; all of the page: ``make findings``."""
    evals = ("zero_shot", "one_shot", "few_shot")
    words = [word for name in evals for word in ("--only", name)]
    done = mfv_command("run", "composition", *words, "--out", str(tmp_path / "runs/composition"))
    assert done.returncode == 0
    (command,) = (c for c in blocks(TEXT) if runs_of(c) == ["runs/composition"])
    kept = shlex.split(command)
    for place in [i for i, word in enumerate(kept) if re.match(r"sums|blended|doubled", word)][
        ::-1
    ]:
        del kept[place - 1 : place + 1]  # labels of rows that are not there
    made = printed(shlex.join(kept), tmp_path).splitlines()
    page = TEXT[TEXT.index("\n## Composition") :].splitlines()
    start = page.index(made[0])
    assert len(made) == 2 + len(evals)
    for there, here in zip(page[start:], made, strict=False):
        assert alike(there, here), (there, here)


@pytest.mark.slow
def test_the_pools_of_the_seeds_share_no_picture():
    seeds = Recipe.from_file(ROOT / "recipes" / "seeds.mfv").plan()
    pools = [dict(dataset.arguments).get("seed", 0) for dataset in seeds.datasets.values()]
    assert sorted(pools) == [0, 1, 2, 3, 4, 5]
    seen: set[str] = set()
    for pool in pools:
        scenes = Scenes(seed=pool)
        for split in ("extract",) if pool else ("test",):
            images = [
                item.image for name in scenes.relations[:4] for item in scenes.items(name, split)
            ]
            for picture in scenes.pictures(images, 40):
                fingerprint = hashlib.sha256(picture.tobytes()).hexdigest()
                assert fingerprint not in seen
                seen.add(fingerprint)
    assert len(seen) == 6 * 4 * 240
