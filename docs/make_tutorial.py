"""Makes docs/tutorial.ipynb, with outputs, of docs/tutorial.md: ``python -m docs.make_tutorial``.

A fence ```` ```python ```` or ```` ```mfv ```` is a cell of code, all else is text; `raises` behind
it says that the cell is meant to fail.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
SOURCE, NOTEBOOK = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ipynb"
_FENCE = re.compile(r"^```(?:python|mfv)( raises)?\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
#: What progress leaves, which is another time each time.
_TIME = re.compile(r"(done in|stopped after) \S+ \S+")


def cells() -> NotebookNode:
    """The notebook without outputs."""
    found, end, text = [], 0, SOURCE.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        found.append(new_markdown_cell(text[end : fence.start()].strip()))
        tags = {"tags": ["raises-exception"]} if fence[1] else {}
        found.append(new_code_cell(fence[2].rstrip("\n"), metadata=tags))
        end = fence.end()
    found = [cell for cell in [*found, new_markdown_cell(text[end:].strip())] if cell.source]
    for number, cell in enumerate(found):
        cell.id = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=found, metadata={"kernelspec": kernel})


def executed(folder: Path) -> NotebookNode:
    """The notebook with the outputs of a kernel that works in ``folder``, with a store there."""
    notebook = cells()
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    own = {"PYTHONPATH": paths, "MFV_HOME": str(folder / ".mfv"), "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, **own})
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_time(output)]
    return notebook


def _is_time(output: NotebookNode) -> bool:
    return bool(_TIME.fullmatch(output.get("data", {}).get("text/plain", "")))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), NOTEBOOK)
    print(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
