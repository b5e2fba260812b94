"""Reports: runs as a page for a browser, made of what their folders hold."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mfv_dsl.base.arguments import ArgumentError, shown, whole
from mfv_dsl.base.arguments import path as path_text
from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular, write_atomically
from mfv_dsl.execute.recorded_run import RecordedRun, read_runs
from mfv_dsl.execute.run_comparison import compare_runs
from mfv_dsl.execute.run_files import runs_in
from mfv_dsl.execute.run_folder import REPORT, RunFolder
from mfv_dsl.execute.settings import Listener, Silence
from mfv_dsl.version import __version__

#: How many items a report shows if nothing else is said.
ITEMS = 400
_HEAD = 4096  # bytes in which a report says what made it


def report(
    folders: Sequence[Path | str],
    out: Path | str | None = None,
    items: int | None = ITEMS,
    listener: Listener | None = None,
) -> Path:
    """Make the report of one or several runs: one file that a browser shows without a network.

    Args:
        folders: The folders of runs, at least one; that of a sweep stands for all of its variants.
        out: The file; by default ``report.html`` in the folder of a single run, and in the current
            folder for several.
        items: How many items are shown with their pictures, None for all.
        listener: Who is told how many of the pictures are made.

    Returns:
        The file.

    Raises:
        MfvError: MFV5391 where plotly or jinja2 is missing; MFV6113 for a folder without a finished
            run, MFV6114 for a run of a newer version; MFV6115 for a file in its place that no
            report is; MFV6120 to MFV6124 where the disk does not let it be written.
    """
    paths = [Path(path_text(folder, "the folder of a run")) for folder in folders]
    if not paths:
        raise ArgumentError("a report needs the folder of a run, and there is none")
    if items is not None:
        items = whole(items, "items", least=0)
    if len({path.resolve() for path in paths}) < len(paths):
        raise ArgumentError(f"a folder is named twice: {', '.join(map(shown, map(str, paths)))}")
    plotly = _plotly()
    own = out is None and len(paths) == 1
    file = paths[0] / REPORT if own else Path(REPORT if out is None else path_text(out, "out"))
    paths = [run for path in paths for run in runs_in(path)]
    runs = list(map(_with_items, read_runs(paths)))
    with disk_trouble():
        _check(file)
        write_atomically(file, _page(runs, items, file, plotly(), listener or Silence()).encode())
        for path in paths:
            if file.resolve() == (path / REPORT).resolve():
                RunFolder(path).add_report()
    return file


def _with_items(run: RecordedRun) -> RecordedRun:
    """The run; where an earlier version wrote its folder, with the items that the store still has
    of it."""
    if run.items is not None:
        return run
    from mfv_dsl.execute.stored_items import stored_items

    with suppress(KeyError, TypeError, ValueError):
        return replace(run, items=stored_items(run.plan) or None)
    return run


def check_ready(folder: Path) -> None:
    """Refuse, before a run, what would keep its report in ``folder`` from being written after it.
    Raises MfvError: MFV5391 and MFV6115, as :func:`report`."""
    _plotly()
    _check(folder / REPORT)


def open_in_browser(file: Path) -> None:
    """Show a report in the user's browser."""
    webbrowser.open(file.resolve().as_uri())


def _plotly() -> Callable[[], str]:
    """What gives the source of plotly.js; MFV5391 where something that reports need is missing."""
    try:
        import jinja2  # noqa: F401
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("plotly", "jinja2"):
            raise
        raise MfvError(
            "MFV5391", f"reports need the package {error.name}",
            help="pip install 'mfv-dsl[report]'",
        ) from None  # fmt: skip
    source: Callable[[], str] = get_plotlyjs
    return source


def _check(file: Path) -> None:
    """Refuse (MFV6115) to write over what is no report."""
    from mfv_dsl.report.page.render import GENERATOR

    with suppress(FileNotFoundError):
        try:
            with open_regular(file) as there:
                head = there.read(_HEAD)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _in_the_way(file, error.strerror or str(error)) from None
        if f'<meta name="generator" content="{GENERATOR} '.encode() not in head:
            raise _in_the_way(file, "it is no report of mfv-dsl")


def _in_the_way(file: Path, reason: str) -> MfvError:
    return MfvError(
        "MFV6115", f"cannot write the report {file}: {reason}",
        help="name another file by --out (out= in Python), or move it away",
    )  # fmt: skip


def _page(
    runs: Sequence[RecordedRun], items: int | None, file: Path, plotly: str, listener: Listener
) -> str:
    """The report's text."""
    from mfv_dsl.report.page.comparison import (
        comparison_figures,
        comparison_notes,
        comparison_tables,
    )
    from mfv_dsl.report.page.item_sample import all_items, counts, outcomes_table, sampled
    from mfv_dsl.report.page.page_data import items_data
    from mfv_dsl.report.page.render import Page, page_html
    from mfv_dsl.report.page.run_parts import run_part
    from mfv_dsl.thumbnails import thumbnails

    measured = all_items(runs)
    kept = sampled(measured, items)
    pictures, places, notes = thumbnails(runs, kept, listener)
    if len(kept) < len(measured):
        notes = [
            f"This page has {len(kept):,} of the {len(measured):,} items under all conditions, as "
            "many of every eval, relation and outcome as there can be, drawn with a fixed seed; "
            "`--items all` shows all. The numbers beside the outcomes count all of them.",
            *notes,
        ]
    without = [run.name for run in runs if not run.items]
    if without:
        notes = [*notes, f"{', '.join(without)} has no items.csv, or nothing in it: the run "
                 "measured nothing, or an earlier version wrote it. Run the recipe again: its "
                 "finished steps are kept."]  # fmt: skip
    found = counts(measured)
    several = len(runs) > 1
    pairs = [(run, compare_runs(runs[0], run)) for run in runs[1:]]
    page = Page(
        " and ".join(run.name for run in runs),
        [run_part(run, file) for run in runs],
        comparison_tables(runs, pairs) if several else (),
        comparison_notes(runs, pairs) if several else (),
        comparison_figures(runs, pairs) if several else (),
        items_data(kept, found, places),
        outcomes_table(found, several) if measured else None,
        notes,
        pictures,
        f"Made by mfv-dsl {__version__}. The page is one file and asks nothing of any network.",
    )
    return page_html(page, __version__, plotly)
