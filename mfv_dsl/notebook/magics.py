"""``%%mfv``, a cell that is a recipe, and ``%mfv``, what one looks up."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import display

from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import suggest
from mfv_dsl.notebook.cells import perform, tell
from mfv_dsl.notebook.options import parser, read_options

#: What ``%mfv`` takes.
LOOKED_UP = {"reference": "%mfv reference WORD", "explain": "%mfv explain CODE"}


@magics_class
class MfvMagics(Magics):
    """The magics of mfv-dsl."""

    @no_var_expand  # braces are the language's own
    @line_cell_magic
    def mfv(self, line: str, cell: str | None = None) -> Any:
        try:
            if cell is None:
                return look_up(line)
            if "--help" in line.split() or "-h" in line.split():
                print(parser().format_help())
                return None
            options = read_options(line, self.shell.user_ns)
            value = perform(cell, options)
        except MfvError as error:
            tell(error)
            raise
        if options.name is not None:
            self.shell.push({options.name: value})
        return None if options.quiet or options.ask == "check" else value

    mfv.__doc__ = parser().format_help()


def look_up(line: str) -> None:
    """Show what ``%mfv reference WORD`` or ``%mfv explain CODE`` asks for."""
    what, _, word = line.strip().partition(" ")
    if what in ("", "help", "--help", "-h"):
        print(parser().format_help())
    elif what == "reference":
        from mfv_dsl.lang.reference import reference

        _show(reference, word.strip() or None, "the language has no word {}")
    elif what == "explain":
        from mfv_dsl.lang.codes import explain

        code = word.strip().upper()
        name = f"MFV{code}" if code.isdecimal() else code
        _show(explain, name, "there is no error code {}")
    else:
        near = suggest(what, LOOKED_UP)
        help = f"did you mean `{LOOKED_UP[near]}`?" if near else " or ".join(LOOKED_UP.values())
        raise ArgumentError(f"%mfv looks up nothing by {what!r}; a recipe is a cell, %%mfv", help)


def _show(find: Any, word: str | None, missing: str) -> None:
    """A text about a word; an error with the nearest word where there is none."""
    try:
        text = find(word)
    except KeyError as error:
        near = error.args[0]
        help = f"did you mean `{near}`?" if near else None
        raise ArgumentError(missing.format(f"`{word}`"), help) from None
    display({"text/plain": text, "text/markdown": text}, raw=True)
