"""Names that are no names: blank, a model's own marks, words that its tokenizer does not know."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset
from mfv_dsl.data.check import Report, check_dataset, same
from mfv_dsl.data.declarations import declared_datasets
from mfv_dsl.data.marks import differing_by_case, is_blank, mark_in
from mfv_dsl.inspection import about_scene, ask
from mfv_dsl.methods.answers import begun_with, name_tokens
from mfv_dsl.models.marks import marks_of, unknown_token
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.data.support import write_lines, write_pairs


def check(folder: Path, **options: Any) -> Report:
    (made,) = declared_datasets(f'pairs("{folder / "pairs.jsonl"}")').values()
    return check_dataset(made, lambda label, total: lambda units: None, **options)


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    return write_pairs(tmp_path, 12)


def spoil(folder: Path, items: list[dict[str, Any]], key: str, name: str) -> None:
    items[2][key] = name
    write_lines(folder / "pairs.jsonl", items)


# -- when a file is read --------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["query", "answer"])
@pytest.mark.parametrize("name", ["  ", "\t", "\u3000", "\u200b", "\u00ad \u200d"])
def test_blank_names_have_their_line(
    key: str, name: str, tmp_path: Path, items: list[dict[str, Any]]
):
    spoil(tmp_path, items, key, name)
    (finding,) = check(tmp_path).findings
    assert (finding.code, finding.place) == ("MFV7107", "line 3")
    assert finding.message == f"`{key}` missing or empty"


@pytest.mark.parametrize("key", ["query", "answer"])
@pytest.mark.parametrize("mark", ["<image>", "<|endofchunk|>", "</s>", "<PAD>", "<start_of_image>"])
def test_marks_in_names_have_their_line(
    key: str, mark: str, tmp_path: Path, items: list[dict[str, Any]]
):
    spoil(tmp_path, items, key, f"red{mark}")
    (finding,) = check(tmp_path).findings
    assert (finding.code, finding.place) == ("MFV7107", "line 3")
    assert f"`{key}` holds `{mark}`" in finding.message


def test_every_reader_refuses_them(tmp_path: Path):
    from mfv_dsl.data.image_files import ImageFile
    from mfv_dsl.data.rows import ItemRow
    from mfv_dsl.data.table import Options, build

    images = {"a.png": ImageFile(tmp_path, 1)}
    for name, what in (("\u200b", "missing or empty"), ("<image>", "holds `<image>`")):
        for query, answer in ((name, "cup"), ("cup", name)):
            row = ItemRow("row 7", "a.png", query, answer, "left", "test")
            (finding,) = build("d", [row], images, Options()).findings
            assert finding.place == "row 7" and what in finding.message


def test_synonyms_bring_no_marks(tmp_path: Path, items: list[dict[str, Any]]):
    (tmp_path / "s.csv").write_text(f"canonical,synonym\n<image>,{items[2]['answer']}\n")
    expression = f'pairs("{tmp_path / "pairs.jsonl"}", synonyms="{tmp_path / "s.csv"}")'
    (made,) = declared_datasets(expression).values()
    report = check_dataset(made, lambda label, total: lambda units: None)
    assert report.failed and {f.code for f in report.findings} == {"MFV7107"}


def test_what_is_no_mark():
    assert mark_in("a < b") is None and mark_in("heart <3") is None and mark_in("2 > 1") is None
    assert not is_blank("é") and not is_blank("3") and is_blank("")


def test_names_are_kept_in_one_form(tmp_path: Path, items: list[dict[str, Any]]):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert composed != apart
    spoil(tmp_path, items, "answer", apart)
    loaded = open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))
    names = {i.answer for r in loaded.relations for s in loaded.splits for i in loaded.items(r, s)}
    assert composed in names and apart not in names
    assert begun_with(f" {apart}.", [composed]) == composed
    assert begun_with(composed, [apart]) == apart
    assert begun_with("cafe\u0301s", ["cafe"]) is None  # the e is another letter


def test_capital_letters_are_warned_of(tmp_path: Path, items: list[dict[str, Any]]):
    spoil(tmp_path, items, "answer", items[2]["answer"].title())
    findings = [f for f in check(tmp_path).findings if f.code == "MFV7125"]
    assert len(findings) == 1 and findings[0].severity == "warning"
    assert items[2]["answer"] in findings[0].message
    assert differing_by_case(["STRASSE", "straße", "cup"]) == [["STRASSE", "straße"]]


# -- when a model meets a dataset -----------------------------------------------------------------
def recipe(folder: Path, answer: str = "first_token") -> mfv.Recipe:
    text = f"""mfv 1
    model m = tiny()
    dataset d = pairs("{folder / "pairs.jsonl"}")
    eval e {{ items = 1, answer = {answer}, on = [left] }}
    """
    return mfv.Recipe(text, "e")


@pytest.mark.slow
def test_marks_of_the_model_itself(
    tmp_path: Path, items: list[dict[str, Any]], tiny: OpenFlamingo,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    assert marks_of(tiny.tokenizer) == {"<PAD>", "<unk>", "<|endofchunk|>", "<image>"}
    assert tiny.marks == marks_of(tiny.tokenizer)
    monkeypatch.setattr("mfv_dsl.models.openflamingo.marks_of", lambda _: frozenset({"[EYE]"}))
    mfv.clear_models()  # so that one with these marks is loaded
    spoil(tmp_path, items, "query", "[EYE] cup")
    with pytest.raises(MfvError, match=r"line 3: the name `\[EYE\] cup` holds `\[EYE\]`") as caught:
        recipe(tmp_path).run(tmp_path / "run")
    assert caught.value.code == "MFV7124"
    findings = check(tmp_path, model=mfv.load_model("tiny")).findings
    assert ("MFV7124", "line 3") in {(f.code, f.place) for f in findings}
    mfv.clear_models()


def test_marks_of_transformers_tokenizers():
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    from mfv_dsl.models.tiny.tokenizer import build_tokenizer

    inner = build_tokenizer()
    inner.add_special_tokens([AddedToken("[IMG]", special=True)])
    outer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="[END]")
    assert {"[IMG]", "[END]", "<image>"} <= marks_of(outer)
    assert "red circle" not in marks_of(outer)  # a token, but no mark
    assert unknown_token(outer) == unknown_token(inner) == 1


def test_unknown_words_are_named(tmp_path: Path, items: list[dict[str, Any]], tiny: OpenFlamingo):
    assert tiny.unknown_words(["red circle", "coffee mug", "left p1", "red mug"]) == [
        "coffee", "mug", "red",
    ]  # fmt: skip
    spoil(tmp_path, items, "query", "coffee mug")
    with pytest.warns(UserWarning, match="MFV5376: the tokenizer of m does not know: coffee, mug"):
        recipe(tmp_path).run(tmp_path / "run")
    messages = [f.message for f in check(tmp_path, model=tiny).findings if f.code == "MFV5376"]
    assert messages == ["the model's tokenizer does not know: coffee, mug"]


@pytest.mark.parametrize("names", [("lamp", "plates"), ("coffee mug", "tea cup")])
def test_names_of_the_same_tokens_are_an_error_before_the_run(
    names: tuple[str, str], tmp_path: Path, items: list[dict[str, Any]], tiny: OpenFlamingo
):
    with pytest.raises(MfvError, match="cannot tell them apart") as caught:
        name_tokens(tiny, ["red circle", *names])
    assert caught.value.code == "MFV5375" and caught.value.notes == (f"alike: {', '.join(names)}",)
    (finding,) = same(tiny, ["red circle", *names])
    assert (finding.severity, finding.code) == ("warning", "MFV5375")
    for item, name in zip(items, names, strict=False):
        item["answer"] = name
    write_lines(tmp_path / "pairs.jsonl", [item | {"split": "test"} for item in items])
    measured: list[object] = []
    with (
        pytest.warns(UserWarning, match="MFV5376"), pytest.raises(MfvError, match="MFV5375")
    ):  # fmt: skip
        recipe(tmp_path, "full").run(tmp_path / "run", _Noting(measured))
    assert measured == ["loading tiny"]


class _Noting:
    def __init__(self, labels: list[object]) -> None:
        self.labels = labels

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        self.labels.append(label)
        return lambda units: None


def test_a_prefix_is_no_twin(tiny: OpenFlamingo):
    assert len(set(name_tokens(tiny, ["lamp", "coffee mug"]))) == 2


@pytest.mark.parametrize("query", ["<image>", " ", "cup<|endofchunk|>"])
def test_no_question_is_a_mark(query: str, tiny: OpenFlamingo):
    with pytest.raises(MfvError) as caught:
        ask(tiny, about_scene(query=query))
    assert caught.value.code == "MFV7124"


def test_a_question_of_unknown_words_is_warned_of(tiny: OpenFlamingo):
    with pytest.warns(UserWarning, match="does not know: coffee, mug"):
        ask(tiny, about_scene(query="coffee mug"))


def test_json_of_a_report_is_strict(tmp_path: Path, items: list[dict[str, Any]]):
    spoil(tmp_path, items, "answer", "<image>")
    json.dumps(check(tmp_path).to_json(), allow_nan=False)
