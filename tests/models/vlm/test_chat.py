"""Prompts as turns of a chat, by chat templates as they are published."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.chat import DAY
from tests.models.vlm import chat_templates
from tests.models.vlm.test_prompts import (
    SHOTS,
    WITH_CHAT,
    batch_of,
    check_tokens,
    prompt,
    with_form,
    written,
)

Loaded = Callable[[str], VisionLanguageModel]
QWEN_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


def refused(model: VisionLanguageModel, code: str, *words: str, shots: int = 1) -> None:
    """Its prompts are refused with this error, and with these words."""
    with pytest.raises(MfvError) as raised:
        batch_of(model, shots)
    assert raised.value.code == code
    for word in words:
        assert word in str(raised.value)


# -- every architecture ---------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("name", WITH_CHAT)
def test_one_turn(name: str, shots: int, loaded: Loaded):
    model = with_form(loaded(name), "chat")
    demonstrations = "¤Q:mug. A: plate.\n" * shots
    bos = "<bos>" if name == "mllama" else ""  # as it is not in this template
    check_tokens(
        model, shots, f"{bos}<|im_start|>user\n{demonstrations}¤Q:table.<|im_end|>\n"
        "<|im_start|>assistant\nA:",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("name", WITH_CHAT)
def test_a_turn_for_each_picture(name: str, shots: int, loaded: Loaded):
    model = with_form(loaded(name), "turns")
    demonstration = (
        "<|im_start|>user\n¤Q:mug.<|im_end|>\n<|im_start|>assistant\nA: plate.<|im_end|>\n"
    )
    bos = "<bos>" if name == "mllama" else ""
    check_tokens(
        model, shots, f"{bos}{demonstration * shots}<|im_start|>user\n¤Q:table.<|im_end|>\n"
        "<|im_start|>assistant\nA:",
    )  # fmt: skip


# -- as they are published ------------------------------------------------------------------------
@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize(("name", "chat"), [("qwen2_5_vl", "QWEN2_5"), ("qwen3_vl", "QWEN3")])
def test_the_official_form_is_that_of_the_papers_code(
    name: str, chat: str, shots: int, loaded: Loaded
):
    model = with_form(loaded(name), "official", getattr(chat_templates, chat))
    assert written(model, shots) == (
        "<|im_start|>system\nUse the following template to answer the question:\n"
        "Q:object1. A:object2<|im_end|>\n"
        "<|im_start|>user\n" + f"{QWEN_PICTURE}Q:mug. A:plate.\n" * shots
        + f"{QWEN_PICTURE}Q:table. A:<|im_end|>\n<|im_start|>assistant\n"
    )  # fmt: skip
    check_tokens(model, shots, written(model, shots).replace(QWEN_PICTURE, "¤"))
    last = int(batch_of(model, shots).tokens[0, -1])
    assert model.text([last]) == "\n"


HELPFUL = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


@pytest.mark.parametrize(("name", "chat", "expected"), [
    ("qwen3_vl", "QWEN3", "<|im_start|>user\n¤Q:mug. A: plate.\n¤Q:table.<|im_end|>\n"
     "<|im_start|>assistant\nA:"),
    ("qwen2_5_vl", "QWEN2_5", f"{HELPFUL}<|im_start|>user\n¤Q:mug. A: plate.\n¤Q:table.<|im_end|>\n"
     "<|im_start|>assistant\nA:"),
    ("smolvlm", "SMOLVLM", "<|im_start|>User:¤Q:mug. A: plate.\n¤Q:table.<end_of_utterance>\n"
     "Assistant: A:"),
    ("internvl", "INTERNVL", "<|im_start|>user\n¤\nQ:mug. A: plate.\n¤\nQ:table.<|im_end|>\n"
     "<|im_start|>assistant\nA:"),
    ("gemma3", "GEMMA3", "<bos><start_of_turn>user\n¤Q:mug. A: plate.¤Q:table.<end_of_turn>\n"
     "<start_of_turn>model\nA:"),
    ("mistral3", "MISTRAL3", "<bos>[SYSTEM_PROMPT]The current date is 2024-07-26.[/SYSTEM_PROMPT]"
     "[INST]¤Q:mug. A: plate.\n¤Q:table.[/INST]A:"),
    ("pixtral", "PIXTRAL", "<bos>[INST]¤Q:mug. A: plate.\n¤Q:table.[/INST]A:"),
])  # fmt: skip
def test_one_turn_by_published_templates(name: str, chat: str, expected: str, loaded: Loaded):
    model = with_form(loaded(name), "chat", getattr(chat_templates, chat))
    assert written(model, 1) == expected.replace("¤", model.architecture.mark)


@pytest.mark.parametrize(("name", "chat", "expected"), [
    ("qwen3_vl", "QWEN3", "<|im_start|>user\n¤Q:mug.<|im_end|>\n<|im_start|>assistant\nA: plate."
     "<|im_end|>\n<|im_start|>user\n¤Q:table.<|im_end|>\n<|im_start|>assistant\nA:"),
    ("llava", "LLAVA", "USER: ¤\nQ:mug. ASSISTANT: A: plate. USER: ¤\nQ:table. ASSISTANT: A:"),
    ("smolvlm", "SMOLVLM", "<|im_start|>User:¤Q:mug.<end_of_utterance>\nAssistant: A: plate."
     "<end_of_utterance>\nUser:¤Q:table.<end_of_utterance>\nAssistant: A:"),
    ("internvl", "INTERNVL", "<|im_start|>user\n¤\nQ:mug.<|im_end|>\n<|im_start|>assistant\n"
     "A: plate.<|im_end|>\n<|im_start|>user\n¤\nQ:table.<|im_end|>\n<|im_start|>assistant\nA:"),
    ("gemma3", "GEMMA3", "<bos><start_of_turn>user\n¤Q:mug.<end_of_turn>\n<start_of_turn>model\n"
     "A: plate.<end_of_turn>\n<start_of_turn>user\n¤Q:table.<end_of_turn>\n"
     "<start_of_turn>model\nA:"),
    ("pixtral", "PIXTRAL", "<bos>[INST]¤Q:mug.[/INST]A: plate.<eos>[INST]¤Q:table.[/INST]A:"),
])  # fmt: skip
def test_turns_by_published_templates(name: str, chat: str, expected: str, loaded: Loaded):
    model = with_form(loaded(name), "turns", getattr(chat_templates, chat))
    assert written(model, 1) == expected.replace("¤", model.architecture.mark)
    if name in ("llava", "gemma3", "qwen3_vl"):  # to the token
        check_tokens(model, 1, expected)


# -- what day it is -------------------------------------------------------------------------------
def test_the_day_is_always_the_same():
    """Each directive is what Python makes of it."""
    day = datetime(2024, 7, 26)
    assert {directive: day.strftime(directive) for directive in DAY} == DAY


@pytest.mark.parametrize("form", ["chat", "turns"])
def test_a_template_with_todays_date_gets_another_day(form: str, loaded: Loaded):
    model = with_form(loaded("mistral3"), form, chat_templates.MISTRAL3)
    assert "The current date is 2024-07-26." in written(model, 1)
    assert date.today().isoformat() not in written(model, 1)
    spelt = chat_templates.MISTRAL3.replace("%Y-%m-%d", "%A, %-d %B %Y")
    assert "is Friday, 26 July 2024." in written(with_form(loaded("mistral3"), form, spelt), 1)


@pytest.mark.slow
def test_a_template_without_a_date_beside_pictures(loaded: Loaded):
    text = written(with_form(loaded("mllama"), "chat", chat_templates.LLAMA3_2), 0)
    assert text == (
        "<bos><|start_header_id|>user<|end_header_id|>\n\n<|image|>Q:table.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA:"
    )


def test_the_clock_changes_nothing_else(loaded: Loaded):
    """Line ends and blanks at the beginning of a template stay what they are."""
    for begin in ("\n  {% set a = 1 %}\n", "  "):
        plain = with_form(loaded("qwen3_vl"), "chat", begin + chat_templates.QWEN3)
        asked = chat_templates.QWEN3 + "{#- strftime_now #}"
        assert written(plain, 1) == written(with_form(loaded("qwen3_vl"), "chat", begin + asked), 1)


# -- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["chat", "official"])
def test_a_template_that_moves_pictures(form: str, loaded: Loaded):
    model = with_form(loaded("llava"), form, chat_templates.LLAVA)
    refused(model, "MFV7269", "moves pictures", "prompt=turns", "prompt=plain")


def test_a_template_that_shows_pictures_behind_their_questions(loaded: Loaded):
    chat = (
        "{% for m in messages %}{{ m.role }}: {% for c in m.content | reverse %}"
        "{{ '<image>' if c.type == 'image' else c.text }}{% endfor %}{% endfor %}"
    )
    refused(with_form(loaded("llava"), "turns", chat), "MFV7269", "moves pictures")


LAST_TURNS = "{% for m in messages[-2:] %}" + chat_templates.LLAVA.partition("%}")[2]
NO_ANSWERS = (  # as some drop what was thought
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}"
    "{{ '<image>' if c.type == 'image' else c.text if m.role == 'user' or loop.last and "
    "'TAG' in c.text else '' }}{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize(("chat", "missing"), [
    (LAST_TURNS.replace("message[", "m["), "'Q:mug.'"), (NO_ANSWERS, "'A: plate.'"),
])  # fmt: skip
def test_a_template_that_drops_what_was_said(chat: str, missing: str, loaded: Loaded):
    model = with_form(loaded("llava"), "turns", chat)
    refused(model, "MFV7294", "leaves out a part", missing, "prompt=plain")


def test_a_template_that_takes_no_system_text_beside_pictures(loaded: Loaded):
    model = with_form(loaded("mllama"), "official", chat_templates.LLAMA3_2)
    refused(model, "MFV7294", "does not take this prompt", "incompatible with system messages")


def test_a_template_that_drops_the_system_text(loaded: Loaded):
    chat = chat_templates.QWEN3.replace("messages[0].role == 'system'", "false")
    refused(with_form(loaded("qwen3_vl"), "official", chat), "MFV7294", "leaves out", "object1")


@pytest.mark.parametrize(("name", "chat"), [("llava", "LLAVA"), ("smolvlm", "SMOLVLM")])
def test_a_template_with_the_answer_on_the_line_of_the_header(name: str, chat: str, loaded: Loaded):
    model = with_form(loaded(name), "official", getattr(chat_templates, chat))
    refused(model, "MFV7295", "no line end", "prompt=chat", shots=0)


def test_a_template_that_begins_twice(loaded: Loaded):
    model = with_form(loaded("gemma3"), "chat", "{{ bos_token }}" + chat_templates.GEMMA3)
    refused(model, "MFV7294", "begins a text twice", "<bos><bos>")


@pytest.mark.parametrize("chat", ["{% for", "{{ messages[7].content }}", "{{ nothing() }}"])
def test_a_template_that_is_broken(chat: str, loaded: Loaded):
    refused(with_form(loaded("llava"), "chat", chat), "MFV7294", "does not take this prompt")


def test_a_processor_without_a_chat_template(loaded: Loaded):
    refused(with_form(loaded("paligemma"), "chat"), "MFV7268", "no chat template")


# -- where the template is ------------------------------------------------------------------------
def saved(model: VisionLanguageModel, folder: Any, chat: Any, form: str = "turns") -> Any:
    """The model with a processor that was saved with these chat templates."""
    from transformers import AutoProcessor

    with_form(model, form, chat).processor.save_pretrained(folder)
    if "default" not in chat:
        (folder / "chat_template.jinja").unlink()  # the tokenizer's
    processor = AutoProcessor.from_pretrained(folder)
    return VisionLanguageModel(model.model, processor, model.architecture, model.facts, form)


def test_of_named_templates_the_default_one_counts(loaded: Loaded, tmp_path: Any):
    chats = {"default": chat_templates.LLAVA, "tool_use": "{{ nothing }}"}
    model = saved(loaded("llava"), tmp_path, chats)
    assert isinstance(model.processor.chat_template, dict)
    assert written(model, 0) == "USER: <image>\nQ:table. ASSISTANT: A:"


def test_named_templates_without_a_default_one(loaded: Loaded, tmp_path: Any):
    model = saved(loaded("llava"), tmp_path, {"tool_use": "{{ nothing }}", "rag": "{{ nothing }}"})
    refused(model, "MFV7294", "none is called `default`", "tool_use", "rag")


def test_a_template_that_only_the_tokenizer_has(loaded: Loaded):
    model = with_form(loaded("paligemma_1"), "turns")
    words = model.processor.tokenizer
    try:
        words.chat_template = chat_templates.LLAVA
        assert written(model, 0) == "USER: <image>\nQ:table. ASSISTANT: A:"
    finally:
        words.chat_template = None


def test_names_that_say_what_templates_say(loaded: Loaded):
    """A query or an answer with `A:` in it stays in its own turn."""
    model = with_form(loaded("qwen3_vl"), "turns", chat_templates.QWEN3)
    odd = prompt(1)
    object.__setattr__(odd.demonstrations[0], "query", "mug. A: cup")
    text = model.form.text(odd, model.processor, model.architecture.mark)
    assert "Q:mug. A: cup.<|im_end|>\n<|im_start|>assistant\nA: plate.<|im_end|>" in text
