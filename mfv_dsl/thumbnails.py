"""The pictures of items, drawn or read again from the datasets of runs, and made small."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, features

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import is_of_files, open_dataset
from mfv_dsl.data.items import Dataset
from mfv_dsl.execute.recorded_run import RecordedRun
from mfv_dsl.execute.settings import Listener
from mfv_dsl.report.page.item_sample import ShownItem
from mfv_dsl.report.page.render import Pictures

#: Pixels a picture's longer side has; fewer where there are many.
_SIDE, _SMALL_SIDE, _MANY = 128, 80, 2000
_QUALITY = 70
#: What opening a dataset or reading a picture may raise.
_TROUBLE = (MfvError, OSError, KeyError, TypeError, ValueError, IndexError)

#: The place of a picture by run, dataset and image.
Places = dict[tuple[str, str, str], int]


def thumbnails(
    runs: Sequence[RecordedRun], items: Sequence[ShownItem], listener: Listener
) -> tuple[Pictures, Places, list[str]]:
    """The pictures of ``items``, each once; where they are, and what must be said of those that are
    missing or may be others by now."""
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    for item in items:
        wanted.setdefault((item.run, item.dataset), {})[item.line.image] = None
    n_wanted = sum(map(len, wanted.values()))
    kind = "WEBP" if features.check("webp") else "JPEG"
    side = _SIDE if n_wanted <= _MANY else _SMALL_SIDE
    files: dict[bytes, int] = {}
    places: Places = {}
    notes: list[str] = []
    by_name = {run.name: run for run in runs}
    done = listener.begin("pictures", n_wanted) if n_wanted else None
    for (name, dataset), images in wanted.items():
        opened, note = _opened(by_name[name], dataset)
        of = f"{dataset or 'the items'} ({name})"
        notes += [f"Pictures of {of}: {note}."] if note else []
        missing: list[str] = []
        for image in images:
            try:
                if opened is not None:
                    thumbnail = _thumbnail(opened, image, side, kind)
                    places[name, dataset, image] = files.setdefault(thumbnail, len(files))
            except _TROUBLE as error:
                missing.append(_told(error, image))
            if done is not None:
                done(1)
        if missing:
            notes.append(f"{len(missing):,} of {len(images):,} pictures of {of} are not here. The "
                         f"first: {missing[0]}.")  # fmt: skip
    return Pictures(f"image/{kind.lower()}", list(files)), places, notes


def _told(error: Exception, image: str) -> str:
    if isinstance(error, MfvError):
        return error.message
    return f"there is no image {image}" if isinstance(error, KeyError) else repr(error)


def _opened(run: RecordedRun, name: str) -> tuple[Dataset | None, str]:
    """A dataset of a run, opened again, and what must be said of it.

    Of files that are others by now the images of the same names are taken, which is said; of all
    else that is not as it was, None.
    """
    declared = run.plan["datasets"].get(name)
    if declared is None:
        return None, "the plan does not say of which dataset they are"
    constructor, arguments = str(declared["constructor"]), declared["arguments"]
    try:
        opened = open_dataset(constructor, **arguments)
        if run.dataset_hash(name) in (None, opened.hash):
            return opened, ""
    except _TROUBLE as error:
        problem = _told(error, "")
    else:
        problem = "the dataset is not what it was"
    files = _of_files(constructor, arguments)
    if files is None:
        return None, f"they are not here, since {problem}"
    return files, (
        "the dataset's files have changed since the run, so that these are the images that have "
        "the same names now"
    )


def _of_files(constructor: str, arguments: Mapping[str, Any]) -> Dataset | None:
    """What is there of a dataset of files; None of others, and where nothing can be read."""
    try:
        if is_of_files(constructor):
            return open_dataset(constructor, **{**arguments, "missing": "drop"})
    except _TROUBLE:
        pass
    return None


def _thumbnail(dataset: Dataset, image: str, side: int, kind: str) -> bytes:
    """A picture as a small file, its longer side at most ``side`` pixels."""
    (array,) = dataset.pictures([image], side)
    picture = Image.fromarray(array)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, kind, quality=_QUALITY, method=2)  # of WebP: more takes twice as long
    return data.getvalue()
