"""The benchmarks' page is what its commands print, and what they compare gives the same effects."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import all as benchmarks
from benchmarks import on_gpu
from benchmarks.kv_cache import cached_probabilities
from benchmarks.measuring import agree, machine_rate, middle, ratios
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.mediation import mediate_plain
from tests.conftest import small_flamingo

PAGE = benchmarks.PAGE.read_text(encoding="utf-8")
SHORT = "python benchmarks/mediation.py --model tiny --prompts 2 --rounds 1 --passes 1"
MEDIATION = """this machine: 90 GFLOP/s on one product

tiny: 10 layers x 8 heads
  a full pass a head (official way)   1116 (1114 to 1250)   118.6 (115.1 to 125.8)    1.3e-06
  KV cache by hand, a prompt at once  112.5                 11.46                     1.8e-06
  KV cache by hand, all prompts       37.32 (36.16 to 39.57)  3.974 (3.64 to 4.1)     1.1e-06
  the same, handing on all pictures   54.0 (53 to 55)       5.62 (5.5 to 5.7)         1.1e-06

16x16: 16 layers x 16 heads
  a full pass a head (official way)   22000 (21000 to 23000)  97.2 (95 to 99)         1.3e-08
  KV cache by hand, a prompt at once  1100 (1090 to 1200)   4.83 (4.7 to 4.9)         1.8e-08
  KV cache by hand, all prompts       1000 (990 to 1010)    4.44 (4.3 to 4.5)         1.1e-08
  the same, handing on all pictures   1200 (1100 to 1300)   5.35 (5.3 to 5.4)         1.1e-08

peak memory of the process: 802 MiB
"""
LIBRARIES = """mediate_plain                   3.57 (3.46 to 3.87)  38.9 (30.1 to 44.2)  0e+00
nnsight, a trace per head       3.58 (3.23 to 4.25)  40.4 (28.8 to 44.2)     6e-09
nnsight, an invoke per head     3.5 (3.25 to 3.69)   38.9 (29.8 to 41.3)     6e-09
nnsight, invokes on a KV cache  0.4 (0.4 to 0.4)     5.04 (5 to 5.1)         6e-09
pyvene, a call per head         3.61 (3.6 to 4.43)   41.7 (29.3 to 46.3)     6e-09
this machine: 95 GFLOP/s on one product
"""


def test_every_block_is_filled_and_can_be_run_small():
    commands = benchmarks.commands(PAGE)
    stems = [re.fullmatch(r"python benchmarks/(\w+)\.py.*", command)[1] for command in commands]
    assert sorted(stems) == sorted(set(stems)) and set(stems) <= set(benchmarks.QUICK)
    assert {"mediation", "other_libraries"} <= set(stems)
    assert all(
        (benchmarks.ROOT / "benchmarks" / f"{name}.py").exists() for name in benchmarks.QUICK
    )
    filled = re.findall(
        r"<!-- printed: .*? -->\n\n20\d\d-\d\d-\d\d, .*?:\n\n```\n.+?\n```\n\n<!-- end -->",
        PAGE,
        flags=re.S,
    )
    assert len(filled) == len(commands) == PAGE.count("<!-- printed: ")


@pytest.mark.parametrize("page", [benchmarks.PAGE, benchmarks.FRONT], ids=["page", "README"])
def test_the_tables_of_ratios_are_those_of_the_blocks(page: Path):
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- ratios -->") == 1
    assert benchmarks.with_ratios(text, PAGE) == text


def test_a_table_of_ratios_has_the_medians():
    page = "\n".join(
        benchmarks.block(f"python benchmarks/{name}.py", printed)
        for name, printed in (("mediation", MEDIATION), ("other_libraries", LIBRARIES))
    )
    rows = [line.split(" | ")[1:] for line in benchmarks.table(page).splitlines()[2:11]]
    assert rows == [
        ["119 ×", "97 × |"], ["39 ×", "– |"], ["40 ×", "– |"], ["39 ×", "– |"], ["5.0 ×", "– |"],
        ["42 ×", "– |"], ["11 ×", "4.8 × |"], ["5.6 ×", "5.3 × |"], ["4.0 ×", "4.4 × |"],
    ]  # fmt: skip
    assert "at 90 and 95 GFLOP/s" in benchmarks.table(page)
    with pytest.raises(SystemExit, match="no figures of 16x16"):
        benchmarks.table(page.replace("16x16: ", "8x8: "))


@pytest.mark.slow
def test_a_page_is_filled_by_what_its_commands_print(tmp_path: Path, monkeypatch, capsys):
    page, front = tmp_path / "page.md", tmp_path / "front.md"
    monkeypatch.setattr(benchmarks, "PAGE", page)
    monkeypatch.setattr(benchmarks, "FRONT", front)
    front.write_text("No table.\n")
    other = "<!-- printed: python benchmarks/no_such.py -->\n\nkept\n\n<!-- end -->\n"
    page.write_text(f"Before.\n\n{benchmarks.block(SHORT, 'old')}\n\nBetween.\n{other}After.\n")
    monkeypatch.setattr(sys, "argv", ["all", "--only", "mediation"])
    assert benchmarks.main() == 0
    text = page.read_text()
    assert text.startswith(f"Before.\n\n<!-- printed: {SHORT} -->\n\n20")
    assert text.endswith(f"<!-- end -->\n\nBetween.\n{other}After.\n") and "old" not in text
    for line in (
        r"^this machine: \d+ GFLOP/s on one product",
        r"^tiny: 10 layers x 8 heads, d = 128; 2 prompts of 37 tokens$",
        r"^  a full pass a head \(official way\) +[\d.]+ +[\d.]+ +\d\.\de-\d\d$",
        r"^  KV cache by hand, all prompts +[\d.]+ +[\d.]+ +\d\.\de-\d\d$",
    ):
        assert re.search(line, text, flags=re.M), line
    before = page.read_bytes()
    monkeypatch.setattr(sys, "argv", ["all", "--only", "mediation", "--quick"])
    assert benchmarks.main() == 0
    assert page.read_bytes() == before
    assert capsys.readouterr().out.startswith(f"<!-- printed: {SHORT} -->\n")
    monkeypatch.setattr(sys, "argv", ["all", "--only", "no_such"])
    with pytest.raises(SystemExit, match=r"no_such\.py failed; the page is left as it was"):
        benchmarks.main()
    assert page.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("shots", [(2, 2, 2), (1, 3, 2), (2,)], ids=["even", "padded", "one"])
def test_a_kv_cache_by_hand_gives_the_effects_of_full_passes(shots: tuple[int, ...]):
    model, scenes = small_flamingo(layers=3, heads=4), Scenes(seed=7, count=60)
    prompts = [draw_prompts(scenes, "left", "test", 3, n)[i] for i, n in enumerate(shots)]
    facts, batch = model.facts, model.batch(prompts, scenes)
    mean = torch.randn(facts.n_layers, facts.n_heads, facts.head_dim)
    before, after = cached_probabilities(model.model, batch, mean)
    plain = mediate_plain(model, [batch], "left", mean)
    assert before.shape == (len(shots),) and after.shape == plain.cie.shape
    effects = (after - before[:, None, None]).numpy()
    with_all = cached_probabilities(model.model, batch, mean, all_pictures=True)
    torch.testing.assert_close(with_all, (before, after))
    assert abs(plain.cie).min() > 1e-7
    assert abs(effects - plain.cie).max() < 1e-6
    again = mediate_plain(model, [batch], "left", mean)  # the model is left as it was
    assert (again.cie == plain.cie).all()


def test_the_last_json_of_a_script_is_found():
    assert on_gpu.last_json('a line\n[\n  {"x": 1}\n]\n') == [{"x": 1}]
    assert on_gpu.last_json('{"before": 0}\ntext\n{"y": [2]}') == {"y": [2]}
    with pytest.raises(ValueError, match="no JSON"):
        on_gpu.last_json("[not so\n")


def test_a_part_that_takes_too_long_costs_the_others_nothing():
    assert on_gpu.run("same", "tiny", "cpu", limit=0.01) == {"error": "took longer than 0 s"}
    assert sum(limit for _, _, limit in on_gpu.PARTS.values()) <= 600


@pytest.mark.slow
def test_what_a_gpu_is_asked_runs_in_miniature(tmp_path: Path, monkeypatch, capsys):
    out = tmp_path / "gpu.json"
    arguments = ["--shape", "tiny", "--device", "cpu", "--only", "same", "--only", "mediation"]
    monkeypatch.setattr(sys, "argv", ["on_gpu", *arguments, "--out", str(out)])
    assert on_gpu.main() == 0
    found = json.loads(out.read_text())
    assert set(found["parts"]) == {"same", "mediation"}
    assert set(found["parts"]["same"]["found"].values()) == {0.0}
    assert set(found["targets"]) == set(on_gpu.TARGETS)
    official = found["targets"]["times as fast as the official way"]
    assert official["reached"] > 10 and official["met"] == (official["reached"] >= 300)
    assert "target 300: " in capsys.readouterr().out


def test_results_that_differ_end_a_script():
    agree({"this": 1e-7, "that": 0.0}, 1e-6)
    for difference in (1e-5, float("nan")):
        with pytest.raises(SystemExit, match="that: differs by"):
            agree({"this": 1e-7, "that": difference}, 1e-6)


@pytest.mark.slow
def test_ratios_are_taken_round_by_round():
    assert ratios({"ours": [1.0, 2.0], "theirs": [3.0, 8.0]}, "ours") == {
        "ours": [1, 1],
        "theirs": [3, 4],
    }
    assert middle([3.0, 1.0, 2.0]) == "2 (1 to 3)" and middle([1.5]) == "1.5"
    ticks = iter([0.0, 2.0, 5.0, 6.0, *range(10, 18)])
    assert machine_rate(lambda: next(ticks)) == 2 * 1536**3  # the best took a second
