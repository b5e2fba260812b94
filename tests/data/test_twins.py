"""Corrupted twins: of the same images, from a pool of relations, with other answers' names."""

from __future__ import annotations

from collections import Counter

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes

FOUR = ("above", "below", "left", "right")


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(relations=FOUR, count=60)


# -- the same images ------------------------------------------------------------------------------
@pytest.mark.parametrize("shots", [1, 3, 4, 8])
def test_image_i_is_asked_for_relation_i_and_the_order_is_permuted(scenes: Scenes, shots: int):
    orders = set()
    for prompt in draw_prompts(scenes, "left", "extract", 15, shots):
        twin = corrupt(prompt, "same_images", scenes, "extract")
        assert twin.query == prompt.query
        place = {item.image: i for i, item in enumerate(prompt.demonstrations)}
        order = tuple(place[item.image] for item in twin.demonstrations)
        assert sorted(order) == list(range(shots))
        for item in twin.demonstrations:
            assert item.relation == FOUR[place[item.image] % 4]
            assert item.answer == item.neighbours[item.relation]
            assert item.query == prompt.demonstrations[place[item.image]].query
        assert corrupt(prompt, "same_images", scenes, "extract") == twin
        orders.add(order)
    assert len(orders) > 1 or shots == 1


def test_diagonal_images_take_turns_in_what_they_show():
    eight = Scenes(count=40)
    for prompt in draw_prompts(eight, "above_left", "extract", 5, 4):
        twin = corrupt(prompt, "same_images", eight, "extract")
        relations = {item.relation for item in twin.demonstrations}
        assert relations == {"above_left", "above_right", "below_left", "below_right"}


def item(number: int, **neighbours: str) -> Item:
    relation = next(iter(neighbours))
    return Item(f"{number}.png", "cup", neighbours[relation], relation, neighbours)


def test_an_image_without_the_relation_whose_turn_it_is_shows_its_next_one(scenes: Scenes):
    shown = (
        item(1, left="a", right="b"), item(2, left="c", above="d"),
        item(3, left="e", below="f"), item(4, left="g", right="h"),
    )  # fmt: skip
    prompt = Prompt(shown, item(5, left="i"))
    twin = corrupt(prompt, "same_images", scenes, "test", relations=FOUR)
    # turns: above, below, left, right; image 1 has no `above`: the next that it shows is `right`
    assert {one.image: one.relation for one in twin.demonstrations} == {
        "1.png": "right", "2.png": "above", "3.png": "left", "4.png": "right"
    }  # fmt: skip
    assert {one.answer for one in twin.demonstrations} == {"b", "d", "e", "h"}


def test_an_image_that_shows_no_other_relation_is_an_error(scenes: Scenes):
    prompt = Prompt((item(1, left="a", right="b"), item(2, left="c")), item(3, left="d"))
    with pytest.raises(MfvError, match=r"2\.png shows none of its cup but `left`") as caught:
        corrupt(prompt, "same_images", scenes, "test", relations=FOUR)
    assert caught.value.code == "MFV5364"


# -- pools ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["mix", "same_images"])
def test_a_pool_without_the_relation_under_test_never_shows_it(scenes: Scenes, how: str):
    others = ("above", "below", "right")
    with_it = without_it = 0
    for prompt in draw_prompts(scenes, "left", "extract", 20, 4):
        every = corrupt(prompt, how, scenes, "extract").demonstrations
        with_it += any(one.relation == "left" for one in every)
        pooled = corrupt(prompt, how, scenes, "extract", relations=others).demonstrations
        without_it += all(one.relation in others for one in pooled)
    assert (with_it, without_it) == (20, 20)


# -- shuffled answers -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answers", "kept"),
    [("abcd", 0), ("aabc", 0), ("aabb", 0), ("aaab", 2), ("aaaa", 4), ("a" * 9 + "b" * 9, 0),
     ("a" * 12 + "b" * 4 + "c", 7), ("a", 1)],
)  # fmt: skip
def test_as_few_answers_as_can_be_keep_their_name(scenes: Scenes, answers: str, kept: int):
    for number in range(10):
        shown = tuple(item(i, left=answer) for i, answer in enumerate(answers))
        prompt = Prompt(shown, item(100 + number, left="z"))
        twin = corrupt(prompt, "shuffle", scenes, "test")
        after = [one.answer for one in twin.demonstrations]
        assert Counter(after) == Counter(answers)
        assert sum(old == new for old, new in zip(answers, after, strict=True)) == kept
        assert [one.image for one in twin.demonstrations] == [one.image for one in shown]
