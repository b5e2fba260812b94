"""The server as editors start it, over standard input and output."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lsprotocol import types as lsp
from lsprotocol.converters import get_converter
from pygls.exceptions import JsonRpcException

from mfv_dsl.base.errors import MfvError
from mfv_dsl.findings import findings
from mfv_dsl.lsp import server as server_module
from mfv_dsl.lsp.analysis import analyse, further
from mfv_dsl.lsp.documents import Checker, Document
from mfv_dsl.lsp.messages import published
from mfv_dsl.lsp.positions import Lines, changed
from mfv_dsl.lsp.session import PLAN_AFTER
from tests.lsp.client import running
from tests.lsp.test_incremental import edits

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.mfv"))
TEXT = """\
mfv 1
# \U0001f600 an astral character, and another: \U0001f9e0
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right, above])
vector steer = fv(left) - fv(right)
eval raw { add = steer, layer = 1 }  # \U0001f600
"""


def position(text: str, word: str, after: int = 0) -> lsp.Position:
    return Lines(text).position(text.index(word) + after)


async def conversation(folder: Path) -> None:
    uri = (folder / "recipe.mfv").as_uri()
    it = lsp.TextDocumentIdentifier(uri)
    async with running(folder, {"MFV_HOME": str(folder / "store")}, {"runBlock": True}) as client:
        client.open(uri, TEXT)
        assert await client.diagnosed(uri, 1) == []

        # -- as one types
        at = position(TEXT, "right)")
        end = position(TEXT, "right)", 5)
        client.edit(uri, 2, lsp.TextDocumentContentChangePartial(lsp.Range(at, end), "rihgt"))
        (found,) = await client.diagnosed(uri, 2)
        assert (found.code, found.range.start, found.source) == ("MFV2001", at, "mfv")
        actions = await client.text_document_code_action_async(
            lsp.CodeActionParams(it, found.range, lsp.CodeActionContext([found]))
        )
        assert actions[0].title == "Write `right`"
        (edit,) = actions[0].edit.changes[uri]
        client.edit(uri, 3, lsp.TextDocumentContentChangePartial(edit.range, edit.new_text))
        assert await client.diagnosed(uri, 3) == []

        # -- questions
        hover = await client.text_document_hover_async(
            lsp.HoverParams(it, position(TEXT, "steer, layer", 1))
        )
        assert "steer = fv(left) - fv(right)" in hover.contents.value
        symbols = await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(it))
        assert [symbol.name for symbol in symbols] == ["flamingo", "shapes", "steer", "raw"]
        places = await client.text_document_definition_async(
            lsp.DefinitionParams(it, position(TEXT, "steer, layer"))
        )
        assert [place.range.start for place in places] == [position(TEXT, "steer =")]
        uses = await client.text_document_references_async(
            lsp.ReferenceParams(lsp.ReferenceContext(False), it, position(TEXT, "steer ="))
        )
        assert [place.range.start for place in uses] == [position(TEXT, "steer, layer")]
        offered = await client.text_document_completion_async(
            lsp.CompletionParams(it, position(TEXT, "steer, layer"))
        )
        assert {"steer", "fv"} <= {item.label for item in offered.items}
        help = await client.text_document_signature_help_async(
            lsp.SignatureHelpParams(it, position(TEXT, "left) -"))
        )
        assert help.signatures[0].active_parameter == 0
        tokens = await client.text_document_semantic_tokens_full_async(lsp.SemanticTokensParams(it))
        assert len(tokens.data) % 5 == 0 and len(tokens.data) > 50
        lenses = await client.text_document_code_lens_async(lsp.CodeLensParams(it))
        assert list(lenses[0].command.arguments) == [uri, "raw"]
        assert "0 finished" in lenses[0].command.title
        folding = await client.text_document_folding_range_async(lsp.FoldingRangeParams(it))
        assert list(folding) == []
        highlights = await client.text_document_document_highlight_async(
            lsp.DocumentHighlightParams(it, position(TEXT, "steer ="))
        )
        assert len(highlights) == 2
        edits = await client.text_document_formatting_async(
            lsp.DocumentFormattingParams(it, lsp.FormattingOptions(2, True))
        )
        assert len(edits) == 1

        # -- renaming
        rename = await client.text_document_rename_async(
            lsp.RenameParams(it, position(TEXT, "steer ="), "direction")
        )
        assert len(rename.changes[uri]) == 2
        with pytest.raises(JsonRpcException, match="is a relation of the data"):
            await client.text_document_rename_async(
                lsp.RenameParams(it, position(TEXT, "steer ="), "left")
            )
        with pytest.raises(JsonRpcException):
            await client.text_document_prepare_rename_async(
                lsp.PrepareRenameParams(it, position(TEXT, "mfv"))
            )

        # -- another document, which is not open, and the end
        stranger = lsp.TextDocumentIdentifier("file:///elsewhere.mfv")
        assert await client.text_document_hover_async(
            lsp.HoverParams(stranger, lsp.Position(0, 0))
        ) is None  # fmt: skip
        client.text_document_did_close(lsp.DidCloseTextDocumentParams(it))
        await client.until(lambda: client.diagnostics[uri].version is None)
        assert client._server is not None
        modules = Path(f"/proc/{client._server.pid}/maps")
        if modules.exists():
            assert "libtorch" not in modules.read_text()


@pytest.mark.slow
def test_a_conversation(tmp_path):
    asyncio.run(conversation(tmp_path))


async def diagnosed(path: Path, tmp_path: Path) -> list[lsp.Diagnostic]:
    uri, text = path.as_uri(), path.read_text(encoding="utf-8")
    async with running(tmp_path) as client:
        client.open(uri, text)
        await client.diagnosed(uri, 1)
        # the lenses come behind all else that there is to say
        await client.text_document_code_lens_async(
            lsp.CodeLensParams(lsp.TextDocumentIdentifier(uri))
        )
        wanted = len(findings(path))
        await client.until(lambda: len(client.diagnostics[uri].diagnostics) == wanted)
        return list(client.diagnostics[uri].diagnostics)


@pytest.mark.slow
def test_in_the_end_all_is_said_that_check_says(tmp_path):
    path = tmp_path / "recipe.mfv"
    path.write_text(
        "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left])\n"
        "eval raw { shots = 4, items = 100000 }\nprofile other { m = tinny() }\n",
        encoding="utf-8",
    )
    expected = published(findings(path), Lines(path.read_text(encoding="utf-8")), path.as_uri())
    assert {d.code for d in expected} == {"MFV7110", "MFV2006"}
    assert asyncio.run(diagnosed(path, tmp_path)) == expected


async def two_files(folder: Path) -> None:
    common, user = ((folder / name).as_uri() for name in ("common.mfv", "recipe.mfv"))
    text = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right])\n"
    uses = 'mfv 1\nuse "common.mfv"\nvector v = fv(right)\n'
    (folder / "common.mfv").write_text(text, encoding="utf-8")
    async with running(folder) as client:
        client.open(user, uses)
        assert await client.diagnosed(user, 1) == []
        client.open(common, text)
        await client.diagnosed(common, 1)
        # not saved, and known all the same
        whole = lsp.TextDocumentContentChangeWholeDocument(text.replace(", right", ""))
        client.edit(common, 2, whole)
        await client.until(
            lambda: "MFV2001" in {d.code for d in client.diagnostics[user].diagnostics}
        )
        places = await client.text_document_definition_async(
            lsp.DefinitionParams(lsp.TextDocumentIdentifier(user), lsp.Position(1, 8))
        )
        assert [place.uri for place in places] == [common]
        client.text_document_did_close(
            lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(common))
        )
        await client.until(
            lambda: "MFV2001" not in {d.code for d in client.diagnostics[user].diagnostics}
        )


@pytest.mark.slow
def test_a_recipe_follows_the_file_that_it_uses_as_it_is_typed(tmp_path):
    asyncio.run(two_files(tmp_path))


async def typed(folder: Path, seed: int) -> tuple[list[lsp.Diagnostic], str]:
    uri = (folder / "recipe.mfv").as_uri()
    text = RECIPES[seed].read_text(encoding="utf-8")
    async with running(folder) as client:
        client.open(uri, text)
        version = 1
        for change in edits(text, 150, random.Random(seed)):
            version += 1
            client.edit(uri, version, change)
            text = changed(text, change)
        await client.diagnosed(uri, version)
        await client.text_document_code_lens_async(
            lsp.CodeLensParams(lsp.TextDocumentIdentifier(uri))
        )
        await asyncio.sleep(2 * PLAN_AFTER)
        return list(client.diagnostics[uri].diagnostics), text


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_after_edits_over_the_wire_all_is_said_that_check_says(tmp_path, seed):
    found, text = asyncio.run(typed(tmp_path, seed))
    path = tmp_path / "recipe.mfv"
    known = analyse(text, str(path))
    expected = (*known.diagnostics, *further(known).diagnostics)
    assert plain(found) == plain(published(expected, Lines(text), path.as_uri()))


def plain(found: list[lsp.Diagnostic]) -> object:
    """Diagnostics as they go over the wire."""
    return get_converter().unstructure(found, list[lsp.Diagnostic])


def test_an_exception_in_a_feature_is_logged_and_answers_nothing(monkeypatch, caplog):
    ls = server_module.server()
    ls.documents["file:///a.mfv"] = Document("file:///a.mfv", TEXT, 1)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(server_module, "hover", broken)
    answer = ls.protocol.fm.features[lsp.TEXT_DOCUMENT_HOVER]
    params = SimpleNamespace(
        text_document=SimpleNamespace(uri="file:///a.mfv"), position=lsp.Position(0, 0)
    )
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(answer(params)) is None
    assert "a mistake of ours" in caplog.text


async def newest(count: int) -> tuple[str, str]:
    checker, document = Checker(), Document("file:///a.mfv", TEXT, 1)
    questions = []
    for number in range(count):
        whole = lsp.TextDocumentContentChangeWholeDocument(f"{TEXT}# {number}\n")
        document.change([whole], number)
        questions.append(asyncio.ensure_future(checker.current(document)))
        await asyncio.sleep(0)
    answers = await asyncio.gather(*questions)
    checker.close()
    return answers[-1].source.text, document.lines.text


async def forgotten() -> tuple[int, bool]:
    checker, document = Checker(), Document("file:///a.mfv", TEXT, 1)
    first = asyncio.ensure_future(checker.current(document))
    second = asyncio.ensure_future(checker.current(document))
    await asyncio.sleep(0)
    first.cancel()
    document.forget()
    third = asyncio.ensure_future(checker.current(document))
    answers = await asyncio.wait_for(asyncio.gather(second, third), 60)
    checker.close()
    return len({id(answer) for answer in answers}), first.cancelled()


def test_a_question_taken_back_leaves_others_their_answers():
    assert asyncio.run(forgotten()) == (1, True)


def test_of_many_changes_the_last_is_what_is_known():
    known, text = asyncio.run(newest(30))
    assert known == text


@pytest.mark.slow
def test_the_server_loads_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import mfv_dsl.lsp.server\n"
        "from mfv_dsl.lsp.analysis import analyse, further\n"
        "from mfv_dsl.lsp.completion import complete\n"
        "from mfv_dsl.lsp.hover import hover\n"
        "from mfv_dsl.lsp.lenses import lenses\n"
        "from mfv_dsl.lsp.positions import Lines\n"
        f"for path in Path({str(RECIPES[0].parent)!r}).glob('*.mfv'):\n"
        "    text = path.read_text()\n"
        "    known = analyse(text, str(path)); plan = further(known).plan\n"
        "    lenses(known, plan, Lines(text))\n"
        "    for at in range(0, len(text), 31):\n"
        "        hover(known, Lines(text), at); complete(known, Lines(text), at)\n"
        "print(*sorted({'torch', 'numpy', 'scipy', 'transformers', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_without_its_package_the_command_says_what_to_install(tmp_path):
    (tmp_path / "pygls").mkdir()
    (tmp_path / "pygls" / "__init__.py").write_text(
        "raise ModuleNotFoundError('No module', name='pygls')"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['mfv', 'lsp']\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "from mfv_dsl.cli import main; main()"],
        capture_output=True, text=True, input="",
    )  # fmt: skip
    assert done.returncode == 2
    assert "MFV5390" in done.stderr and "pip install 'mfv-dsl[lsp]'" in done.stderr


def test_a_finding_without_a_place_is_shown_at_the_beginning():
    (found,) = MfvError("MFV5001", "no shape").diagnostics
    (shown,) = published([found], Lines(TEXT), "file:///a.mfv")
    assert shown.range == lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
