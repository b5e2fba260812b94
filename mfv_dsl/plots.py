"""Figures and data frames of runs, out of their folders: ``result.plot.aie()``,
``open_run("runs/quickstart").to_pandas("choices")``.

Pictures are drawn by :mod:`mfv_dsl.report.figures`; what is drawn is what the CSV files of a run's
folder hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.arguments import ArgumentError, shown, texts
from mfv_dsl.base.arguments import path as as_path
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.short import kind_of, short
from mfv_dsl.execute.records import run_names
from mfv_dsl.execute.run_tables import RunTables

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.figure import Figure

    from mfv_dsl.base.table_text import TextTable
    from mfv_dsl.report.effects import Effects

    Drawn = tuple[Figure, np.ndarray[Any, Any]]

Names = Sequence[str] | str
Where = Mapping[str, Names]


class Plots:
    """Figures of one run, or of several together, whose lines then have a column ``run``.  Each
    method gives ``(figure, axes)``, which are matplotlib's; ``figure.savefig("f.pdf")``, or
    :meth:`save` for files that are the same each time."""

    def __init__(self, runs: Sequence[RunTables]) -> None:
        self._runs = list(zip(run_names([run.folder for run in runs]), runs, strict=True))

    def __repr__(self) -> str:
        folders = ", ".join(short(run.folder) for _, run in self._runs)
        return f"{kind_of(self)}({folders}: {', '.join(self.kinds)})"

    @property
    def kinds(self) -> list[str]:
        """The kinds of figures that there are, the first of which is drawn if none is named."""
        from mfv_dsl.report.figures.kinds import KINDS

        return [name for name, kind in KINDS.items() if not kind.lacks(self._rows(kind.table))]

    def draw(
        self,
        kind: str | None = None,
        *,
        eval: Names = (),
        relation: Names = (),
        where: Where | None = None,
        x: str | None = None,
        value: str | None = None,
        width: float | str = "column",
    ) -> Drawn:
        """A figure of a kind; the first of :attr:`kinds` if left out.

        Args:
            kind: ``accuracy``, ``evals``, ``aie``, ``tuning``, ``choices``, ``confusion``,
                ``similarity`` or ``norms``.
            eval: Evals that are shown; all if left out.
            relation: Relations that are shown; ``all`` is all together, of heads ``mean`` the mean.
            where: By column of the table what is shown; ``*`` stands for anything.
            x: What runs along.
            value: What runs up.
            width: Inches, a length such as ``84mm``, ``column`` (3.3in) or ``page`` (6.9in).

        Raises:
            MfvError: MFV6113 for a folder that is no finished run's, MFV6114 for one of a newer
                version; MFV6130 for a kind that is unknown or that the run does not have; MFV6131
                for what no line has; MFV6132 for more than a figure can hold; MFV5356 for a width
                that is no length.
        """
        from mfv_dsl.report.figures.kinds import Wish, kind_named
        from mfv_dsl.report.figures.style import inches

        if where is not None and not isinstance(where, Mapping):
            raise ArgumentError(f"where has to be a dictionary, and this is {shown(where)}")
        chosen = {column: texts(names, "where") for column, names in (where or {}).items()}
        wish = Wish(
            texts(eval, "eval"), texts(relation, "relation"), chosen, x, value, inches(width)
        )
        if kind is None:
            kind = next(iter(self.kinds), None)
            if kind is None:
                raise MfvError("MFV6130", "the run has nothing that could be drawn")
        wanted = kind_named(kind)
        try:
            return wanted.figure(self._rows(wanted.table), wish)
        except MfvError as error:
            if error.code == "MFV6130" and error.help is None:
                there = ", ".join(self.kinds) or "none"
                raise MfvError("MFV6130", error.message, help=f"there are: {there}") from None
            raise

    def accuracy(self, x: str | None = None, value: str = "accuracy", **options: Any) -> Drawn:
        """Accuracy, or ``difference``, ``p`` or ``vs_NAME``, against what evals sweep."""
        return self.draw("accuracy", x=x, value=value, **options)

    def evals(self, value: str | None = None, **options: Any) -> Drawn:
        """Bars of evals, and the paired difference of each from zero-shot or (``vs_NAME``) from
        another eval."""
        return self.draw("evals", value=value, **options)

    def aie(self, relation: Names = (), **options: Any) -> Drawn:
        """Effects of heads by layer and head, a heat map for each relation and for their mean."""
        return self.draw("aie", relation=relation, **options)

    def tuning(self, value: str | None = None, **options: Any) -> Drawn:
        """Training by epoch: ``accuracy,nll,norm``, ``loss``, ``off_task_kl``."""
        return self.draw("tuning", value=value, **options)

    def choices(self, x: str | None = None, value: str = "accuracy", **options: Any) -> Drawn:
        """What was tried to settle ``choose``; stars are what was chosen."""
        return self.draw("choices", x=x, value=value, **options)

    def confusion(self, **options: Any) -> Drawn:
        """What was answered for which relation."""
        return self.draw("confusion", **options)

    def similarity(self, **options: Any) -> Drawn:
        """Cosines of the run's vectors, like ones together."""
        return self.draw("similarity", **options)

    def norms(self, **options: Any) -> Drawn:
        """The length of what each layer's heads give to each vector."""
        return self.draw("norms", **options)

    @staticmethod
    def save(figure: Figure, path: str | Path) -> None:
        """Write a figure as .pdf, .svg or .png; the same figure gives the same bytes.  Raises
        MfvError (MFV5355) where it cannot be written."""
        from mfv_dsl.report.figures.saving import save_figure

        save_figure(figure, user_path(as_path(path, "path")))

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if len(self._runs) == 1:
            return self._runs[0][1].lines(table)
        return [{"run": name, **line} for name, run in self._runs for line in run.lines(table)]


class RunViews:
    """What can be looked at of the run in a folder."""

    folder: Path

    def _tables(self) -> RunTables:
        return RunTables(self.folder)

    @property
    def plot(self) -> Plots:
        """Its figures: ``result.plot.aie()``, ``result.plot.accuracy(x="layer")``."""
        return Plots([self._tables()])

    @property
    def effects(self) -> Effects:
        """The scores of all heads on all relations, an array (layers, heads, relations) with names.
        Raises MfvError (MFV6130) where no heads were ranked or in several ways, which
        ``to_pandas("heads")`` has all."""
        from mfv_dsl.report.effects import effects_of

        found = effects_of(self._tables().lines("heads"))
        if len(found) != 1:
            ways = ", ".join(found)
            what = f"in several ways: {ways}" if found else "in no way"
            raise MfvError(
                "MFV6130", f"the run ranked heads {what}",
                help='`to_pandas("heads")` has the lines of all',
            )  # fmt: skip
        return next(iter(found.values()))

    def to_pandas(self, table: str = "rows") -> pandas.DataFrame:
        """A table of the run as a data frame, with the columns and values of its CSV file:
        ``rows``, ``confusion``, ``choices``, ``numbers``, ``tunes``, ``weights``, ``items``,
        ``heads``, ``epochs``, ``norms`` or ``similarity``.

        Raises:
            MfvError: MFV6133 for another name, MFV6134 where pandas is not installed, MFV6113 for a
                folder that is no finished run's.
        """
        from mfv_dsl.report.frames import data_frame

        tables = self._tables()
        return data_frame(tables.lines(table), tables.columns(table))


class Run(RunViews):
    """A run that is done, as its folder has it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = user_path(as_path(folder, "folder"))
        self._read = RunTables(self.folder)
        _ = self._read.results

    def _tables(self) -> RunTables:
        return self._read

    def __repr__(self) -> str:
        return f"{kind_of(self)}({short(self.folder)})"

    def _repr_html_(self) -> str:
        from mfv_dsl.execute.rows import Results
        from mfv_dsl.execute.run_files import metrics_of
        from mfv_dsl.report.html.results import run_html

        results = Results.of_json(self._read.results)
        return run_html(self.folder, results, metrics_of(self.folder))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of ``results.csv``."""
        return self._read.lines("rows")

    def table(
        self,
        rows: Names | None = None,
        cols: Names | None = None,
        value: Names | None = None,
        **options: Any,
    ) -> TextTable:
        """The results as a table of rows and columns; see
        :func:`mfv_dsl.execute.records.table`."""
        from mfv_dsl.execute.records import table

        return table([self.folder], rows, cols, value, **options)


def open_run(folder: str | Path) -> Run:
    """The run in a folder that ``mfv run`` wrote, or all variants of a sweep together in that of
    ``mfv sweep``, to be looked at: tables, figures and data frames.

    Args:
        folder: Such as ``runs/quickstart``.

    Raises:
        MfvError: MFV6113 where the folder is no run's, or the run was stopped while it wrote it;
            MFV6114 where a newer version wrote it.
    """
    return Run(folder)
