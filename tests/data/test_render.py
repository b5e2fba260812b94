"""Drawn things, the sets that ``mfv data make`` writes, and pictures loaded ahead."""

from __future__ import annotations

import csv
import hashlib
import threading
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import open_clip.transform
import pytest
import torch
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset, thing_scenes
from mfv_dsl.data.images import MAX_PIXELS, read_rgb
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.loading import ahead
from mfv_dsl.data.make import Order, make
from mfv_dsl.data.prompts import corrupt, draw_prompts, reuse
from mfv_dsl.data.scenes import Scenes, ThingScenes, facts
from mfv_dsl.data.things import drawings, sketch
from mfv_dsl.models.features import FeatureCache
from mfv_dsl.models.openflamingo import FlamingoPictures, OpenFlamingo
from tests.data.support import write_metadata


# -- drawn things ---------------------------------------------------------------------------------
def test_there_are_as_many_things_as_the_paper_has():
    assert (len(drawings().familiar), len(drawings().novel)) == (32, 10)
    assert all(name.isalpha() for name in drawings().all)


def test_the_drawings_are_the_same_as_ever():
    """What is drawn is a function of the seed alone, so no stroke and no order may change."""
    strokes = repr([dict(drawings().familiar), dict(drawings().novel)])
    assert hashlib.sha256(strokes.encode()).hexdigest() == (
        "6ac8a4d2240395bd0fe0e801b4862f530e42d66fc24ae8067530473d461cffaa"
    )


def test_every_thing_looks_different_and_has_soft_edges():
    pictures = {name: np.asarray(sketch(strokes, 60)) for name, strokes in drawings().all.items()}
    for name, picture in pictures.items():
        opaque = (picture[..., 3] == 255).mean()
        assert 0.05 < opaque < 0.95, name
        assert ((picture[..., 3] > 0) & (picture[..., 3] < 255)).any(), name  # anti-aliased
    for one, other in combinations(pictures.values(), 2):
        shown = [p[..., :3] * (p[..., 3:] / 255.0) for p in (one, other)]
        assert abs(shown[0] - shown[1]).mean() > 4


def test_a_hole_is_seen_through_and_light_is_a_factor():
    key = np.asarray(sketch(drawings().all["key"], 100))
    assert key[50, 24, 3] == 0 and key[50, 8, 3] == 255
    dark = np.asarray(sketch(drawings().all["book"], 100, 0.5))
    assert abs(dark[30, 30, :3].astype(int) * 2 - np.array([206, 46, 40])).max() <= 2


@pytest.mark.parametrize("diagonal", [False, True])
def test_scenes_of_things(diagonal: bool):
    rng = np.random.default_rng(0)
    relations = thing_scenes.DIAGONAL if diagonal else thing_scenes.CARDINAL
    for _ in range(50):
        kinds = thing_scenes.sample_kinds(rng, "all", diagonal, ())
        scene = thing_scenes.place(rng, kinds, diagonal)
        assert tuple(thing.kind for thing in scene.things) == kinds
        assert len(set(kinds)) == 6
        assert tuple(scene.neighbours) == relations
        for one, other in combinations(scene.things, 2):
            far = max(abs(one.x - other.x), abs(one.y - other.y))
            assert far >= (one.side + other.side) / 2
        for thing in scene.things:
            assert thing.x >= thing.side / 2 and thing.x + thing.side / 2 <= 1
            assert thing.y >= thing.side / 2 and thing.y + thing.side / 2 <= 1
        for relation, thing in scene.neighbours.items():
            down, across = thing_scenes.OFFSETS[relation]
            dx, dy = thing.x - scene.anchor.x, thing.y - scene.anchor.y
            assert (np.sign(dx) == across) if across else abs(dx) <= 0.02
            assert (np.sign(dy) == down) if down else abs(dy) <= 0.02
        away = scene.anchor.distance(scene.distractor)
        assert all(scene.anchor.distance(t) < away for t in scene.neighbours.values())


def test_things_stand_where_the_scene_says():
    rng = np.random.default_rng(1)
    scene = thing_scenes.place(rng, thing_scenes.sample_kinds(rng, "familiar", False, ()), False)
    picture = thing_scenes.paint(scene, 400).astype(int)
    filled = abs(picture - np.array(scene.paper)).sum(-1) > 0
    seen = filled.copy()
    for thing in scene.things:
        x, y, half = (round(400 * n) for n in (thing.x, thing.y, thing.side / 2))
        part = filled[y - half : y + half, x - half : x + half]
        assert 0.05 < part.mean() < 0.95
        seen[y - half - 2 : y + half + 2, x - half - 2 : x + half + 2] = False
    assert not seen.any()


@pytest.mark.slow
def test_novel_things_are_asked_about_and_no_arrangement_is_in_two_splits():
    data = ThingScenes(count=30, kinds="things", objects="novel")
    for item in data.items("above_left", "test"):
        assert {item.query, item.answer} <= set(drawings().novel)
    for item in ThingScenes(count=30, kinds="things").items("left", "test"):
        assert {item.query, *item.neighbours.values()} <= set(drawings().familiar)
    split_of: dict[tuple[str, ...], str] = {}
    data = ThingScenes(count=100, kinds="things", relations=("left",))
    for split in data.splits:
        for scene in data._pool("left", split)[0]:
            kinds = tuple(thing.kind for thing in scene.things)
            assert split_of.setdefault(kinds, split) == split


def test_the_bundled_model_s_world_is_what_it_was():
    """The hash, by which finished steps are found, and the pictures behind it."""
    assert facts().hash == "e24e455cecd85b5eb3e740ca516671e7bd273d46769dd4b8f8efb7f1c1d3bda0"
    assert facts(kinds="shapes") == facts()
    assert facts(kinds="things").hash != facts().hash
    assert facts(kinds="things").description.startswith("rendered scenes of things")
    assert isinstance(open_dataset("scenes", count=4), Scenes)
    with pytest.raises(MfvError, match="shapes or things"):
        facts(kinds="animals")


# -- make -----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_one_worker_or_two_write_the_same_bytes(tmp_path: Path):
    told: list[int] = []
    for workers in (1, 2):
        order = Order(tmp_path / str(workers), 20, size=96, relations=("left", "above_right"))
        make(order, workers, told.append)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == sorted([*(f"image_{n}.png" for n in range(1, 21)), "metadata.csv"])
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert sum(told) == 40
    make(Order(tmp_path / "other", 2, size=96, seed=1), 1, told.append)
    first = (tmp_path / "1" / "image_1.png").read_bytes()
    assert (tmp_path / "other" / "image_1.png").read_bytes() != first


@pytest.mark.parametrize("kinds", ["shapes", "things"])
def test_the_table_says_where_things_stand(tmp_path: Path, kinds: str):
    """Square by square: the objects named cover what is not background, and each is there."""
    make(Order(tmp_path, 3, size=200, kinds=kinds, format="jpg"), 1, lambda n: None)
    with (tmp_path / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:7] == ["image_name", "anchor", "left_object", "right_object",
                                 "above_object", "below_object", "random_object1"]  # fmt: skip
    for row in rows:
        picture = np.asarray(Image.open(tmp_path / row["image_name"])).astype(int)
        paper = np.median(picture.reshape(-1, 3), axis=0)
        filled = abs(picture - paper).sum(-1) > 90
        for role in list(row)[1:7]:
            x, y = map(int, row[f"{role}_pos"].split())
            w, h = map(int, row[f"{role}_size"].split())
            top, left = max(0, y - h // 2 - 3), max(0, x - w // 2 - 3)
            around = (slice(top, y + h // 2 + 3), slice(left, x + w // 2 + 3))
            assert filled[around].mean() > 0.03, (row, role)
            filled[around] = False
        assert filled.mean() < 0.002


def test_what_cannot_be_made(tmp_path: Path):
    for order, code in (
        ({"format": "bmp"}, "MFV7118"), ({"count": 0}, "MFV7118"), ({"size": 30}, "MFV7103"),
        ({"kinds": "shapes", "objects": "novel"}, "MFV7118"), ({"relations": ("on",)}, "MFV7101"),
    ):  # fmt: skip
        with pytest.raises(MfvError) as found:
            Order(tmp_path, **{"count": 1, **order})
        assert found.value.code == code


# -- images ---------------------------------------------------------------------------------------
def test_images_are_read_as_open_clip_reads_them(tmp_path: Path):
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (12, 9, 4), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {
        "rgba.png": colours, "rgb.png": colours.convert("RGB"), "p.gif": colours.convert("P"),
        "cmyk.jpg": colours.convert("CMYK"), "grey.png": colours.convert("L"),
        "bits.png": colours.convert("1"),
    }  # fmt: skip
    for name, image in images.items():
        image.save(tmp_path / name)
    colours.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    for name in (*images, "turned.jpg"):
        with Image.open(tmp_path / name) as image:
            expected = np.asarray(open_clip.transform._convert_to_rgb(image))
        assert (read_rgb(tmp_path / name) == expected).all(), name
        assert expected.shape == (12, 9, 3)


def test_the_limit_is_the_number_of_pixels(tmp_path: Path):
    side = 7072  # 7072² is just above the limit
    Image.new("1", (side, side)).save(tmp_path / "large.png")
    with pytest.raises(MfvError, match="7,072 × 7,072 pixels.*no more than 50 million"):
        read_rgb(tmp_path / "large.png")
    assert (side - 1) ** 2 < MAX_PIXELS < side**2
    with pytest.raises(MfvError) as found:
        read_rgb(tmp_path / "none.png")
    assert found.value.code == "MFV7108"


# -- loading --------------------------------------------------------------------------------------
def test_results_come_in_order_and_few_are_ahead():
    begun: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        time.sleep(0.001 * (number % 3))
        return number

    most = 0
    for got, number in enumerate(ahead(work, range(60), threads=3)):
        assert number == got
        most = max(most, len(begun) - got - 1)
    assert 0 < most <= 6
    assert sorted(begun) == list(range(60))


def test_an_error_stops_the_work():
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise MfvError("MFV7109", "broken")
        return number

    with pytest.raises(MfvError, match="broken"):
        list(ahead(work, range(1000), threads=2))
    assert len(begun) < 20


@pytest.mark.slow
def test_pictures_of_files_reach_the_model_as_they_are(tiny: OpenFlamingo, tmp_path: Path):
    """More images than the vision encoder takes at once, loaded by threads: the same media.  Files
    are read once."""
    write_metadata(tmp_path, 270)
    dataset = open_dataset("metadata_csv", folder=str(tmp_path), extract=1, train=0, validation=0,
                           test=0)  # fmt: skip
    images = [item.image for item in dataset.items("left", "extract")]
    media = tiny.encode([images[:260], images[260:]], dataset)
    pixels = tiny.preprocess(dataset.pictures(images, 40))
    with torch.no_grad():
        expected = FlamingoPictures(tiny).latents(pixels)
    torch.testing.assert_close(media[0, :260], expected[:260])
    torch.testing.assert_close(media[1, :10], expected[260:])
    (tmp_path / images[200]).write_bytes(b"")
    assert torch.equal(tiny.encode([images[:260], images[260:]], dataset), media)
    tiny.features.cache = FeatureCache()
    with pytest.raises(MfvError, match=r"is empty \(0 bytes\)"):
        tiny.encode([images], dataset)


# -- prompts --------------------------------------------------------------------------------------
def test_mix_takes_any_number_of_shots():
    data = Scenes(relations=("left", "right", "above"), count=12)
    for shots in (3, 7, 12):
        for prompt in draw_prompts(data, "left", "test", 4, 0):
            twin = corrupt(Prompt((prompt.query,) * shots, prompt.query), "mix", data, "test")
            counts = [sum(item.relation == name for item in twin.demonstrations)
                      for name in data.relations]  # fmt: skip
            assert sum(counts) == shots and max(counts) - min(counts) <= 1
            assert len(set(twin.images)) == shots + 1


def test_too_few_images_are_counted(tmp_path: Path):
    write_metadata(tmp_path, 4)
    shares = {"extract": 1, "train": 0, "validation": 0, "test": 0}
    dataset = open_dataset("metadata_csv", folder=str(tmp_path), **shares)
    says = "`left` has 4 in its extract split, 1 of them already in the prompt"
    with pytest.raises(MfvError, match=says) as found:
        draw_prompts(dataset, "left", "extract", 1, 4)
    assert found.value.code == "MFV7111"


def test_reuse_by_hand():
    def item(image: str) -> Item:
        return Item(image, "q", "a", "left")

    prompts = [
        Prompt((item("a"), item("b")), item("c")),
        Prompt((item("c"), item("a")), item("d")),
        Prompt((), item("d")),
        Prompt((), item("d")),
    ]
    found = reuse(prompts)
    assert (found.shown, found.different, found.most, found.queries) == (8, 4, 3, 4)
    assert found.effective == pytest.approx(4**2 / (1 + 3**2))
