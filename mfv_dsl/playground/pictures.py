"""The pictures that can be asked about: of the dataset, put together, or uploaded."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mfv_dsl import inspection
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.texts import excerpt
from mfv_dsl.data.images import MAX_PIXELS
from mfv_dsl.data.items import Dataset, Item
from mfv_dsl.data.one_picture import OnePicture
from mfv_dsl.inspection import Question

if TYPE_CHECKING:
    from PIL import Image

#: Bytes of an uploaded file at most.
LARGEST = 20 << 20
#: The longer side of an uploaded picture at most; larger ones are made smaller.
LONGEST = 1024
#: What uploads may be, by their content.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
#: The longest name of an object that is asked about.
LONGEST_QUERY = 200


@dataclass(frozen=True)
class FromDataset:
    """The question that an ``eval`` of one item with this seed asks about a relation."""

    relation: str
    seed: int


@dataclass(frozen=True)
class Drawn:
    """A scene put together of 16 cells, row by row."""

    cells: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True)
class Uploaded:
    """A picture of one's own, upright and at most :data:`LONGEST` pixels on a side, as a PNG."""

    png: bytes = field(repr=False)


PictureChoice: TypeAlias = "FromDataset | Drawn | Uploaded"


def question_about(choice: PictureChoice, query: str, dataset: Dataset) -> Question:
    """The question about an object in a picture; ``query`` is empty for the picture's own.

    Raises MfvError: MFV7112 for a relation that the dataset does not have, MFV7133 for a scene that
    cannot be drawn, MFV5413 for a name that is too long.
    """
    if len(query) > LONGEST_QUERY:
        raise MfvError(
            "MFV5413", f"the object's name has {len(query):,} characters",
            help=f"no more than {LONGEST_QUERY} are asked about",
        )  # fmt: skip
    if isinstance(choice, FromDataset):
        question = inspection.about_item(dataset, choice.relation, choice.seed, split_of(dataset))
        own = question.prompt.query
        if query in ("", own.query):
            return question
        # nothing is known of what stands around another object
        item = Item(own.image, query, query, choice.relation)
        return Question(dataset, type(question.prompt)((), item))
    if isinstance(choice, Drawn):
        from mfv_dsl.data.drawn_scene import DrawnScene

        asked = query or DrawnScene(choice.cells, choice.seed).middle()
        return inspection.about_drawn(choice.cells, asked, choice.seed)
    picture = OnePicture.of(io.BytesIO(choice.png), "the uploaded picture")
    return Question(picture, picture.question(query))


def split_of(dataset: Dataset) -> str:
    """The split that a page asks about."""
    return "test" if "test" in dataset.splits else dataset.splits[-1]


# -- uploads --------------------------------------------------------------------------------------
def upload(data: bytes, name: str = "the picture") -> Uploaded:
    """A picture from an uploaded file's bytes: what it is says its content, not its name.

    It is turned upright as its EXIF data asks, its transparency is laid on white, of an animation
    the first picture is taken, and what is larger than :data:`LONGEST` is made smaller.  Nothing
    else of the file is kept.

    Raises MfvError: MFV5412 for more than :data:`LARGEST` bytes, for more pixels than are decoded,
    and for what is none of :data:`FORMATS`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = excerpt(name, 80)
    if len(data) > LARGEST:
        raise _refused(name, f"has {len(data) / 2**20:.1f} MB")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _refused(name, f"has {image.width:,} × {image.height:,} pixels")
            image.draft("RGB", (LONGEST, LONGEST))  # a large JPEG is decoded smaller at once
            upright = ImageOps.exif_transpose(image)
            small = _on_white(upright)
            small.thumbnail((LONGEST, LONGEST))
    except MfvError:
        raise
    except UnidentifiedImageError:
        raise _refused(name, "is no picture") from None
    except Image.DecompressionBombError:
        raise _refused(name, "claims more pixels than any picture has") from None
    except Exception as error:  # decoders of damaged files raise what they please
        raise _refused(name, f"is damaged or cut short ({excerpt(str(error), 80)})") from None
    return Uploaded(png_of(np.asarray(small)))


def _on_white(image: Image.Image) -> Image.Image:
    """The picture in RGB, what is transparent on white."""
    from PIL import Image

    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def png_of(picture: np.ndarray) -> bytes:
    """A picture (height, width, 3) uint8 as a PNG file, without loss."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _refused(name: str, what: str) -> MfvError:
    return MfvError(
        "MFV5412", f"{name} {what}",
        help=f"upload a picture ({', '.join(FORMATS)}) of at most {LARGEST >> 20} MB and "
        f"{MAX_PIXELS // 1_000_000} million pixels",
    )  # fmt: skip
