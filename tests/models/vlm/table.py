"""The table of architectures in docs/models.md: ``python -m tests.models.vlm.table`` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from mfv_dsl.models.vlm.architectures import ARCHITECTURES

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
#: What the models of each kind are called.
NAMES = {
    "qwen2_vl": "Qwen2-VL",
    "qwen2_5_vl": "Qwen2.5-VL",
    "qwen3_vl": "Qwen3-VL",
    "llava": "LLaVA-1.5, Pixtral",
    "llava_next": "LLaVA-NeXT",
    "llava_onevision": "LLaVA-OneVision",
    "mistral3": "Mistral Small 3.1",
    "idefics2": "Idefics 2",
    "idefics3": "Idefics 3, SmolVLM",
    "smolvlm": "SmolVLM 2",
    "gemma3": "Gemma 3",
    "paligemma": "PaliGemma 2",
    "internvl": "InternVL 3",
    "molmo2": "Molmo 2",
    "mllama": "Llama 3.2 Vision",
    "idefics": "Idefics 1",
}
_TABLE = re.compile(r"\| `model_type` \|.*?\n(?=\n)", re.S)


def table() -> str:
    """One line for each row of the table of architectures."""
    lines = [
        "| `model_type` | models | layers | a picture in plain text | passes | heads' vectors | "
        "recipes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, row in ARCHITECTURES.items():
        cells = (
            f"`{kind}`", NAMES[kind], f"`{row.text}.layers`", f"`{row.mark}`",
            "full" if row.prompt_sees_itself else "shared prefix",
            "linearised" if row.norm_behind_heads else "yes", "yes",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def rewritten(page: str) -> str:
    """The page with the table as it is now."""
    return _TABLE.sub(lambda _: table(), page, count=1)


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
