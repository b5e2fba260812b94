"""A notebook that is run in a kernel of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

import mfv_dsl

ROOT = Path(mfv_dsl.__file__).parents[1]


class Notebook(NotebookClient):
    """Cells that are run in a folder; that with the number ``stop`` is interrupted as soon as it
    shows how far it is."""

    folder: Path
    stop: int | None = None
    interrupted = False
    bars: list[str]  # every state of how far it is that was shown

    @classmethod
    def run(cls, cells: Sequence[str], folder: Path, stop: int | None = None) -> Notebook:
        """All cells, also behind one that failed."""
        notebook = cls.of(new_notebook(cells=[new_code_cell(cell) for cell in cells]), folder)
        notebook.stop = stop
        notebook.play()
        return notebook

    @classmethod
    def of(cls, node: NotebookNode, folder: Path) -> Notebook:
        """A notebook that is not run yet."""
        notebook = cls(
            node, timeout=300, allow_errors=True, resources={"metadata": {"path": str(folder)}}
        )
        notebook.folder, notebook.bars = folder, []
        return notebook

    def play(self) -> None:
        """Run the cells in a new kernel."""
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.execute(env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})

    def process_message(self, msg: Any, cell: NotebookNode, cell_index: int) -> Any:
        html = msg["content"].get("data", {}).get("text/html", "")
        if "<progress" in html:
            self.bars.append(html)
            if cell_index == self.stop and not self.interrupted:
                self.interrupted = True
                asyncio.ensure_future(self.km.interrupt_kernel())  # noqa: RUF006
        return super().process_message(msg, cell, cell_index)

    def outputs(self, cell: int, kind: str) -> list[Any]:
        """What a cell put out, of one kind: ``error``, ``stream``, ``execute_result``, …"""
        found = self.nb.cells[cell].outputs
        return [output for output in found if output.output_type == kind]
