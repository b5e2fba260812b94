"""Prompts to the character, and what a model gets of them to the token."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as token_models
from transformers import PreTrainedTokenizerFast

from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.batch import VlmBatch
from mfv_dsl.models.vlm.constructor import facts
from mfv_dsl.models.vlm.prompts import FORMS, Form
from tests.models.vlm.chat_templates import GEMMA3
from tests.models.vlm.test_passes import ARCHITECTURES
from tests.models.vlm.zoo import ZOO

Loaded = Callable[[str], VisionLanguageModel]
SHOTS = (0, 1, 4, 8)
#: What stands in a prompt for a picture, whole, and what a processor makes of it.
PICTURE = re.compile(
    r"\n*(?:(?:<\|vision_start\|>|<\|image_pad\|>|<\|vision_end\|>|<image>|<fake_token_around_image>"
    r"|<row_\d_col_\d>|<global-img>|</?img>|<IMG_CONTEXT>|\[IMG(?:_BREAK|_END)?\]|<start_of_image>"
    r"|<end_of_image>|<image_soft_token>|<im_\w+>|<low_res_im_start>|<\|image\|>)\n*)+"
)
#: The picture behind which a processor begins the text, where it does.
BOS = {"mllama": 0, "paligemma": -1, "paligemma_1": -1}
#: What a processor writes behind every prompt, where it does.
ENDINGS = {"paligemma": "\n", "paligemma_1": "\n"}
WITH_CHAT = [
    name for name in ZOO
    if name not in ("idefics", "idefics2", "mistral3", "pixtral")
    and not name.startswith(("molmo2", "paligemma"))
]  # fmt: skip


def item(query: str, answer: str) -> Item:
    return Item(f"{query}.png", query, answer, "left")


def prompt(shots: int) -> Prompt:
    return Prompt(tuple(item("mug", "plate") for _ in range(shots)), item("table", "ring"))


class Pictures:
    """A dataset of one picture."""

    at_once = 8
    hash = ""

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 255, (56, 56, 3), dtype=np.uint8) for _ in images]


def with_form(model: VisionLanguageModel, form: str, chat: str | None = None) -> Any:
    """The same model with prompts of another form, and by another chat template."""
    processor = copy.copy(model.processor)
    if chat is not None:
        processor.chat_template = chat
    return VisionLanguageModel(model.model, processor, model.architecture, model.facts, form)


def written(model: VisionLanguageModel, shots: int) -> str:
    return model.form.text(prompt(shots), model.processor, model.architecture.mark)


def batch_of(model: VisionLanguageModel, shots: int) -> VlmBatch:
    return model.batch([prompt(shots)], Pictures())  # type: ignore[arg-type]


def read(model: VisionLanguageModel, batch: VlmBatch) -> str:
    """A batch's only prompt as its tokens have it, each picture as one sign."""
    return PICTURE.sub("¤", model.tokenizer.decode(batch.tokens[0]))


def check_tokens(model: VisionLanguageModel, shots: int, text: str) -> None:
    """A prompt's tokens are ``text`` with a picture for each sign, and as many tokens for pictures
    as pictures have features."""
    batch = batch_of(model, shots)
    assert read(model, batch) == PICTURE.sub("¤", text.replace("¤", "<image>"))
    marks = int((batch.tokens == model.image_token).sum())
    if model.architecture.features in ("cross_states", "perceiver"):
        assert marks == shots + 1
    else:
        assert marks == sum(len(picture.rows) for picture in batch.media.rows[0])
        assert marks % (shots + 1) == 0


# -- what is written ------------------------------------------------------------------------------
def test_endings_are_of_architectures_that_are_tested():
    assert ENDINGS.keys() <= ZOO.keys()


@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_plain_prompts(name: str, shots: int, loaded: Loaded):
    model = loaded(name)
    picture = "¤ " if name == "idefics2" else "¤"  # its processor keeps words apart from pictures
    pieces = ["Q:mug. A: plate.\n"] * shots + [f"Q:table. A:{ENDINGS.get(name, '')}"]
    if name in BOS:
        pieces[BOS[name]] = f"<bos>{pieces[BOS[name]]}"
    before = "<bos>" if name in ("idefics", "molmo2", "molmo2_o") else ""
    check_tokens(model, shots, before + "".join(f"{picture}{piece}" for piece in pieces))


@pytest.mark.parametrize(("form", "chat"), [("plain", None), ("chat", None), ("chat", GEMMA3)])
def test_a_text_begins_once(form: str, chat: str | None, loaded: Loaded):
    """Whether the tokenizer or the chat template writes the first token."""
    model = loaded("gemma3")
    processor = copy.deepcopy(model.processor)
    words = processor.tokenizer
    words._tokenizer.post_processor = processors.Sequence([
        words._tokenizer.post_processor or processors.ByteLevel(),
        processors.TemplateProcessing("<bos> $A", "$A $B", [("<bos>", words.bos_token_id)]),
    ])  # fmt: skip
    processor.chat_template = chat or processor.chat_template
    model = VisionLanguageModel(model.model, processor, model.architecture, model.facts, form)
    tokens = batch_of(model, 1).tokens[0].tolist()
    assert tokens.count(words.bos_token_id) == 1
    assert tokens[0] == words.bos_token_id


# -- answers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_answers_go_on_where_prompts_end(name: str, form: str, loaded: Loaded):
    """The tokens of prompt and answer together are the prompt's, then the answer's."""
    if form != "plain" and name not in WITH_CHAT:
        pytest.skip("no chat template")
    model = with_form(loaded(name), form)
    text, answer = written(model, 1), model.template.answer.removeprefix(model.template.cue)
    shown = [Pictures().pictures(["", ""], 0)]
    before = model.inputs.processed([text], shown)["input_ids"][0].tolist()
    (expected,) = model.answer_tokens(["ring"])
    if name in ENDINGS:  # the processor writes behind the text
        images = [list(map(_image, shown[0]))]
        inputs = model.processor(text=[text], images=images, suffix=["ring"])
        assert inputs["input_ids"][0] == [*before, *expected, model.tokenizer.eos_token_id]
        return
    after = model.inputs.processed([text + answer.format(answer="ring")], shown)["input_ids"][
        0
    ].tolist()
    assert after == [*before, *expected]


def _image(picture: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(picture)


def _words(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def like_qwen() -> PreTrainedTokenizerFast:
    """Words take a sign before them along, as in Qwen's vocabulary."""
    tokenizer = Tokenizer(token_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(
            Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
            "isolated",
        ),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["A:mug mug A: mug\n", "Q:cup. A:cup.\n"] * 50, trainer)
    return _words(tokenizer)


def like_llama() -> PreTrainedTokenizerFast:
    """Texts begin with a blank, and blanks are part of words, as in SentencePiece."""
    tokenizer = Tokenizer(token_models.BPE(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, show_progress=False)
    tokenizer.train_from_iterator(["Q:mug. A: mug\n", "mug\n plate A: plate.\n"] * 50, trainer)
    return _words(tokenizer)


@pytest.mark.parametrize("words", [like_qwen(), like_llama()], ids=["qwen", "llama"])
@pytest.mark.parametrize("name", ["plain", "chat", "official"])
def test_answers_of_other_tokenizers(name: str, words: Any):
    form = Form.of(name, "<image>")
    blank = "" if name == "official" else " "
    context = "turn\n" if name == "official" else form.template.query.format(query="mug")
    before = words.encode(context)
    for answer in ("mug", "plate"):
        assert words.encode(f"{context}{blank}{answer}") == [
            *before, *form.answer_tokens(words, answer)
        ]  # fmt: skip


def test_a_word_that_merges_with_what_stands_before_is_refused():
    form = Form.of("{image}Q:{query}. A:{answer}.\n", "<image>")
    with pytest.raises(MfvError, match="keep") as raised:
        form.answer_tokens(like_qwen(), "mug")
    assert raised.value.code == "MFV7201"


# -- prompts of one's own -------------------------------------------------------------------------
OWN = "{image}The {query} is right of: {answer};\n"


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
def test_a_prompt_of_ones_own(name: str, loaded: Loaded):
    model = with_form(loaded(name), OWN)
    check_tokens(model, 2, "¤The mug is right of: plate;\n" * 2 + "¤The table is right of:")
    assert model.answer_tokens(["ring"]) == loaded(name).answer_tokens(["ring"])


def test_it_belongs_to_the_models_identity(checkpoint: Any):
    path = str(checkpoint("llava"))
    prints = [facts(path, prompt=form).fingerprint
              for form in (*FORMS, OWN, OWN + " ")]  # fmt: skip
    assert len(set(prints)) == 6
    assert all(each.startswith(prints[0]) for each in prints)


def test_its_braces(loaded: Loaded):
    form = Form.of("{image}{{Q}}:{query} {{A: {answer}}}\n", "<image>")
    assert form.template.text(prompt(1)) == "<image>{Q}:mug {A: plate}\n<image>{Q}:table {A:"
    assert form.template.cue == " {A:"


@pytest.mark.parametrize(("own", "problem"), [
    ("{image}{query} is where?", "no `{answer}`"),
    ("{query}: {answer}", "no `{image}`"),
    ("{image}A: {answer}", "no `{query}`"),
    ("{image}{name}: {query} A: {answer}", "`{name}` is no field"),
    ("{image}{image}{query}: {answer}", "one picture"),
    ("{image}{query}: {answer}, {answer}", "one picture and one answer"),
    ("{image}{answer} is left of {query}", "before the answer"),
    ("{query}: {image} {answer}", "before the query"),
    ("{image}{query} {answer}", "between the query and the answer"),
    ("{image}{query}: {answer!r}", "nothing but a name"),
    ("{image}{query:>9}: {answer}", "nothing but a name"),
    ("{image}{}: {answer}", "no field"),
    ("{image}{query: {answer}", ""),
    ("a picture", "no `{image}`"),
    ("", "no `{image}`"),
])  # fmt: skip
def test_texts_that_are_no_demonstration(own: str, problem: str):
    with pytest.raises(MfvError) as raised:
        Form.of(own, "<image>")
    assert raised.value.code == "MFV7278"
    assert problem in str(raised.value)
    text = own.replace("\n", "\\n")
    with pytest.raises(RecipeError) as caught:  # where it stands in the recipe
        constructed("model", f'hf("Qwen/Qwen3-VL-4B-Instruct", prompt="{text}")')
    assert caught.value.code == "MFV7278"
    assert "^" in str(caught.value)


@pytest.mark.parametrize(("mark", "within"), [
    ("<image>", "<image>"), ("[IMG]", "[IMG]"),
    ("<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>"),
])  # fmt: skip
def test_the_models_own_mark_in_a_prompt_of_ones_own(mark: str, within: str):
    with pytest.raises(MfvError, match="the model's own mark of a picture") as raised:
        Form.of(f"{{image}}{within}Q:{{query}}. A: {{answer}}.\n", mark)
    assert raised.value.code == "MFV7278"
    assert within in str(raised.value)
    assert Form.of("{image}<b>[Q]</b>:{query}. A: {answer}.\n", mark).template.query
