"""The command line.  Commands hold no logic of their own, and torch is imported by none of them
before it is needed."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: what was asked for on the command line is not there
USAGE = (
    "MFV5003",
    "MFV5350",
    "MFV5355",
    "MFV5356",
    "MFV5390",
    "MFV5391",
    "MFV5410",
    "MFV5414",
    "MFV5640",
    "MFV5641",
    "MFV5642",
    "MFV5643",
    "MFV5644",
    "MFV5645",
    "MFV5678",
    "MFV5690",
    "MFV5691",
    "MFV5692",
    "MFV6014",
    "MFV6015",
    "MFV6070",
    "MFV6071",
    "MFV6072",
    "MFV6101",
    "MFV6102",
    "MFV6110",
    "MFV6111",
    "MFV6112",
    "MFV6113",
    "MFV6114",
    "MFV6115",
    "MFV6121",
    "MFV6130",
    "MFV6131",
    "MFV6132",
    "MFV6122",
    "MFV7108",
    "MFV7109",
)


def main() -> None:
    """Run ``mfv``; exit codes: 0 ok, 1 recipe errors, 2 usage, 3 run failed, 4 some of what a run
    measured failed, 128 and the signal's number where one ended it (130 for Ctrl-C)."""
    from mfv_dsl.cli.interruption import Interrupted, show_interruption, signals_raise

    try:
        with signals_raise() as received:
            _run(received)
    except Interrupted as end:
        if not end.is_usual:
            show_interruption(end, sys.argv[1:])
        sys.exit(end.exit_code)


def _run(received: list[str]) -> None:
    from mfv_dsl.base.disk import disk_error, is_disk_error
    from mfv_dsl.base.errors import MfvError, RecipeError
    from mfv_dsl.cli.interruption import Interrupted
    from mfv_dsl.cli.output import show_error

    try:
        try:
            from mfv_dsl.cli.app import app_for

            with _plain_warnings():
                app_for(sys.argv[1:])()
        except (Exception, SystemExit):
            if received:  # a library, while it was loaded, made another error of it
                raise Interrupted(received[0]) from None
            raise
    except RecipeError as error:
        show_error(error)
        sys.exit(1)
    except MfvError as error:
        show_error(error)
        sys.exit(2 if error.code in USAGE else 3)
    except Exception as error:
        if "MFV_DEBUG" in os.environ:
            raise
        if isinstance(error, OSError) and is_disk_error(error):
            named = disk_error(error, _unwritable_output(error))
            show_error(named)
            sys.exit(2 if named.code in USAGE else 3)
        what = f"{type(error).__name__}: {error}"
        help = "this should not happen: please report it, with what MFV_DEBUG=1 shows"
        show_error(MfvError("MFV5900", f"the run failed with {what}", help=help))
        sys.exit(3)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Our own warnings on one line of stderr, without the line of code that they come from."""
    with warnings.catch_warnings():
        usual, own = warnings.showwarning, os.path.dirname(os.path.dirname(__file__))

        def show(message: Warning | str, *where: Any) -> None:
            if isinstance(message, UserWarning) and str(where[1]).startswith(own):
                print(f"warning: {message}", file=sys.stderr)
            else:
                usual(message, *where)

        warnings.showwarning = show
        yield


def _unwritable_output(error: OSError) -> str | None:
    """``standard output`` where that is what cannot be written: it alone has no name."""
    from mfv_dsl.cli.interruption import drop_output

    if error.filename is not None or sys.stdout.isatty():
        return None
    drop_output()
    return "standard output"
