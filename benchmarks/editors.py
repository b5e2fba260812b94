"""What an editor waits for after a keystroke, and how the check grows with a recipe.

    python benchmarks/editors.py [--lines 1000] [--rounds 9] [--longest 100000] [--json]

After a keystroke in the middle of a recipe, the server has what is wrong once the text is parsed
and checked; pieces that did not change are not parsed again.  That is timed in turns with a check
of the whole text as ``mfv check`` does it.  Times are CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks import front_end
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.parser import parse
from mfv_dsl.lsp.analysis import KnownFacts, analyse
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.hover import hover
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.lsp.reparse import Reparser


def recipe(lines: int) -> str:
    """The recipe of ``front_end.py`` with another number of lines."""
    front_end.LINES = lines
    return front_end.recipe()


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of CPU time."""
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


def keystrokes(lines: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each answer, in turns."""
    text, facts, reparser = recipe(lines), KnownFacts(), Reparser()
    at = text.index("\neval raw_", len(text) // 2) + 1
    known = analyse(text, "a.mfv", facts, reparser)
    value = text.index("fv(each)", at) + 2
    times: dict[str, list[float]] = {}
    gc.freeze()
    for number in range(rounds):
        typed = f"{text[:at]}# {'x' * number}\n{text[at:]}"
        work = {
            "whole": lambda t=typed: check_source(Source(f"{t}# whole\n"), facts),
            "keystroke": lambda t=typed: analyse(t, "a.mfv", facts, reparser),
            "completion": lambda: complete(known, Lines(text), value),
            "hover": lambda: hover(known, Lines(text), value),
        }
        for name, one in work.items():
            times.setdefault(name, []).append(timed(one))
    return times


def growth(longest: int) -> dict[int, float]:
    """Milliseconds of a check per 1,000 lines, by the number of lines."""
    rates = {}
    for lines in (1_000, 10_000, 100_000):
        if lines <= longest:
            source = Source(recipe(lines))
            parse.cache_clear()
            result = check_source(source)
            assert result.checked is not None, result.diagnostics
            del result
            parse.cache_clear()
            rates[lines] = timed(lambda s=source: check_source(s)) * 1000 / lines
    return rates


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--lines", type=int, default=1000, help="of the recipe typed in")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument(
        "--longest", type=int, default=100_000, help="lines of the longest check"
    )
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args()
    sys.modules["interegular"] = None  # type: ignore[assignment]  # of the tests; slows Lark down
    times, rates = keystrokes(options.lines, options.rounds), growth(options.longest)
    if options.json:
        print(json.dumps({"milliseconds": times, "per_1000_lines": rates}))
        return
    labels = {
        "whole": f"a check of all {options.lines:,} lines", "keystroke": "after a keystroke",
        "completion": "completion", "hover": "hover",
    }  # fmt: skip
    for name, label in labels.items():
        low, middle, high = min(times[name]), statistics.median(times[name]), max(times[name])
        print(f"{label:26} {middle:7.1f} ms ({low:.1f} to {high:.1f})")
    ratios = [a / b for a, b in zip(times["whole"], times["keystroke"], strict=True)]
    print(f"{'whole / keystroke':26} {statistics.median(ratios):7.2f}")
    for lines, rate in rates.items():
        print(f"{f'check of {lines:,} lines':26} {rate:7.1f} ms per 1,000 lines")


if __name__ == "__main__":
    main()
