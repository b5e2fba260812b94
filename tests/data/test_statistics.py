"""`mfv data stats` and `mfv data convert`: what a guess without pictures gets, and round trips."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mfv_dsl.base.errors import MfvError
from mfv_dsl.cli.app import app
from mfv_dsl.data import open_dataset, read_table
from mfv_dsl.data.convert import convert
from mfv_dsl.data.items import Item
from mfv_dsl.data.statistics import blind_chances, priors, statistics_of
from mfv_dsl.data.table import share
from tests.data.support import write_lines, write_pairs
from tests.data.test_published_sets import CAPTIONS, touch, vsr

FOLDS = 5


def random_items(seed: int) -> list[Item]:
    rng = random.Random(seed)
    return [
        Item(f"{rng.randrange(20)}.png", rng.choice("abc"), rng.choice("xyzz"), "on")
        for _ in range(60)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_priors_are_those_of_a_guess_that_sees_no_other_item_of_its_fold(seed: int):
    """Against counting written out for every item by itself."""
    items = random_items(seed)

    def fold(item: Item) -> int:
        return int(share(item.image, 0) * FOLDS)

    def chance(item: Item, others: list[Item]) -> float | None:
        count = Counter(other.answer for other in others)
        if not count:
            return None
        best = [answer for answer in count if count[answer] == max(count.values())]
        return (item.answer in best) / len(best)

    expected = []
    for item in items:
        others = [other for other in items if fold(other) != fold(item)]
        plain = chance(item, others)
        of_query = chance(item, [other for other in others if other.query == item.query])
        expected.append((plain, plain if of_query is None else of_query))
    assert priors(items, FOLDS) == expected
    assert len({fold(item) for item in items}) > 2


def test_what_the_query_tells_is_told(tmp_path: Path):
    """An answer that the query decides is guessed; one of its own image alone is not."""
    lines = [
        {"image": f"{n}.png", "query": f"q{n % 4}", "answer": f"a{n % 4}", "relation": "on"}
        for n in range(200)
    ] + [
        {"image": f"{n}.png", "query": f"q{n}", "answer": f"b{n}", "relation": "by"}
        for n in range(200)
    ]  # fmt: skip
    write_lines(tmp_path / "pairs.jsonl", lines)
    touch(tmp_path, *(f"{n}.png" for n in range(200)))
    found = statistics_of("d", open_dataset("pairs", file=str(tmp_path / "pairs.jsonl")))
    on, by, both = found.relations
    assert (on.items, on.images, on.queries, on.answers) == (200, 200, 4, 4)
    assert on.prior_of_query == 1 and on.prior <= 0.25 and on.most_frequent == 0.25
    assert by.prior_of_query == by.prior == 0
    assert both.relation == "all" and both.prior_of_query == 0.5 and both.items == 400
    assert found.pairs["q0 → a0"] == 50 and found.objects["a0"] == 50


def test_the_command_shows_them(tmp_path: Path):
    write_pairs(tmp_path, 12)
    text = f'pairs("{tmp_path / "pairs.jsonl"}")'
    shown = CliRunner().invoke(app, ["data", "stats", text])
    assert shown.exit_code == 0 and "prior of query" in shown.stdout
    (found,) = json.loads(CliRunner().invoke(app, ["data", "stats", text, "--json"]).stdout)
    assert [row["relation"] for row in found["relations"]][-1] == "all"
    assert found["relations"][0]["items"] == 12


# -- convert --------------------------------------------------------------------------------------
@pytest.mark.parametrize("refer", [False, True])
def test_what_is_converted_is_the_same(tmp_path: Path, refer: bool):
    vsr(tmp_path, CAPTIONS)
    call = f'vsr("{tmp_path / "vsr.jsonl"}", images="{tmp_path / "images"}")'
    target = tmp_path / "out" / "pairs.jsonl"
    done = CliRunner().invoke(app, ["data", "convert", call, str(target), *["--refer"] * refer])
    assert done.exit_code == 0, done.output
    table = read_table("vsr", file=str(tmp_path / "vsr.jsonl"), images=str(tmp_path / "images"))
    again = read_table("pairs", file=str(target))
    assert {pool: items for pool, items in again.items.items() if items} == {
        pool: tuple(_renamed(item, refer) for item in items)
        for pool, items in table.items.items()
        if items
    }
    contents = {file.content for file in table.images.values()}
    assert {file.content for file in again.images.values()} == contents
    assert bool(again.findings) == refer  # images outside of the folder: a warning
    assert (tmp_path / "out" / "images").exists() != refer


def _renamed(item: Item, refer: bool) -> Item:
    image = f"../images/{item.image}" if refer else f"images/{item.image}"
    return Item(image, item.query, item.answer, item.relation)


def test_nothing_is_replaced(tmp_path: Path):
    table = vsr(tmp_path, CAPTIONS)
    target = tmp_path / "out" / "pairs.jsonl"
    assert convert(table, target, False, lambda units: None) == 3
    with pytest.raises(MfvError, match="is there already") as error:
        convert(table, target, False, lambda units: None)
    assert error.value.code == "MFV7144"
    with pytest.raises(MfvError, match="does not end in"):
        convert(table, tmp_path / "pairs.csv", False, lambda units: None)
    with pytest.raises(MfvError, match="cannot write") as error:
        convert(table, target / "pairs.jsonl", False, lambda units: None)  # a file, no folder
    assert error.value.code == "MFV6122"
    other = tmp_path / "out" / "others.jsonl"
    assert convert(table, other, False, lambda units: None) == 3  # the same images
    (tmp_path / "out" / "images" / "000000000001.jpg").write_bytes(b"mine")
    with pytest.raises(MfvError, match="is another image"):
        convert(table, tmp_path / "out" / "more.jsonl", False, lambda units: None)
    assert (tmp_path / "out" / "images" / "000000000001.jpg").read_bytes() == b"mine"


def test_only_datasets_of_files_are_converted(tmp_path: Path):
    done = CliRunner().invoke(
        app, ["data", "convert", "scenes(count=4)", str(tmp_path / "a.jsonl")]
    )
    assert done.exit_code != 0 and not (tmp_path / "a.jsonl").exists()


def test_blind_guesses_know_no_image_that_is_measured(tmp_path: Path):
    """Against counting written out: the most frequent answer to the query in the other splits."""
    rng = random.Random(3)
    items = write_pairs(tmp_path, 40)
    for item in items:
        item["answer"] = rng.choice(["cup", "cup", "lamp"])
        item["query"] = rng.choice(["a", "b", "c"])
    write_lines(tmp_path / "pairs.jsonl", items)
    dataset = open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"), train=0.3)
    for relation in dataset.relations:
        asked = dataset.items(relation, "test")
        known = [
            item
            for split in ("extract", "train", "validation")
            for item in dataset.items(relation, split)
        ]
        for item, chance in zip(
            asked, blind_chances(dataset, relation, "test", asked), strict=True
        ):
            answers = Counter(k.answer for k in known if k.query == item.query)
            answers = answers or Counter(k.answer for k in known)
            best = [name for name, n in answers.items() if n == max(answers.values())]
            assert chance == (1 / len(best) if item.answer in best else 0)


def test_a_dataset_of_one_split_is_guessed_by_its_other_images(tmp_path: Path):
    write_lines(tmp_path / "pairs.jsonl", [item | {"split": "test"}
                                           for item in write_pairs(tmp_path, 30)])  # fmt: skip
    dataset = open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))
    items = dataset.items("left", "test")
    expected = [of_query for _, of_query in priors(items)]
    assert blind_chances(dataset, "left", "test", items) == expected


@pytest.mark.parametrize("splits", [("train", "test"), ("test", "test")])
def test_a_blind_guess_among_options_is_one_of_them(tmp_path: Path, splits: tuple[str, str]):
    """The option that was right most often: for the question, else at all, else any."""
    options = ["cup", "lamp", "key"]
    lines = [
        {"image": f"{n}.png", "query": query, "answer": answer, "relation": "on",
         "options": given, "split": split}
        for n, (query, answer, given, split) in enumerate([
            *[("a", "cup", options, splits[0])] * 3, *[("b", "lamp", options, splits[0])] * 4,
            ("a", "cup", options, "test"), ("a", "lamp", ["lamp", "key"], "test"),
            ("new", "lamp", options, "test"), ("a", "x", ["x", "y"], "test"),
        ])
    ]  # fmt: skip
    touch(tmp_path, *(str(line["image"]) for line in lines))
    write_lines(tmp_path / "pairs.jsonl", lines)
    dataset = open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))
    asked = dataset.items("on", "test")
    chances = blind_chances(dataset, "on", "test", asked, chooses=True)[-4:]
    assert chances == [1, 1, 1, 0.5]
