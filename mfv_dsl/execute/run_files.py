"""The files of a run's folder, read in today's form, whichever version of mfv-dsl wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular
from mfv_dsl.base.texts import BadText, parse_json, read_json, read_text, reason
from mfv_dsl.execute.rows import RESULTS_FORMAT
from mfv_dsl.execute.run_folder import MANIFEST, RunFolder

RESULTS, PLAN, COST, SWEEP = "results.json", "plan.json", "cost.json", "sweep.json"
_AGAIN = "run the recipe again; its finished steps are kept"


def check_finished(folder: Path) -> None:
    """Raises MfvError (MFV6113) for a run that was stopped while it wrote its files."""
    if RunFolder(folder).is_unfinished():
        raise MfvError(
            "MFV6113", f"the run that wrote {folder} was stopped while it did", help=_AGAIN
        )


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs that a folder stands for: those of the variants of a sweep of which
    something came, of anything else itself."""
    if not (folder / SWEEP).is_file() or (folder / MANIFEST).exists():
        return [folder]
    try:
        variants = json_of(folder, SWEEP)["variants"]
        return [folder / str(one["folder"]) for one in variants if one["error"] is None]
    except (KeyError, TypeError) as error:
        raise unknown_form(folder, repr(error)) from None


def metrics_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """What each eval of a run, or of a sweep, reports."""
    try:
        if (folder / SWEEP).is_file() and not (folder / PLAN).exists():
            own = json_of(folder, SWEEP)["metrics"]
        else:
            own = {row["eval"]: row["metrics"] for row in json_of(folder, PLAN)["rows"]}
        return {name: tuple(metrics) for name, metrics in own.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise unknown_form(folder, repr(error)) from None


def results_of(folder: Path) -> dict[str, Any]:
    """The data of a run's ``results.json`` in today's form.  Raises MfvError: MFV6113 for a folder
    without, MFV6114 for one that a newer version wrote in another form."""
    check_finished(folder)
    data = json_of(folder, RESULTS)
    if not isinstance(data, dict) or not isinstance(data.get("rows"), list):
        raise unknown_form(folder, "it has no rows")
    form = data.get("format", 1)
    if not isinstance(form, int) or form > RESULTS_FORMAT:
        manifest = json_of(folder, MANIFEST)
        name = manifest.get("mfv_version") if isinstance(manifest, dict) else None
        raise MfvError(
            "MFV6114", f"{folder} holds a run of a newer version, "
            f"{name or 'which it does not name'}",
            help="pip install --upgrade mfv-dsl",
        )  # fmt: skip
    if "format" not in data:
        data = {**data, "rows": [_of_today(row) for row in data["rows"]]}
    return data


def _of_today(row: Any) -> Any:
    """A row of a file that calls all relations together ``all``, and answers of none ``other``."""
    if not isinstance(row, dict):
        return row
    if "answers" in row:
        answers = dict(row["answers"])
        return {**row, "answers_other": answers.pop("other", None), "answers": answers}
    return {**row, "relation": None} if row.get("relation") == "all" else row


def unknown_form(folder: Path, why: object) -> MfvError:
    """The error of a file whose contents are not as a run writes them."""
    return MfvError(
        "MFV6113", f"the results in {folder} are not of a form that is known: {why}", help=_AGAIN
    )


def json_of(folder: Path, name: str) -> Any:
    """The data of a JSON file in a folder.  Raises MfvError (MFV6113) where it cannot be read."""
    try:
        return read_json(folder / name, finite=False)  # an interval may be infinite
    except (OSError, BadText) as error:
        how = "`mfv cost --out FOLDER`" if name == COST else "`mfv run --out FOLDER`"
        raise MfvError(
            "MFV6113", f"cannot read {folder / name}: {reason(error)}",
            help=f"name a folder that {how} has written",
        ) from None  # fmt: skip


def csv_of(folder: Path, name: str) -> str | None:
    """The text of a CSV file in a folder, None where it is not there.  Raises MfvError (MFV6113)
    where it cannot be read."""
    try:
        return read_text(folder / name)
    except FileNotFoundError:
        return None
    except (OSError, BadText) as error:
        raise MfvError(
            "MFV6113", f"cannot read {folder / name}: {reason(error)}", help=_AGAIN
        ) from None


def effect_of(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file of effects says, and its arrays by layer and head."""
    from safetensors import SafetensorError, safe_open  # takes long, and most need none of it

    try:
        open_regular(file).close()  # the library would wait for a pipe
        with safe_open(file, framework="numpy") as stored:
            said = parse_json(stored.metadata()["mfv"])
            names = [name for name in stored.keys() if name not in ("cie", "p_corrupted")]  # noqa: SIM118
            return said, {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise MfvError("MFV6113", f"cannot read {file}: {error}", help=_AGAIN) from None


def effects_in(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What every file of effects under ``aie/`` says of itself, with its arrays (layers, heads)."""
    return [effect_of(file) for file in sorted((folder / "aie").glob("*.safetensors"))]
