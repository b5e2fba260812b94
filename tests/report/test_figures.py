"""Figures hold the numbers of the rows, nothing is cut off, and each is the same each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mfv_dsl.base.errors import MfvError
from mfv_dsl.cli.tables import kept_by
from mfv_dsl.report.effects import effects_of
from mfv_dsl.report.figures.accuracy import accuracy_figure
from mfv_dsl.report.figures.bars import evals_figure
from mfv_dsl.report.figures.extents import shown_texts, texts_outside
from mfv_dsl.report.figures.heads import heads_figure
from mfv_dsl.report.figures.kinds import KINDS, Wish, kind_named
from mfv_dsl.report.figures.lettering import fitting
from mfv_dsl.report.figures.matrices import confusion_figure, similarity_figure
from mfv_dsl.report.figures.prompts import Panel, answers_figure, prompt_figure
from mfv_dsl.report.figures.saving import figure_bytes, save_figure
from mfv_dsl.report.figures.selection import selected
from mfv_dsl.report.figures.style import COLOURS, inches
from mfv_dsl.report.figures.training import norms_figure, stream_figure, tuning_figure
from mfv_dsl.report.prompt_row import PromptRow

pytestmark = pytest.mark.filterwarnings("error:constrained_layout")

LONG = "the_farther_of_the_two_objects_that_stand_to_the_left_of_$it$"
Row = dict[str, Any]


def row(
    eval: str = "raw", relation: str | None = "left", accuracy: float = 0.5, **more: Any
) -> Row:
    """A line of results.csv."""
    return {
        "eval": eval, "relation": relation, "shots": 0, "layer": None, "scale": None, "n": 100,
        "accuracy": accuracy, "ci_low": accuracy - 0.1, "ci_high": accuracy + 0.05,
        "mean_p_answer": accuracy / 2, "difference": accuracy - 0.3,
        "difference_low": accuracy - 0.42, "difference_high": accuracy - 0.2, **more,
    }  # fmt: skip


def swept(evals: int, relations: list[str | None], layers: int) -> list[Row]:
    return [
        row(f"eval_{i}", relation, 0.2 + 0.6 * layer / layers + 0.01 * i, layer=layer)
        for i in range(evals) for relation in relations for layer in range(layers)
    ]  # fmt: skip


def confused(evals: list[str], relations: list[str]) -> list[Row]:
    return [
        {"eval": name, "relation": asked, "shots": 0, "layer": 1, "n": 10, "answered": answered,
         "share": 1.0 if asked == answered else 0.0}
        for name in evals for asked in relations for answered in (*relations, None)
    ]  # fmt: skip


def epochs(relations: list[str], count: int) -> list[Row]:
    return [
        {"tune": "tuned", "relation": relation, "variable": "vector", "layer": 3, "epoch": epoch,
         "chosen": epoch == count - 1, "n": 10, "loss": None if epoch == 0 else 2.0 / epoch,
         "off_task_kl": None, "accuracy": epoch / count, "nll": 3.0 - epoch / count, "norm": 5.0}
        for relation in relations for epoch in range(count)
    ]  # fmt: skip


def scores(layers: int, heads: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(0, 0.01, (layers, heads))
    values[-1, 0], values[0, -1] = 0.5, -0.25
    return values


def cosines(count: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(count, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


PICTURE = np.full((40, 40, 3), 200, np.uint8)
PROMPT = PromptRow(
    "left, test split, prompt 3", [PICTURE] * 5, ["<image>Q:red. A:blue."] * 5, "blue"
)
ANSWERS = [(f"answer {i} of many words that go on and on", 0.5 / (i + 1)) for i in range(5)]
RELATIONS = ["left", "right", "above", LONG]
FIGURES: dict[str, Callable[[], tuple[Figure, np.ndarray]]] = {
    "heads, one": lambda: heads_figure({"left": scores(10, 8)}),
    "heads, 1 x 1": lambda: heads_figure({"left": scores(1, 1)}),
    "heads, one layer": lambda: heads_figure({"left": scores(1, 12)}),
    "heads, one head": lambda: heads_figure({"left": scores(12, 1)}),
    "heads, 32 x 32": lambda: heads_figure({name: scores(32, 32) for name in RELATIONS}),
    "heads, 64 x 64": lambda: heads_figure({"mean": scores(64, 64)}, by="norm"),
    "heads, page": lambda: heads_figure({n: scores(32, 32) for n in RELATIONS}, width=6.9),
    "heads, nothing": lambda: heads_figure({"left": np.full((4, 4), nan)}, note="Nothing. " * 30),
    "accuracy, one": lambda: accuracy_figure(swept(1, ["left"], 10)),
    "accuracy, relations": lambda: accuracy_figure(swept(1, [*RELATIONS, None], 32)),
    "accuracy, panels": lambda: accuracy_figure(
        [*swept(3, [*RELATIONS, None], 10), row("zero_shot", "left"), row(LONG, LONG)]
    ),
    "accuracy, words": lambda: accuracy_figure(
        [row(layer=layer) for layer in (0, 1, 2, "{3, 5}", "native")]
    ),
    "accuracy, difference": lambda: accuracy_figure(swept(2, ["left"], 10), value="difference"),
    "evals": lambda: evals_figure([row(name, r) for name in ("a", LONG) for r in RELATIONS]),
    "evals, many": lambda: evals_figure(
        [row(f"{LONG}_{i}", None, control=c) for i in range(30) for c in ("", "random_heads")]
    ),
    "evals, one": lambda: evals_figure([row()]),
    "evals, many relations": lambda: evals_figure([row("a", f"{LONG}_{i}") for i in range(20)]),
    "confusion": lambda: confusion_figure(confused(["few", LONG], RELATIONS)),
    "confusion, page": lambda: confusion_figure(confused(["a", "b", "c"], RELATIONS), width=6.9),
    "confusion, one": lambda: confusion_figure(confused(["few"], ["left"])),
    "confusion, singles": lambda: confusion_figure(
        [line for name in RELATIONS for line in confused([f"sum_{name}"], [name])]
    ),
    "similarity": lambda: similarity_figure(["a", "b", "c", LONG], cosines(4)),
    "similarity, one": lambda: similarity_figure([LONG], cosines(1)),
    "similarity, many": lambda: similarity_figure([f"fv({i})" for i in range(90)], cosines(90)),
    "tuning": lambda: tuning_figure(epochs(RELATIONS, 10)),
    "norms": lambda: norms_figure(
        [{"vector": LONG * 2, "layer": layer, "norm": 2.0 * layer} for layer in range(4)]
    ),
    "stream": lambda: stream_figure(range(4), [1, 2, 3, 4], [0.1] * 4, 2.5, "fv(left) - fv(right)"),
    "prompt": lambda: prompt_figure([PROMPT, PROMPT]),
    "prompt, column": lambda: prompt_figure([PROMPT], width=3.3),
    "answers": lambda: answers_figure(
        PICTURE, "Q:a $red$ thing. A:", [Panel("no vector", ANSWERS), Panel(LONG, ANSWERS)]
    ),
    "answers, column": lambda: answers_figure(
        PICTURE, "Q:red. A:", [Panel(LONG, ANSWERS, ANSWERS[0][0])] * 3, width=3.3
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name: str):
    figure, axes = FIGURES[name]()
    assert axes.size >= 1
    assert texts_outside(figure) == []
    assert sum(1 for _ in shown_texts(figure)) >= 2


def test_a_text_that_is_cut_off_is_noticed():
    figure, _ = evals_figure([row()])
    figure.text(0.99, 0.5, "too far to the right")
    assert texts_outside(figure) == ["too far to the right"]


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".svg", ".pdf", ".png"])
def test_the_same_figure_gives_the_same_bytes(ending: str):
    first, second = (figure_bytes(evals_figure([row()])[0], ending) for _ in range(2))
    assert first == second and len(first) > 1000


@pytest.mark.slow
def test_letters_stay_letters(tmp_path: Path):
    figure, _ = heads_figure({"left_of_it": scores(4, 4)})
    pdf = figure_bytes(figure, ".pdf")
    assert b"CIDFontType2" in pdf and b"/Type3" not in pdf  # TrueType, which editors can change
    assert b"CreationDate" not in pdf
    assert b">left_of_it<" in figure_bytes(figure, ".svg")
    save_figure(figure, tmp_path / "f.PDF")
    assert (tmp_path / "f.PDF").read_bytes()[:5] == b"%PDF-"


@pytest.mark.slow
def test_settings_of_the_process_stay_and_pyplot_is_not_touched():
    with matplotlib.rc_context({"font.size": 31.0}):
        figure, _ = evals_figure([row()])
        assert matplotlib.rcParams["font.size"] == 31.0
    assert figure.axes[0].xaxis.label.get_fontsize() == 8
    code = (
        "import sys\nfrom mfv_dsl.report.figures.heads import heads_figure\n"
        "import numpy as np\nheads_figure({'a': np.ones((2, 2))})[0]._repr_png_()\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_figures_are_drawn_by_several_threads_at_once():
    def drawn(name: str) -> bytes:
        return figure_bytes(FIGURES[name]()[0], ".png", dpi=80)

    names = ["heads, one", "accuracy, panels", "confusion", "similarity"] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drawn, names)) == [drawn(name) for name in names]


@pytest.mark.slow
def test_what_is_written_over_a_figure_may_have_formulas(tmp_path: Path):
    figure, (panel,) = accuracy_figure([row("$raw$", layer=layer) for layer in range(3)])
    panel.set_ylabel(r"$\Delta p$ of answers")
    formulas = {text.get_text(): text.get_parse_math() for text in shown_texts(figure)}
    assert formulas[r"$\Delta p$ of answers"] and not formulas["$raw$"]
    figure.savefig(tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes() == figure_bytes(figure, ".pdf")


# -- what is drawn is what the rows say -----------------------------------------------------------
@pytest.mark.slow
def test_heat_maps_are_the_scores_centred_on_zero():
    values = scores(10, 8)
    values[3, 3] = nan
    _, (panel,) = heads_figure({"left": values}, layers=range(4, 14))
    (image,) = panel.images
    np.testing.assert_array_equal(image.get_array().filled(nan), values)
    assert image.norm.vmin == -0.5 and image.norm.vmax == 0.5
    assert min(image.cmap(image.norm(0.0))) > 0.95  # white
    red, _, blue, _ = image.cmap(image.norm(0.5))
    assert red > blue
    assert panel.get_yticklabels()[0].get_text() == "4"
    assert "0.50" in [text.get_text() for text in panel.texts]


@pytest.mark.parametrize("size", [32, 64])
def test_ticks_of_large_heat_maps_do_not_touch(size: int):
    _, (panel,) = heads_figure({"mean": scores(size, size)})
    for labels, along in ((panel.get_xticklabels(), "x"), (panel.get_yticklabels(), "y")):
        boxes = [label.get_window_extent() for label in labels]
        ends = sorted((getattr(box, f"{along}0"), getattr(box, f"{along}1")) for box in boxes)
        assert len(ends) >= 6
        assert all(a[1] < b[0] for a, b in pairwise(ends))


def test_curves_and_bands_are_the_rows_numbers():
    rows = swept(1, ["left"], 6)
    _, (panel,) = accuracy_figure(rows)
    line = panel.lines[0]
    np.testing.assert_allclose(line.get_ydata(), [100 * one["accuracy"] for one in rows])
    np.testing.assert_array_equal(line.get_xdata(), range(6))
    (band,) = panel.collections
    points = band.get_paths()[0].vertices
    for one in rows:
        for bound in ("ci_low", "ci_high"):
            assert np.isclose(points, (one["layer"], 100 * one[bound])).all(axis=1).any()


@pytest.mark.slow
def test_what_is_not_swept_is_a_level_line_and_seeds_are_their_mean():
    rows = [*swept(1, ["left"], 4), row("zero_shot", "left", 0.3)]
    _, (panel,) = accuracy_figure(rows)
    level = [line for line in panel.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in level] == [30]
    draws = [
        row(layer=layer, accuracy=0.5 + 0.1 * draw, draw=draw)
        for layer in range(3)
        for draw in (1, 2)
    ]
    means = [row(layer=layer, accuracy=0.65, draw="mean", draws=2) for layer in range(3)]
    _, (panel,) = accuracy_figure([*draws, *means])
    (line,) = panel.lines
    np.testing.assert_allclose(line.get_ydata(), [65, 65, 65])
    _, (panel,) = accuracy_figure([*draws, *means], x="draw")
    assert len(panel.lines) == 3  # a curve for each layer, over the seeds themselves


def test_chance_is_a_level_line_and_stands_beside_bars():
    rows = [{**one, "chance": 0.25} for one in swept(1, ["left"], 4)]
    _, (panel,) = accuracy_figure(rows)
    assert [line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == ":"] == [25]
    _, (panel,) = accuracy_figure(rows, value="difference")
    assert len(panel.lines) == 1
    rows[0]["chance"] = 0.5  # questions of other numbers of options have no one chance
    _, (panel,) = accuracy_figure(rows)
    assert len(panel.lines) == 1
    _, (bars, _) = evals_figure([row("zero", None, 0.3), row("asked", None, 0.8, chance=0.25)])
    dotted = [line for line in bars.lines if line.get_linestyle() == ":"]
    assert [tuple(line.get_xdata()) for line in dotted] == [(25, 25)]


def test_many_level_lines_are_told_apart():
    levels = [row(f"level{place}", "left", place / 20) for place in range(16)]
    _, (panel,) = accuracy_figure([*swept(1, ["left"], 4), *levels])
    looks = {
        (line.get_color(), str(line._unscaled_dash_pattern))
        for line in panel.lines
        if len(set(line.get_ydata())) == 1
    }
    assert len(looks) == 16


def test_what_is_chosen_may_have_any_letters():
    rows = [row("raw", "a[b]"), row("raw", "ab"), row("raw", "left", layer="{3, 5}")]
    assert selected(rows, {"relation": ["a[b]"]}) == rows[:1]
    assert kept_by(["layer={3, 5}, 1", "k=1,2"]) == {"layer": ["{3, 5}", "1"], "k": ["1", "2"]}
    assert selected(rows, {"layer": ["{3, 5}"]}) == rows[2:]


def test_bars_and_differences_are_the_rows_numbers():
    rows = [row("zero", None, 0.3), row("raw", None, 0.8), row("raw", "left", 0.9)]
    _, (bars, differences) = evals_figure(rows)
    assert [patch.get_width() for patch in bars.patches] == [30, 80]  # of those with a pooled row
    whiskers = [tuple(line.get_xdata()) for line in bars.lines]
    np.testing.assert_allclose(whiskers, [(20, 35), (70, 85)])
    dots = [line.get_xdata()[0] for line in differences.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [0, 50])
    several = [row(name, relation) for name in ("a", "b") for relation in ("left", "right")]
    figure, (bars, _) = evals_figure(several)
    assert len({patch.get_facecolor() for patch in bars.patches}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["left", "right"]


def test_a_confusion_is_the_shares():
    _, (panel,) = confusion_figure(confused(["few"], ["left", "right"]))
    (image,) = panel.images
    np.testing.assert_array_equal(image.get_array(), [[100, 0, 0], [0, 100, 0]])
    assert [label.get_text() for label in panel.get_xticklabels()] == ["left", "right", "other"]


@pytest.mark.slow
def test_like_vectors_stand_together_and_zero_comes_last():
    near = np.array([[1, 0.0, 0.9], [0.0, 1, 0.1], [0.9, 0.1, 1]])
    _, (panel, tree) = similarity_figure(["a", "b", "c"], near)
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert abs(names.index("a") - names.index("c")) == 1
    order = [["a", "b", "c"].index(name) for name in names]
    np.testing.assert_allclose(panel.images[0].get_array(), near[np.ix_(order, order)])
    assert len(tree.lines) == 2
    near[0], near[:, 0] = nan, nan
    _, axes = similarity_figure(["a", "b", "c"], near)
    assert axes[0].get_yticklabels()[-1].get_text() == "a"


def test_training_has_a_star_where_the_epoch_was_chosen():
    _, (accuracy, nll, _) = tuning_figure(epochs(["left"], 5))
    stars = [line for line in accuracy.lines if line.get_marker() == "*"]
    assert [tuple(line.get_xdata()) for line in stars] == [(4,)]
    np.testing.assert_allclose(nll.lines[0].get_ydata(), [3.0 - i / 5 for i in range(5)])


def test_answers_are_bars_of_their_probabilities():
    _, (picture, panel) = answers_figure(PICTURE, "Q:", [Panel("x", [("a", 0.7), ("b", 0.1)], "b")])
    assert [patch.get_width() for patch in panel.patches] == [0.7, 0.1]
    assert len({patch.get_facecolor() for patch in panel.patches}) == 2
    np.testing.assert_array_equal(picture.images[0].get_array(), PICTURE)


def test_a_picture_of_any_shape_is_not_stretched():
    flat = np.full((50, 200, 3), (0, 200, 0), np.uint8)
    _, (picture, _) = answers_figure(flat, "Q", [Panel("no vector", ANSWERS)])
    box = picture.get_window_extent()
    assert box.width == pytest.approx(4 * box.height, rel=0.01)


# -- what cannot be drawn -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "width", ["3.3", "wide", "3.3inches", "0.1in", "90in", nan, None, "-3in", []]
)
def test_a_width_that_is_no_length(width: object):
    with pytest.raises(MfvError) as raised:
        inches(width)
    assert raised.value.code == "MFV5356"


@pytest.mark.parametrize(
    ("code", "draw"),
    [
        ("MFV6130", lambda: accuracy_figure([row(), row("b")])),
        ("MFV6130", lambda: accuracy_figure([])),
        ("MFV6130", lambda: evals_figure([])),
        ("MFV6130", lambda: evals_figure([row(accuracy=nan)])),
        ("MFV6130", lambda: confusion_figure([])),
        ("MFV6130", lambda: kind_named("aye")),
        ("MFV6131", lambda: accuracy_figure(swept(1, ["left"], 3), x="scale")),
        ("MFV6131", lambda: accuracy_figure(swept(1, ["left"], 3), x="leyer")),
        ("MFV6131", lambda: accuracy_figure(swept(1, ["left"], 3), value="acuracy")),
        ("MFV6131", lambda: tuning_figure(epochs(["left"], 3), ["lost"])),
        ("MFV6131", lambda: KINDS["aie"].figure([], Wish(evals=("raw",)))),
        ("MFV6131", lambda: KINDS["evals"].figure([row()], Wish(relations=("lift",)))),
        ("MFV6131", lambda: KINDS["evals"].figure([row()], Wish(where={"leyer": ["1"]}))),
        ("MFV6132", lambda: evals_figure([row(f"e{i}") for i in range(200)])),
        ("MFV6132", lambda: accuracy_figure(swept(60, ["left"], 2))),
        ("MFV6132", lambda: confusion_figure(confused([f"e{i}" for i in range(30)], ["a", "b"]))),
    ],
)
def test_what_cannot_be_drawn_is_refused(code: str, draw: Callable[[], object]):
    with pytest.raises(MfvError) as raised:
        draw()
    assert raised.value.code == code and (raised.value.help or code == "MFV6130")


def test_rows_without_numbers_are_left_out_and_told():
    rows = [row("a"), row("b", accuracy=nan), {**row("c"), "accuracy": None, "error": "MFV5370"}]
    figure, (bars, _) = evals_figure(rows)
    assert len(bars.patches) == 1
    said = figure.get_supxlabel().replace("\n", " ")
    assert "1 row has no numbers as the condition failed" in said
    assert "1 row has no finite number and is not drawn" in said


def test_long_names_that_look_alike_are_numbered():
    names = [f"{'x' * 30}{end}{'y' * 30}" for end in "ab"]
    short = fitting([*names, "left", names[0]], 12)
    assert short[0].endswith("(1)") and short[1].endswith("(2)")
    assert short[2] == "left" and short[3] == short[0]


def test_the_colours_differ_in_lightness_or_hue():
    """Any two also for eyes that do not tell red from green (Viénot, Brettel and Mollon 1999)."""

    def seen(colour: str) -> np.ndarray:
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
        dichromat = np.array([[0.1121, 0.8853, -0.0005], [0.1127, 0.8897, -0.0001],
                              [0.0045, 0.0, 1.0019]])  # fmt: skip
        return np.clip(dichromat @ rgb, 0, 1) ** (1 / 2.2)

    for place, one in enumerate(COLOURS):
        for other in COLOURS[place + 1 :]:
            assert np.linalg.norm(seen(one) - seen(other)) > 0.1, (one, other)


@pytest.mark.slow
def test_effects_are_an_array_with_names():
    rows = [
        {"step": "s", "relation": r, "by": by, "layer": layer, "head": head, "seed": seed,
         "score": layer + 10 * head + (100 if r == "right" else 0)}
        for by in ("aie", "norm") for seed in (1, 2) for r in ("left", "right")
        for layer in (2, 3) for head in (0, 1, 2)
    ]  # fmt: skip
    found = effects_of(rows)
    assert list(found) == ["aie, seed 1", "aie, seed 2", "norm, seed 1", "norm, seed 2"]
    effects = found["aie, seed 1"]
    assert effects.values.shape == (2, 3, 2) and effects.layers == (2, 3)
    assert effects["right"][1, 2] == 123 and effects.mean[0, 0] == 52
    series = effects.to_pandas()
    assert series[3, 2, "right"] == 123 and series.name == "aie"
    with pytest.raises(MfvError, match="did you mean `left`"):
        effects["lft"]
    figure, axes = KINDS["aie"].figure(rows, Wish())
    assert len(axes) == 6 and "norm" in figure.get_supxlabel()
    _, axes = KINDS["aie"].figure(rows, Wish(relations=("mean",), where={"seed": ["2"]}))
    assert len(axes) == 1
