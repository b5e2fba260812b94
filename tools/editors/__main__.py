"""Write the editors' files that are made of the registry; ``--check`` says what would change.

python -m tools.editors
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mfv_dsl.base.files import write_atomically
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lsp.forms import item_snippet
from tools.editors.textmate import grammar
from tools.editors.vim import emacs, syntax

EDITORS = Path(__file__).parents[2] / "editors"


def snippets() -> dict[str, Any]:
    """The forms of items, as VS Code has them."""
    return {
        entry.name: {
            "prefix": entry.name,
            "body": item_snippet(entry).split("\n"),
            "description": entry.doc,
        }
        for entry in ITEM.values()
    }


def files() -> dict[Path, str]:
    """Every file with what it must hold."""
    return {
        EDITORS / "vscode" / "syntaxes" / "mfv.tmLanguage.json": _json(grammar()),
        EDITORS / "vscode" / "snippets" / "mfv.json": _json(snippets()),
        EDITORS / "neovim" / "syntax" / "mfv.vim": syntax(),
        EDITORS / "emacs" / "mfv-mode.el": emacs(),
        EDITORS / "vscode" / "LICENSE": (EDITORS.parent / "LICENSE").read_text(encoding="utf-8"),
    }


def _json(tree: Any) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write what is not as it must be."""
    changed = [
        (path, text) for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]  # fmt: skip
    for path, text in changed:
        print(path.relative_to(EDITORS.parent))
        if "--check" not in sys.argv:
            write_atomically(path, text.encode())
    sys.exit(1 if changed and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
