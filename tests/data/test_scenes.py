"""Scenes, splits and prompts."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import world
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.render import Looks, render, sample_looks
from mfv_dsl.data.scenes import Scenes


@pytest.mark.parametrize(
    "module",
    ["data", "data.declarations", "data.names", "data.prompts", "data.scenes", "data.template",
     "data.things", "lang.constructed"],
)  # fmt: skip
def test_the_examples_in_the_text_are_true(module: str):
    outcome = doctest.testmod(import_module(f"mfv_dsl.{module}"))
    assert outcome.attempted and not outcome.failed


def picture_of(cells: dict[tuple[int, int], str], size: int = 40) -> np.ndarray:
    """One picture without jitter, white background, noise from seed 0."""
    grid = np.full((1, 4, 4), world.EMPTY, dtype=np.int8)
    for (row, column), kind in cells.items():
        grid[0, row, column] = world.KINDS.index(kind)
    looks = Looks(
        np.zeros((1, 4, 4, 2), dtype=int), np.full((1, 3), 255, np.float32), np.zeros(1, dtype=int)
    )
    return render(grid, looks, size)[0]


def test_colours_stand_where_the_layout_says():
    picture = picture_of({(0, 0): "red square", (2, 3): "blue circle"}).astype(int)
    red, blue, empty = picture[5, 5], picture[25, 35], picture[35, 5]
    assert red[0] > 180 > 90 > red[2]
    assert blue[2] > 180 > 120 > blue[0]
    assert (empty > 230).all()


@pytest.mark.slow
def test_shapes_by_hand():
    """Pixels inside and outside each shape, at 80 pixels a cell."""
    inside = {
        "circle": [(40, 40), (40, 12)], "square": [(14, 14), (66, 66)], "ring": [(40, 13)],
        "triangle": [(60, 40), (66, 20)], "diamond": [(40, 12)], "cross": [(40, 12), (12, 40)],
    }  # fmt: skip
    outside = {
        "circle": [(12, 12)], "square": [(2, 40)], "ring": [(40, 40), (12, 12)],
        "triangle": [(15, 15)], "diamond": [(15, 15)], "cross": [(15, 15)],
    }  # fmt: skip
    for shape in world.SHAPES:
        picture = picture_of({(0, 0): f"red {shape}"}, size=320).astype(int)
        for row, column in inside[shape]:
            assert picture[row, column, 1] < 100, (shape, row, column)
        for row, column in outside[shape]:
            assert picture[row, column, 1] > 200, (shape, row, column)


def test_every_relation_points_the_right_way():
    steps = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}
    for relation in world.RELATIONS:
        row, column = (sum(steps[word][i] for word in relation.split("_")) for i in (0, 1))
        assert world.OFFSETS[relation] == (row, column)


@pytest.mark.parametrize("relation", world.RELATIONS)
def test_answers_match_the_picture(relation: str):
    """The answer's colour is found in the picture at the relation's offset from the query's."""
    data = Scenes(seed=3, count=20)
    layouts, _, items = data._pool(relation, "test")
    for i, item in enumerate(items):
        picture = data.pictures([item.image], 40)[0].astype(int)
        row, column = layouts.anchor[i]
        d_row, d_column = world.OFFSETS[relation]
        for name, (r, c) in ((item.query, (row, column)),
                             (item.answer, (row + d_row, column + d_column))):  # fmt: skip
            cell = picture[10 * r : 10 * r + 10, 10 * c : 10 * c + 10].reshape(-1, 3)
            colour = np.array(world.COLOURS[name.split()[0]])
            assert (abs(cell - colour).sum(1) < 60).sum() >= 8, (name, item)


def test_pictures_do_not_depend_on_batching_or_order():
    rng = np.random.default_rng(0)
    layouts, looks = world.sample_layouts(rng, 6, False, "test"), sample_looks(rng, 6)
    together = render(layouts.grid, looks)
    for i in (4, 1):
        one = slice(i, i + 1)
        assert (render(layouts[one].grid, looks[one])[0] == together[i]).all()


def test_same_seed_same_scenes_and_other_seed_other_scenes():
    a, b, c = (Scenes(seed=seed, count=30) for seed in (5, 5, 6))
    assert a.items("left", "test") == b.items("left", "test")
    assert a.items("left", "test") != c.items("left", "test")
    image = a.items("left", "test")[3].image
    assert (a.pictures([image], 40)[0] == b.pictures([image], 40)[0]).all()


@pytest.mark.slow
def test_splits_share_no_layout():
    data = Scenes(count=240)
    seen: dict[bytes, str] = {}
    for split in data.splits:
        for relation in data.relations:
            for grid in data._pool(relation, split)[0].grid:
                assert seen.setdefault(grid.tobytes(), split) == split
    rng = np.random.default_rng(0)
    pretrain = world.sample_layouts(rng, 5000, rng.random(5000) < 0.5, "pretrain")
    assert set(world.bucket(pretrain.grid)) == set(world.SPLIT_BUCKETS["pretrain"])
    assert not {grid.tobytes() for grid in pretrain.grid} & set(seen)


def test_novel_scenes_ask_about_novel_objects_only():
    for relation in ("left", "below_right"):
        for item in Scenes(count=50, objects="novel").items(relation, "test"):
            assert item.query in world.NOVEL_KINDS
            assert item.answer in world.NOVEL_KINDS
            assert len({item.query, *item.neighbours.values()}) == 5
    for item in Scenes(count=50).items("left", "test"):
        assert not {item.query, item.answer} & set(world.NOVEL_KINDS)


def test_prompts_never_repeat_an_image_and_keep_their_relation(scenes: Scenes):
    for prompt in draw_prompts(scenes, "above", "test", 40, shots=8):
        assert len(set(prompt.images)) == 9
        assert {item.relation for item in (*prompt.demonstrations, prompt.query)} == {"above"}


def test_prompts_are_stable_when_more_are_asked_for(scenes: Scenes):
    few = draw_prompts(scenes, "left", "test", 5, shots=2)
    many = draw_prompts(scenes, "left", "test", 20, shots=4)
    for short, long in zip(few, many, strict=False):
        assert short.query == long.query
        assert short.demonstrations == long.demonstrations[-2:]
    assert draw_prompts(scenes, "left", "test", 5, 2, seed=1) != few


@pytest.mark.parametrize("shots", [1, 2, 4, 6])
def test_corrupted_twins(scenes: Scenes, shots: int):
    for prompt in draw_prompts(scenes, "left", "extract", 15, shots):
        mixed = corrupt(prompt, "mix", scenes, "extract")
        relations = [item.relation for item in mixed.demonstrations]
        assert mixed.query == prompt.query
        assert len(set(relations)) == shots  # a rotation over eight relations repeats none
        assert len(set(mixed.images)) == shots + 1
        assert corrupt(prompt, "mix", scenes, "extract") == mixed

        shuffled = corrupt(prompt, "shuffle", scenes, "extract")
        before = [item.answer for item in prompt.demonstrations]
        after = [item.answer for item in shuffled.demonstrations]
        assert sorted(before) == sorted(after)
        assert [item.image for item in shuffled.demonstrations] == list(prompt.images[:-1])
        if shots > 1 and len(set(before)) == shots:
            assert all(old != new for old, new in zip(before, after, strict=True))

        assert corrupt(prompt, "none", scenes, "extract").demonstrations == ()


def test_too_few_items_is_a_clear_error(scenes: Scenes):
    with pytest.raises(MfvError, match="61 prompts of `left` asked for.*60 items"):
        draw_prompts(scenes, "left", "test", 61, 0)
    with pytest.raises(MfvError, match="too few images"):
        draw_prompts(Scenes(count=3), "left", "test", 1, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"relations": ("left", "beside")}, "cannot draw the relation `beside`"),
        ({"relations": ()}, "needs one or more relations"),
        ({"relations": ("left", "left")}, "each named once"),
        ({"count": 1}, "from 2 to 100,000 items"),
        ({"size": 42}, "multiple of 4"),
        ({"objects": "odd"}, "familiar, novel, all"),
    ],
)
def test_bad_scenes(arguments: dict[str, object], says: str):
    with pytest.raises(MfvError, match=says):
        Scenes(**arguments)
