"""Uploads: by their content, bounded, upright; and scenes that are put together."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.drawn_scene import DrawnScene
from mfv_dsl.playground import pictures
from mfv_dsl.playground.pictures import Drawn, FromDataset, Uploaded, question_about, upload
from mfv_dsl.playground.studio import Studio


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(picture: Uploaded) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.png)))


def gradient(width: int = 60, height: int = 40) -> Image.Image:
    rows = np.arange(width * height * 3).reshape(height, width, 3) % 251
    return Image.fromarray(rows.astype(np.uint8))


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that claims to be of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sealed = kind + data
        return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_small_picture_is_kept_as_it_is():
    image = gradient()
    np.testing.assert_array_equal(decoded(upload(encoded(image))), np.asarray(image))
    assert decoded(upload(encoded(image, "JPEG"), "x.png")).shape == (40, 60, 3)


def test_a_picture_is_turned_upright_and_nothing_else_of_it_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter when shown
    exif[0x010E] = "where I live"
    picture = upload(encoded(gradient(), "PNG", exif=exif))
    np.testing.assert_array_equal(decoded(picture), np.rot90(np.asarray(gradient()), -1))
    assert b"where I live" not in picture.png and b"Exif" not in picture.png


def test_what_is_transparent_lies_on_white():
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert (decoded(upload(encoded(image))) == 255).all()


def test_a_large_picture_is_made_smaller():
    picture = decoded(upload(encoded(Image.new("RGB", (3000, 1500), "red"), "JPEG")))
    assert picture.shape == (pictures.LONGEST // 2, pictures.LONGEST, 3)


def test_of_an_animation_the_first_picture_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decoded(upload(data)) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is no picture"),
        (b"just a text", "is no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture"),
        (b"%PDF-1.4 ", "is no picture"),
        (bomb(), "claims more pixels"),
        (bomb(9000, 9000), "pixels"),
        (encoded(gradient())[:200], "is damaged"),
        (bytes(pictures.LARGEST + 1), "has 20.0 MB"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused(data: bytes, what: str):
    with pytest.raises(MfvError, match="MFV5412") as error:
        upload(data, "mine.png")
    assert what in error.value.message and error.value.message.startswith("mine.png ")


def test_a_kind_of_picture_that_is_not_asked_for_is_not_decoded():
    with pytest.raises(MfvError, match="MFV5412"):
        upload(encoded(gradient(), "TIFF"))


# -- questions ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_drawn_scene_is_asked_about_its_own_objects(studio: Studio):
    cells = ["", "red circle", "", "", "blue ring", "green square", "yellow cross", *[""] * 9]
    cells[9] = "red ring"
    question = question_about(Drawn(tuple(cells)), "", studio.dataset)
    assert question.prompt.query.query == "green square"
    assert dict(question.neighbours) == {
        "left": "blue ring", "right": "yellow cross", "above": "red circle", "below": "red ring",
    }  # fmt: skip
    picture = question.picture(40)
    np.testing.assert_array_equal(picture, question.picture(40))
    assert picture.shape == (40, 40, 3)
    middle = question.picture(400)[150, 150]
    assert middle[1] > middle[0] and middle[1] > middle[2]  # the green square


def test_an_object_that_stands_twice_has_no_neighbours():
    cells = ["red circle", "blue ring", "red circle", *[""] * 13]
    assert DrawnScene(cells).neighbours("red circle") == {}
    assert DrawnScene(cells).neighbours("blue ring") == {
        "left": "red circle",
        "right": "red circle",
    }
    assert DrawnScene([""] * 16).middle() == ""


@pytest.mark.parametrize("cells", [["red circle"], ["red circel", *[""] * 15], [""] * 17])
def test_a_scene_that_cannot_be_drawn_is_refused(cells: list[str]):
    with pytest.raises(MfvError, match="MFV7133"):
        DrawnScene(cells)


@pytest.mark.parametrize("diagonal", [False, True])
def test_random_scenes_have_an_object_with_four_neighbours(diagonal: bool):
    for seed in range(5):
        scene = DrawnScene.random(seed, diagonal)
        assert len(scene.objects) == 6 and len(scene.neighbours(scene.middle())) >= 4
        assert scene.cells == DrawnScene.random(seed, diagonal).cells


def test_a_question_of_the_dataset_is_that_of_an_eval(studio: Studio):
    from mfv_dsl.data.prompts import draw_prompts

    question = question_about(FromDataset("above", 9), "", studio.dataset)
    assert [question.prompt] == draw_prompts(studio.dataset, "above", "test", 1, 0, 9)
    other = question_about(FromDataset("above", 9), "red circle", studio.dataset)
    assert other.prompt.images == question.prompt.images and not other.neighbours
    with pytest.raises(MfvError, match="MFV7112"):
        question_about(FromDataset("abov", 9), "", studio.dataset)
    with pytest.raises(MfvError, match="MFV5413"):
        question_about(FromDataset("above", 9), "x" * 1000, studio.dataset)
