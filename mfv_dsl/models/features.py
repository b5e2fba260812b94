"""Features of pictures: each different picture is drawn and encoded once while it is kept.

What comes of a picture is found again by the picture's content; and by its name in a dataset, whose
hash says what its pictures are, so that it need not even be drawn again.  Features lie in the
processor's memory and take a part of it at most; those not asked for longest go first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_modules

from mfv_dsl.base.memory import free_bytes
from mfv_dsl.data.items import Dataset
from mfv_dsl.data.loading import ahead, workers
from mfv_dsl.models.weight_state import WeightState, weight_state

#: The part of the memory, free when the first features are kept, that they may take.
_SHARE = 8

T = TypeVar("T")
Prepared = TypeVar("Prepared")


class FeatureCache(Generic[T]):
    """What was made of pictures, by their content; what was not asked for longest is dropped where
    there is no room.

    ``limit`` in bytes is by default an eighth of the memory that is free when the first is kept.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.nbytes = 0
        self._kept: OrderedDict[bytes, tuple[T, int, list[Hashable]]] = OrderedDict()
        self._contents: dict[Hashable, bytes] = {}  # by the names of what is kept

    def __len__(self) -> int:
        return len(self._kept)

    def named(self, name: Hashable) -> T | None:
        """What is kept under a name; None where nothing is."""
        content = self._contents.get(name)
        return None if content is None else self.get(content)

    def get(self, content: bytes, name: Hashable = None) -> T | None:
        """What is kept of a content, from now on under ``name``, too; None where nothing is."""
        if content not in self._kept:
            return None
        self._kept.move_to_end(content)
        value, _, names = self._kept[content]
        if name is not None and name not in self._contents:
            self._contents[name] = content
            names.append(name)
        return value

    def keep(self, content: bytes, value: T, nbytes: int) -> None:
        """Keep what was made of a content, as long as there is room."""
        if self.limit is None:
            self.limit = free_bytes(torch.device("cpu")) // _SHARE
        self._kept[content] = value, nbytes, []
        self.nbytes += nbytes
        while self.nbytes > self.limit:
            _, (_, dropped, names) = self._kept.popitem(last=False)
            self.nbytes -= dropped
            for name in names:
                del self._contents[name]


class PictureEncoder(Protocol[T, Prepared]):
    """How a model encodes pictures.

    ``group`` is how many are best encoded at a time.
    """

    group: int

    def prepare(self, pictures: Sequence[np.ndarray]) -> Sequence[Prepared]:
        """What the modules take of pictures, (height, width, 3) uint8; several threads call it."""

    def encode(self, prepared: Sequence[Prepared]) -> Sequence[T]:
        """What comes of each, in the processor's memory; of none does it depend on the others."""

    def size_of(self, features: T) -> int:
        """The bytes of what comes of one picture."""

    def modules(self) -> Iterable[nn.Module]:
        """The modules that encode."""

    def weights(self) -> Iterable[Any]:
        """Their weights."""


class Features(Generic[T, Prepared]):
    """The features of pictures, encoded now or, while there is room, before; now where somebody's
    hooks are in the modules that encode, or their weights were changed."""

    def __init__(self, encoder: PictureEncoder[T, Prepared]) -> None:
        self._encoder = encoder
        self.cache: FeatureCache[T] = FeatureCache()
        self._state: WeightState | None = None
        #: By dataset, image and size what is drawn ahead, and where it is in that.
        self._expected: dict[Hashable, tuple[Future[list[tuple[bytes, Prepared]]], int]] = {}

    def of_dataset(self, images: Iterable[str], dataset: Dataset, size: int) -> dict[str, T]:
        """Of images of a dataset by their ids, each once; those that have to be drawn are drawn
        with ``size`` pixels a side, as far as the dataset looks at that, while others are encoded.
        """
        found: dict[str, T] = {}
        missing: list[str] = []
        keeps = self._keeps()
        for image in dict.fromkeys(images):
            features = self.cache.named((dataset.hash, image, size)) if keeps else None
            if features is None:
                missing.append(image)
            else:
                found[image] = features
        loaded = self._loaded(missing, dataset, size)
        names = [(dataset.hash, image, size) if dataset.hash else None for image in missing]
        return found | dict(zip(missing, self._made(loaded, names, keeps), strict=True))

    def expect(self, images: Iterable[str], dataset: Dataset, size: int) -> Callable[[], None]:
        """Begin to draw images that :meth:`of_dataset` is asked for next, by threads, while a
        device works; those that are kept are left out.  What comes back gives up what is not asked
        for.  An image that cannot be drawn is an error where it is asked for."""
        missing = [
            image for image in dict.fromkeys(images)
            if self.cache.named((dataset.hash, image, size)) is None
            and (id(dataset), image, size) not in self._expected
        ]  # fmt: skip
        drawn = []
        with suppress(RuntimeError):  # no thread can be started: they are drawn when asked for
            pool = ThreadPoolExecutor(workers(), thread_name_prefix="mfv-expected")
            for part in _parts(missing, dataset):
                drawn.append(pool.submit(self._drawn, part, dataset, size))
                for place, image in enumerate(part):
                    self._expected[id(dataset), image, size] = drawn[-1], place
            pool.shutdown(wait=False)

        def give_up() -> None:
            for future in drawn:
                future.cancel()
            given_up = set(drawn)
            for key in [key for key, (future, _) in self._expected.items() if future in given_up]:
                del self._expected[key]

        return give_up

    def of_pictures(self, pictures: Sequence[np.ndarray]) -> list[T]:
        """Of pictures (height, width, 3) uint8."""
        loaded = (self._prepared([picture])[0] for picture in pictures)
        return self._made(loaded, [None] * len(pictures), self._keeps())

    def _loaded(
        self, images: Sequence[str], dataset: Dataset, size: int
    ) -> Iterator[tuple[bytes, Prepared]]:
        """Images of a dataset as the encoder takes them, in their order: as expected, else drawn
        now, while those before are encoded."""
        expected = [self._expected.pop((id(dataset), image, size), None) for image in images]
        others = [
            image for image, known in zip(images, expected, strict=True) if known is None
        ]  # fmt: skip

        def load(part: Sequence[str]) -> list[tuple[bytes, Prepared]]:
            return self._drawn(part, dataset, size)

        parts = _parts(others, dataset)
        drawn = (one for part in ahead(load, parts) for one in part) if parts else iter(())
        for known in expected:
            yield next(drawn) if known is None else known[0].result()[known[1]]

    def _drawn(
        self, images: Sequence[str], dataset: Dataset, size: int
    ) -> list[tuple[bytes, Prepared]]:
        return self._prepared(dataset.pictures(images, size))

    def _prepared(self, pictures: Sequence[np.ndarray]) -> list[tuple[bytes, Prepared]]:
        contents = map(content_of, pictures)
        return list(zip(contents, self._encoder.prepare(pictures), strict=True))

    def _made(
        self, loaded: Iterator[tuple[bytes, Prepared]], names: Sequence[Hashable], keeps: bool
    ) -> list[T]:
        """What comes of pictures, in their order; each different one is encoded once."""
        of: dict[bytes, T] = {}
        contents: list[bytes] = []
        waiting: dict[bytes, Prepared] = {}

        def encode() -> None:
            made = self._encoder.encode(list(waiting.values()))
            for content, features in zip(waiting, made, strict=True):
                of[content] = features
                if keeps:
                    self.cache.keep(content, features, self._encoder.size_of(features))
            waiting.clear()

        for content, prepared in loaded:
            contents.append(content)
            if content in of or content in waiting:
                continue
            kept = self.cache.get(content) if keeps else None
            if kept is not None:
                of[content] = kept
                continue
            waiting[content] = prepared
            if len(waiting) == self._encoder.group:
                encode()
        if waiting:
            encode()
        if keeps:
            for content, name in zip(contents, names, strict=True):
                if name is not None:
                    self.cache.get(content, name)
        return [of[content] for content in contents]

    def _keeps(self) -> bool:
        """Whether features are those of the model as it is, and may be kept; what was kept of other
        weights is dropped."""
        if is_hooked(self._encoder.modules()):
            return False
        state = weight_state(self._encoder.weights())
        if state != self._state:
            self._state, self.cache = state, FeatureCache(self.cache.limit)
        return True


def _parts(images: Sequence[str], dataset: Dataset) -> list[Sequence[str]]:
    """As many images at a time as the dataset is best asked for."""
    step = dataset.at_once
    return [images[start : start + step] for start in range(0, len(images), step)]


def content_of(picture: np.ndarray) -> bytes:
    """What tells a picture (height, width, 3) uint8 from others: a hash of its shape and pixels."""
    content = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(picture))
    return content.digest()


def is_hooked(modules: Iterable[nn.Module]) -> bool:
    """Whether forward passes of ``modules`` meet hooks that transformers did not place itself."""
    if torch_modules._global_forward_hooks or torch_modules._global_forward_pre_hooks:
        return True
    return any(
        not str(getattr(hook, "__module__", "")).startswith("transformers.")
        for module in modules
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    )
