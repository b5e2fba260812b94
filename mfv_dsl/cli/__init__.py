"""The command line.  Commands hold no logic of their own, and torch is imported by none of them
before it is needed."""

from __future__ import annotations

import os
import sys

#: what was asked for on the command line is not there
USAGE = (
    "MFV5003",
    "MFV5350",
    "MFV5355",
    "MFV6014",
    "MFV6015",
    "MFV6101",
    "MFV6102",
    "MFV6110",
    "MFV6111",
    "MFV6112",
    "MFV6113",
    "MFV7108",
    "MFV7109",
)


def main() -> None:
    """Run ``mfv``; exit codes: 0 ok, 1 recipe errors, 2 usage, 3 run failed, 4 some of what a run
    measured came out as no numbers."""
    from mfv_dsl.base.errors import MfvError, RecipeError
    from mfv_dsl.cli.app import app
    from mfv_dsl.cli.output import show_error

    try:
        app()
    except RecipeError as error:
        show_error(error)
        sys.exit(1)
    except MfvError as error:
        show_error(error)
        sys.exit(2 if error.code in USAGE else 3)
    except KeyboardInterrupt:
        print("interrupted; finished steps are kept, run again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "MFV_DEBUG" in os.environ:
            raise
        what = f"{type(error).__name__}: {error}"
        help = "this should not happen: please report it, with what MFV_DEBUG=1 shows"
        show_error(MfvError("MFV5900", f"the run failed with {what}", help=help))
        sys.exit(3)
