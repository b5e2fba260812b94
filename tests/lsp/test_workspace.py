"""Names that several files use: all places of all files, or none is changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types as lsp

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.inclusion import FilesBeside
from mfv_dsl.lsp import workspace as workspace_module
from mfv_dsl.lsp.navigation import CannotRename
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.lsp.workspace import Workspace, places_of, renamed
from tests.lsp.client import running

FILES = {
    "common.mfv": """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right])
let layers = 0..2
heads best = top(3)
vector steer = fv(left) - fv(right)
vector pure(r) = fv(r) - steer
profile small { d.count = 20 }
""",
    "a.mfv": """mfv 1
use "common.mfv"
eval raw { add = steer + pure(each), layer = layers }
profile other { steer = fv(left), best = top(2), d.seed = 3 }
""",
    "b.mfv": """mfv 1
use "common.mfv" as c
eval raw { add = c.steer + c.pure(each), layer = c.layers, model = c.m, dataset = c.d }
profile other { c.best = top(2), c.d.seed = 3, c.steer = fv(left) }
""",
    "sub/deep.mfv": """mfv 1
use "../a.mfv"
eval raw { add = steer + pure(left), layer = 1, model = m, dataset = d }
eval more { add = steer, layer = layers, model = m, dataset = d }
""",
    "stranger.mfv": "mfv 1\nmodel m = tiny()\ndataset d = scenes()\nvector steer = fv(left)\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.mfv").write_text('mfv 1\nuse "../common.mfv"\n', encoding="utf-8")
    return tmp_path


def findings(path: Path) -> list[str]:
    source = Source(path.read_text(encoding="utf-8"), str(path))
    return [d.code for d in check_source(source, read=FilesBeside(path)).diagnostics]


def rename(folder: Path, file: str, word: str, new: str) -> dict[str, str]:
    """The texts of the files that are changed."""
    place, text = str(folder / file), (folder / file).read_text(encoding="utf-8")
    files = Workspace({place: text}, folder)
    texts = {}
    for other, spans in renamed(files, place, text.index(word) + len(word) - 1, new).items():
        changed = Path(other).read_text(encoding="utf-8")
        for span in reversed(spans):
            changed = changed[: span.start] + new + changed[span.end :]
        texts[str(Path(other).relative_to(folder))] = changed
    return texts


@pytest.mark.parametrize(
    ("file", "word"),
    [("common.mfv", "steer"), ("a.mfv", "steer"), ("b.mfv", "c.steer"), ("sub/deep.mfv", "steer")],
)
def test_a_name_is_changed_in_every_file_whoever_asks(folder: Path, file: str, word: str):
    texts = rename(folder, file, word, "pull")
    assert texts == {
        name: text.replace("steer", "pull")
        for name, text in FILES.items()
        if name != "stranger.mfv"
    }


@pytest.mark.parametrize(
    ("file", "word", "old", "new"),
    [
        ("common.mfv", "dataset d", "d", "shapes"), ("b.mfv", "c.best", "best", "top_three"),
        ("a.mfv", "layers", "layers", "depth"), ("common.mfv", "pure", "pure", "clean"),
        ("common.mfv", "model m", "m", "flamingo"),
    ],
)  # fmt: skip
def test_a_renamed_workspace_is_as_right_as_before(
    folder: Path, file: str, word: str, old: str, new: str
):
    before = {name: findings(folder / name) for name in FILES}
    assert not any("MFV20" in code and code != "MFV2060" for codes in before.values()
                   for code in codes)  # fmt: skip
    texts = rename(folder, file, word, new)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert {name: findings(folder / name) for name in FILES} == before
    files = Workspace({}, folder)
    place = str(folder / "common.mfv")
    at = (folder / "common.mfv").read_text().index(f" {new}") + 1
    assert set(places_of(files, place, at)) == {str(folder / name) for name in texts}


def test_references_are_those_of_all_files(folder: Path):
    place = str(folder / "b.mfv")
    files = Workspace({place: FILES["b.mfv"]}, folder)
    offset = FILES["b.mfv"].index("c.steer") + 3
    found = places_of(files, place, offset)
    shown = {
        str(Path(file).relative_to(folder)): [
            Source(files.text(file) or "").position(span.start)[0] for span in spans
        ]
        for file, spans in found.items()
    }
    assert shown == {"common.mfv": [6, 7], "a.mfv": [3, 4], "b.mfv": [3, 4], "sub/deep.mfv": [3, 4]}
    uses = places_of(files, place, offset, declaration=False)
    assert sum(map(len, uses.values())) == sum(map(len, found.values())) - 1
    of_eval = FILES["b.mfv"].index("raw")
    assert list(places_of(files, place, of_eval)) == [place]


def test_a_name_that_is_taken_in_a_file_that_uses_it_is_refused(folder: Path):
    text = FILES["a.mfv"] + "vector mine = fv(left)\neval e { add = mine, layer = 1 }\n"
    (folder / "a.mfv").write_text(text, encoding="utf-8")
    with pytest.raises(CannotRename, match="`mine`"):
        rename(folder, "common.mfv", "steer", "mine")
    with pytest.raises(CannotRename, match="taken"):
        rename(folder, "b.mfv", "c.steer", "best")


def test_a_file_that_cannot_be_read_whole_stops_all(folder: Path):
    (folder / "a.mfv").write_text(FILES["a.mfv"] + "vector x = steer +\n", encoding="utf-8")
    with pytest.raises(CannotRename, match=r"a part of a\.mfv cannot be read"):
        rename(folder, "common.mfv", "steer", "pull")


@pytest.mark.parametrize(
    "text",
    [
        'mfv 1\nfoo bar (((\nuse "common.mfv"\neval raw { add = steer }\n',
        'mfv 1\nuse "common.mfv" as\neval raw { add = steer }\n',
        'mfv 1\nuse "common.mfv\neval raw { add = steer }\n',
        'mfv 1\nuse # the common one\n  "common.mfv"\neval raw { add = steer }\n',
        'mfv 1\neval x {\nuse "deep.mfv"\neval raw { add = steer }\n',
        'mfv 1\nuse "common.mfv"\n# caf\xe9\neval raw { add = steer }\n',
    ],
)
def test_a_file_whose_use_cannot_be_read_stops_all(folder: Path, text: str):
    """Also one that may use a file that uses the other, and one that is no UTF-8."""
    (folder / "broken.mfv").write_bytes(text.encode("latin-1"))
    with pytest.raises(CannotRename, match=r"a part of broken\.mfv cannot be read"):
        rename(folder, "common.mfv", "steer", "pull")
    (folder / "stranger.mfv").write_text(text.replace("common", "other").replace("deep", "x"))
    (folder / "broken.mfv").unlink()
    assert "stranger.mfv" not in rename(folder, "common.mfv", "steer", "pull")


@pytest.mark.parametrize(
    "lines",
    [
        "sweep v = [steer, pure(left)]\neval more { add = v, layer = 1 }\n",
        "sweep v = [steer, pure(left)]\n",  # that nothing uses
        "let v = [steer, fv(left)]\n",
        "profile third { raw.add = steer - pure(left) }\n",
    ],
)
def test_a_name_is_changed_in_what_is_not_checked_where_it_stands(folder: Path, lines: str):
    (folder / "a.mfv").write_text(FILES["a.mfv"] + lines, encoding="utf-8")
    text = rename(folder, "common.mfv", "steer", "pull")["a.mfv"]
    assert text == (FILES["a.mfv"] + lines).replace("steer", "pull")


def test_what_a_used_file_takes_from_its_user_is_not_left_behind(folder: Path):
    (folder / "common.mfv").write_text(FILES["common.mfv"] + "vector odd = own\n")
    text = FILES["a.mfv"] + "vector own = fv(left)\neval e { add = own + odd, layer = 1 }\n"
    (folder / "a.mfv").write_text(text, encoding="utf-8")
    with pytest.raises(CannotRename, match="cannot be its name|would mean another"):
        rename(folder, "a.mfv", "vector own", "mine")


def test_a_profile_with_parts_in_several_files_is_refused(folder: Path):
    (folder / "a.mfv").write_text(FILES["a.mfv"].replace("profile other", "profile small"))
    with pytest.raises(CannotRename, match=r"common\.mfv has a part of the profile `small`"):
        rename(folder, "a.mfv", "small", "tiny_one")
    assert list(rename(folder, "b.mfv", "other", "tiny_one")) == ["b.mfv"]


def test_files_outside_the_workspace_are_left_alone(folder: Path):
    place = str(folder / "sub" / "deep.mfv")
    text = FILES["sub/deep.mfv"]
    files = Workspace({place: text}, folder / "sub")
    with pytest.raises(CannotRename, match="outside the workspace"):
        renamed(files, place, text.index("steer"), "pull")


def test_too_many_files_are_not_guessed_about(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workspace_module, "_MOST_RECIPES", 2)
    with pytest.raises(CannotRename, match="more files than can be looked through"):
        rename(folder, "common.mfv", "steer", "pull")


@pytest.mark.slow
def test_an_editor_gets_the_edits_of_all_files(folder: Path):
    async def ask() -> None:
        async with running(folder) as client:
            uri = (folder / "b.mfv").as_uri()
            text = FILES["b.mfv"].replace("raw", "rough")  # as it is typed, not as it is kept
            client.open(uri, text)
            await client.diagnosed(uri, 1)
            it = lsp.TextDocumentIdentifier(uri)
            at = Lines(text).position(text.index("c.steer") + 4)
            ready = await client.text_document_prepare_rename_async(lsp.PrepareRenameParams(it, at))
            assert isinstance(ready, lsp.PrepareRenamePlaceholder) and ready.placeholder == "steer"
            edit = await client.text_document_rename_async(lsp.RenameParams(it, at, "pull"))
            assert edit is not None and edit.changes is not None
            assert set(edit.changes) == {
                (folder / name).as_uri() for name in FILES if name != "stranger.mfv"
            }
            for changed, edits in edit.changes.items():
                lines = Lines(text if changed == uri else FILES[changed.partition(f"{folder}/")[2]])
                for one in edits:
                    span = lines.span(one.range)
                    assert lines.text[span.start : span.end] == "steer" and one.new_text == "pull"
            found = await client.text_document_references_async(
                lsp.ReferenceParams(lsp.ReferenceContext(True), it, at)
            )
            assert len(found or ()) == sum(map(len, edit.changes.values()))

    asyncio.run(ask())
