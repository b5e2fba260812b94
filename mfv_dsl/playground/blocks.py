"""Gradio's blocks, which fetch nothing for those who ask."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio_client.utils import is_http_url_like, traverse


class LocalBlocks(gr.Blocks):
    """Blocks whose inputs are values and uploaded files.

    Gradio takes the address of a web page in place of an uploaded file, and downloads it: then
    whoever reaches a page could have its machine ask others, and for files of any size.
    """

    async def preprocess_data(self, block_fn: Any, inputs: Any, *others: Any, **more: Any) -> Any:
        """What the function gets.  Raises gr.Error for a file that lies elsewhere."""
        traverse(inputs, _refuse, _is_elsewhere)
        return await super().preprocess_data(block_fn, inputs, *others, **more)


def _is_elsewhere(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(value.get(part), str) and is_http_url_like(value[part].strip())
        for part in ("path", "url")
    )


def _refuse(value: Any) -> Any:
    raise gr.Error("a file is uploaded, and not fetched from elsewhere", print_exception=False)
