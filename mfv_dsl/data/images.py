"""Reading images: as the models' training read them, and no file that would do harm.

``open_clip`` turns an image into RGB by ``Image.convert("RGB")`` and nothing else: it does not turn
an image as its EXIF data asks, it drops transparency, and of an animation it takes the first frame.
:func:`read_rgb` does exactly that.  :func:`peculiarities` says where this matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular
from mfv_dsl.base.texts import excerpt

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

#: More pixels than this are not decoded (150 MB in memory): a file of a few kilobytes can claim
#: any size.
MAX_PIXELS = 50_000_000
#: From here on decoding is slow, and a model shrinks the image anyway.
LARGE_PIXELS = 12_000_000
#: Bytes of an image file at most: more than any encoding of so many pixels takes.
LARGEST = 1 << 30

#: what is said of images that are read otherwise than they look
PECULIARITIES: Mapping[str, str] = {
    "animated": "is animated: only its first frame is used",
    "rotated": "is turned by its EXIF data when shown; models get it unturned, as in training",
    "CMYK": "is CMYK: it is turned into RGB without its colour profile",
    "transparent": "is transparent: what lies under the transparency is shown",
    "large": f"has more than {LARGE_PIXELS // 1_000_000} million pixels: it is slow to decode",
}

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_TOO_DEEP = ("I", "F")  # modes whose values `convert` would clip at 255


def read_rgb(source: str | Path | BinaryIO, name: str = "") -> np.ndarray:
    """The picture in a file, (height, width, 3) uint8.

    ``name`` is what errors call it.  MfvError: MFV7108 if it is not there; MFV7109 if it is empty,
    cut short, no image, of more than :data:`MAX_PIXELS` pixels, or of more than 8 bits a channel in
    a way that conversion would clip.
    """
    import numpy as np

    with _opened(source, name) as image:
        return np.asarray(image.convert("RGB"))


def peculiarities(source: Path | BinaryIO, name: str = "") -> list[str]:
    """Decode an image and give the :data:`PECULIARITIES` it has; errors as for :func:`read_rgb`."""
    with _opened(source, name) as image:
        flags = {
            "animated": getattr(image, "n_frames", 1) > 1,
            "rotated": image.getexif().get(_ORIENTATION, 1) != 1,
            "CMYK": image.mode == "CMYK",
            "transparent": "A" in image.getbands() or "transparency" in image.info,
            "large": image.width * image.height > LARGE_PIXELS,
        }
        image.convert("RGB")
        return [kind for kind, has in flags.items() if has]


@contextmanager
def _opened(source: str | Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """The image, opened and found to be safe; what goes wrong inside is told as an MfvError."""
    from PIL import Image, UnidentifiedImageError

    name = excerpt(name or str(source), 200)
    try:
        file = open_regular(source) if isinstance(source, str | Path) else source
    except FileNotFoundError:
        raise MfvError("MFV7108", f"there is no image {name}") from None
    except OSError as error:
        raise _unreadable(name, f"cannot be read: {error.strerror}") from None
    try:
        if not file.read(1):
            raise _unreadable(name, "is empty (0 bytes)")
        file.seek(0)
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name, f"has {image.width:,} × {image.height:,} pixels")
            if image.mode.startswith(_TOO_DEEP):
                raise _unreadable(
                    name, f"has values of more than 8 bits (mode {image.mode}), which would be "
                    "clipped: save it with 8 bits",
                )  # fmt: skip
            yield image
    except MfvError:
        raise
    except UnidentifiedImageError:
        raise _unreadable(name, "is no image of a known format") from None
    except Image.DecompressionBombError:  # Pillow's own limit, reached before ours is asked
        raise _too_large(name, "claims a size beyond Pillow's own limit") from None
    except Exception as error:  # decoders of damaged files raise what they please
        raise _unreadable(name, f"is damaged or cut short ({error})") from None
    finally:
        file.close()


def _unreadable(name: str, what: str) -> MfvError:
    return MfvError("MFV7109", f"the image {name} {what}", help="`mfv data check` finds all such")


def _too_large(name: str, what: str) -> MfvError:
    most = f"{MAX_PIXELS // 1_000_000} million"
    return _unreadable(name, f"{what}, and no more than {most} are decoded")
