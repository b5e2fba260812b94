"""Pictures are encoded once each, and what comes of one depends on no other."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from mfv_dsl.base.memory import MemoryWarning
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.models.features import FeatureCache, content_of
from mfv_dsl.models.openflamingo import FlamingoPictures, OpenFlamingo
from mfv_dsl.models.picture_groups import PictureGroups

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny: OpenFlamingo) -> OpenFlamingo:
    """The bundled model, to which no picture was shown yet."""
    whole = copy.deepcopy(tiny.model)
    return OpenFlamingo(
        whole, tiny.tokenizer, tiny.preprocess, tiny.facts, tiny.image_size, tiny.pad_token
    )


@pytest.fixture
def scenes() -> Scenes:
    return Scenes(seed=5, count=60)


@pytest.fixture
def tower(model: OpenFlamingo, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The pictures that have come to the vision tower, in the order in which they came."""
    seen: list[torch.Tensor] = []
    usual = model.model.vision_encoder.forward

    def counted(pixels: torch.Tensor) -> object:
        seen.extend(pixels.clone())
        return usual(pixels)

    monkeypatch.setattr(model.model.vision_encoder, "forward", counted)
    return seen


def names(scenes: Scenes, n: int, split: str = "test") -> list[str]:
    return [item.image for item in scenes.items("left", split)[:n]]


def different(pictures: Sequence[torch.Tensor]) -> int:
    return len({picture.numpy().tobytes() for picture in pictures})


def of(model: OpenFlamingo, images: Sequence[str], scenes: Scenes) -> torch.Tensor:
    """(images, latents, d_visual)"""
    return model.encode([images], scenes)[0]


# -- once -----------------------------------------------------------------------------------------
def test_a_picture_comes_to_the_tower_once(
    model: OpenFlamingo, scenes: Scenes, tower: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
):
    images = names(scenes, 40)
    of(model, images[:1], scenes)  # and the check of the first group
    tower.clear()
    drawn: list[str] = []
    usual = Scenes.pictures

    def counted(self: Scenes, images: Sequence[str], size: int) -> list[np.ndarray]:
        drawn.extend(images)
        return usual(self, images, size)

    monkeypatch.setattr(Scenes, "pictures", counted)
    first = model.encode([images[:20], images[10:30]], scenes)
    again = model.encode([images[10:30], images[20:40]], scenes)
    assert different(tower) == 39 and drawn == images[1:]
    assert len(tower) == 48  # in whole groups
    assert torch.equal(first[1], again[0])
    other = Scenes(seed=5, count=60)  # the same pictures by another object, and anew by another
    assert torch.equal(model.encode([images[10:30]], other)[0], first[1])
    model.encode([images[:3]], Scenes(seed=6, count=60))
    assert len(drawn) == 39 + 3


def test_pictures_are_told_apart_by_content(model: OpenFlamingo, tower: list[torch.Tensor]):
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    changed = picture.copy()
    changed[0, 0, 0] ^= 1
    first, second, third = model.features.of_pictures([picture, changed, picture.copy()])
    assert first is third and not torch.equal(first, second)
    seen = len(tower)
    assert model.features.of_pictures([changed.copy()])[0] is second
    assert len(tower) == seen
    assert content_of(np.zeros((4, 2, 3), np.uint8)) != content_of(np.zeros((2, 4, 3), np.uint8))


def test_a_dataset_without_a_hash_is_asked_each_time(model: OpenFlamingo):
    """As its pictures may be others by then."""

    class Changing:
        hash, at_once, level = "", 1, 0

        def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
            return [np.full((size, size, 3), self.level, np.uint8) for _ in images]

    dataset = Changing()
    black = model.features.of_dataset(["a"], dataset, 40)["a"]
    dataset.level = 255
    assert not torch.equal(model.features.of_dataset(["a"], dataset, 40)["a"], black)
    dataset.level = 0
    assert model.features.of_dataset(["b"], dataset, 40)["b"] is black


def test_changes_of_the_tower_are_seen(model: OpenFlamingo, scenes: Scenes):
    """Somebody's hooks, and weights changed with PyTorch's knowledge or without."""
    images = names(scenes, 5)
    usual = of(model, images, scenes)
    hooks: list[torch.utils.hooks.RemovableHandle] = [
        model.model.vision_encoder.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 0,)),
    ]
    assert not torch.equal(of(model, images, scenes), usual)
    hooks.pop().remove()
    assert torch.equal(of(model, images, scenes), usual)
    hooks.append(model.model.perceiver.register_forward_hook(lambda _, inputs, output: output * 2))
    assert torch.equal(of(model, images, scenes), usual * 2)
    hooks.pop().remove()
    assert torch.equal(of(model, images, scenes), usual)
    with torch.no_grad():
        model.model.vision_encoder.conv1.weight.mul_(2)
    changed = of(model, images, scenes)
    assert not torch.equal(changed, usual)
    model.model.perceiver.latents.data.mul_(2)
    assert not torch.equal(of(model, images, scenes), changed)


# -- memory ---------------------------------------------------------------------------------------
def test_what_was_not_asked_for_longest_is_dropped():
    cache: FeatureCache[str] = FeatureCache(limit=20)
    made: list[str] = []

    def get(name: str, size: int = 8) -> str:
        kept = cache.named(name) or cache.get(name.encode(), name)
        if kept is None:
            made.append(name)
            cache.keep(name.encode(), name, size)
            cache.get(name.encode(), name)
        return kept or name

    for name in "abacba":  # c takes the place of b, b that of a
        assert get(name) == name
    assert made == ["a", "b", "c", "b", "a"]
    assert (len(cache), cache.nbytes, len(cache._contents)) == (2, 16, 2)
    assert get("d", size=21) == "d"  # larger than all that there is
    assert (len(cache), cache.nbytes, len(cache._contents)) == (0, 0, 0)


@pytest.mark.slow
def test_little_memory_gives_the_same(model: OpenFlamingo, scenes: Scenes):
    images = names(scenes, 40)
    usual = of(model, images, scenes)
    model.features.cache = FeatureCache(limit=5 * usual[0].nbytes)
    for start in (0, 10, 0, 20):
        part = of(model, images[start : start + 20], scenes)
        assert torch.equal(part, usual[start : start + 20])
        assert len(model.features.cache) == 5
        assert model.features.cache.nbytes <= 5 * usual[0].nbytes


# -- to the bit -----------------------------------------------------------------------------------
@pytest.mark.slow
def test_features_do_not_depend_on_company(model: OpenFlamingo, scenes: Scenes):
    """Alone or among others, in whatever order, now or before."""
    images = names(scenes, 40)

    def ways() -> Iterator[list[str]]:
        yield images
        yield images[::-1]
        yield [*images[7:40:3], *images[:40:2], *images[1:40:2]]
        for image in images[:8]:
            yield [image]

    wanted = dict(zip(images, of(model, images, scenes), strict=True))
    for way in ways():
        model.features.cache = FeatureCache()
        for image, features in zip(way, of(model, way, scenes), strict=True):
            assert torch.equal(features, wanted[image])


def test_encoders_whose_rows_depend_on_each_other_are_given_one_at_a_time():
    """On the neighbours, or on the place alone."""
    for encode in (
        lambda pixels: pixels + pixels.mean(),
        lambda pixels: pixels + torch.arange(len(pixels))[:, None, None, None] * 1e-7,
    ):
        sizes: list[int] = []

        def noted(pixels: torch.Tensor, encode=encode, sizes=sizes) -> torch.Tensor:
            sizes.append(len(pixels))
            return encode(pixels)

        groups, pixels = PictureGroups(noted), torch.rand(5, 3, 4, 4)
        found = groups(list(pixels), CPU)
        assert sizes[-5:] == [1] * 5
        for features, picture in zip(found, pixels, strict=True):
            assert torch.equal(features, encode(picture[None])[0])
        sizes.clear()
        groups(list(pixels), CPU)
        assert sizes == [1] * 5  # checked once


def test_groups_give_way_where_memory_runs_out():
    sizes: list[int] = []

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        if len(pixels) > 4:
            raise MemoryError
        return pixels * 2

    groups, pixels = PictureGroups(encode), torch.rand(6, 3, 4, 4)
    with pytest.warns(MemoryWarning, match="with 8 pictures at a time; going on with 4"):
        found = groups(list(pixels), CPU)
    assert torch.equal(torch.stack(found), pixels * 2)
    sizes.clear()
    groups(list(pixels), CPU)
    assert sizes == [4] * 4


def test_a_small_flamingo_on_this_machine_is_encoded_in_groups(
    model: OpenFlamingo, scenes: Scenes, tower: list[torch.Tensor]
):
    """Or the bundled model takes several times as long."""
    of(model, names(scenes, 1), scenes)
    tower.clear()
    of(model, names(scenes, 17), scenes)
    assert len(tower) == 16
    assert FlamingoPictures(model).group == 16
