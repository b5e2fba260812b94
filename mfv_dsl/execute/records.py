"""What a run's folder holds, as records that tables are made of.

A folder has results of several kinds: ``results`` (a record for every condition and relation),
``answers`` (also for every relation whose object was answered), ``choices`` (what was tried to
settle ``choose``), ``numbers`` (of reports), ``heads`` (the effect of every head), ``weights`` (of
the candidates of blends), ``tunes`` (trained vectors) and ``cost`` (what a vector costs elsewhere,
written by ``mfv cost``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfv_dsl.base.arguments import ArgumentError, shown, texts, whole
from mfv_dsl.base.columns import (
    CHOICE_FIELDS,
    MEAN,
    OFF_TASK_COLUMNS,
    cell,
    free_name,
    relations_in,
    verdict_text,
    with_names,
)
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.numbers import decimals, p_value, percent
from mfv_dsl.base.pivot import NONE, Label, Record, pivot
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.base.table_text import TextTable
from mfv_dsl.execute.layouts import layout
from mfv_dsl.execute.rankings import rankings
from mfv_dsl.execute.run_files import (
    COST,
    RESULTS,
    check_finished,
    json_of,
    results_of,
)
from mfv_dsl.execute.run_tables import RunTables
from mfv_dsl.execute.tables import TESTS

#: What tells the conditions of an eval apart, and how a condition says it.
_CONDITION = {"vector": "", "control": "", "shots": "shots ", "k": "k ", "layer": "layer ",
              "scale": "scale "}  # fmt: skip
_FIELDS = ("eval", "relation", *_CONDITION)
#: Where a row has the values of sweeps, each a field of its own here.
_AXES = "axes"


def table(
    folders: Sequence[Path | str],
    rows: Sequence[str] | str | None = None,
    cols: Sequence[str] | str | None = None,
    value: Sequence[str] | str | None = None,
    where: Mapping[str, Sequence[str] | str] | None = None,
    labels: Sequence[Label] | Mapping[str, str] = (),
    of: str | None = None,
    first: int | None = None,
    corner: str | None = None,
) -> TextTable:
    """A table of what runs gave.

    Args:
        folders: Folders of runs.
        rows: The fields that run down, by default those of the kind, such as ``condition`` of
            results, ``head`` and ``tune``, behind what else tells its records apart.
        cols: The fields that run across, by default ``relation``, of answers ``answered`` and of
            costs ``what``.
        value: What stands in the cells, by default the first that there is: ``accuracy`` of
            results.
        where: By field what is kept; ``*`` stands for anything.
        labels: Other names, as :class:`~mfv_dsl.base.pivot.Label` or as ``{"raw": "raw vector"}``;
            ``"eval.raw"`` is for the field ``eval`` alone.
        of: Which kind of results, by default the one that has the fields.
        first: How many rows are kept.
        corner: What stands over the rows' names.

    Raises:
        MfvError: MFV6110 to MFV6112 as :func:`~mfv_dsl.base.pivot.pivot`; MFV6113 for a folder
            without such results.
    """
    across, down = _listed(cols, "cols"), _listed(rows, "rows")
    values = _listed(value, "value")
    if where is not None and not isinstance(where, Mapping):
        raise ArgumentError(f"where has to be a dictionary, and this is {shown(where)}")
    wished = {field: texts(names, "where") for field, names in (where or {}).items()}
    if first is not None:
        first = whole(first, "first", least=1)
    kind = of or _kind([*down, *across, *wished], folders, values)
    if kind not in _READ:
        raise MfvError(
            "MFV6110", f"there are no results of the kind `{kind}`",
            help=did_you_mean(kind, _READ, f"there are: {', '.join(_READ)}"),
        )  # fmt: skip
    records = list(_records(kind, zip(run_names(folders), map(Path, folders), strict=True)))
    kept = {field: _values(field, names, records) for field, names in wished.items()}
    if isinstance(labels, Mapping):
        labels = [label_of(pattern, text) for pattern, text in labels.items()]
    if not records:
        raise MfvError(
            "MFV6113", f"there are no {kind} in {', '.join(map(str, folders))}",
            help=f"name another kind (`--of`): {', '.join(name for name in _READ if name != kind)}",
        )  # fmt: skip
    down, across = layout(kind, records, down, across, kept)
    values = values or [next(iter(records[0].values))]
    return pivot(records, down, across, values, kept, labels, first, corner)


def label_of(pattern: str, text: str) -> Label:
    """The label ``pattern``, or ``field.pattern`` for one field alone."""
    field, dot, rest = pattern.partition(".")
    if dot and field.isidentifier():
        return Label(rest, text, field)
    return Label(pattern, text)


def _listed(names: Sequence[str] | str | None, what: str) -> list[str]:
    """Names as a list; in one text they are separated by commas."""
    listed = () if names is None else texts(names, what)
    return [name.strip() for text in listed for name in text.split(",") if name.strip()]


def _values(field: str, names: Sequence[str], records: Sequence[Record]) -> list[str]:
    """What is kept of a field: names, or several in one text with commas between, unless a value
    has the commas."""
    there = {record.fields.get(field) for record in records}
    kept: list[str] = []
    for name in names:
        kept += [name] if name in there else _listed([name], "where")
    return kept


def _kind(fields: Sequence[str], folders: Sequence[Path | str], values: Sequence[str]) -> str:
    """The kind of results that has such fields."""
    telling = {"head": "heads", "number": "numbers", "answered": "answers",
               "candidate": "weights", "kind": "cost", "split": "choices", "chosen": "choices",
               "rank": "heads", "tune": "tunes", "variable": "tunes"}  # fmt: skip
    for field in (*fields, *values):
        if field in telling:
            return telling[field]
    if not any((Path(folder) / RESULTS).exists() for folder in folders):
        return "cost" if any((Path(folder) / COST).exists() for folder in folders) else "results"
    return "results"


def run_names(folders: Sequence[Path | str]) -> list[str]:
    """What the runs in folders are called: their folders' names, those of one name their paths."""
    paths = [Path(folder) for folder in folders]
    names = [path.name or path.resolve().name for path in paths]
    return [
        name if names.count(name) == 1 else path.as_posix()
        for name, path in zip(names, paths, strict=True)
    ]


def _records(kind: str, runs: Iterable[tuple[str, Path]]) -> Iterator[Record]:
    """The records of a kind in runs by name.  What all relations together are called is no
    relation's name in any of them."""
    read = [(name, folder, _data(kind, folder)) for name, folder in runs]
    relations = {name for *_, data in read if kind in _OF_ROWS for name in _relations(data)}
    for name, folder, data in read:
        try:
            if kind in _OF_ROWS:
                data = {**data, "rows": with_names(data["rows"], relations)}
            for record in _READ[kind](data):
                yield Record({**record.fields, "run": name}, record.values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MfvError(
                "MFV6113", f"the results in {folder} are not of a form that is known: {error!r}",
                help="run the recipe again; its finished steps are kept",
            ) from None  # fmt: skip


def _relations(data: Any) -> set[str]:
    """The relations in a file of results; none where it has another form, which is said later."""
    try:
        return relations_in(data["rows"])
    except (KeyError, TypeError, AttributeError):
        return set()


def _data(kind: str, folder: Path) -> Any:
    """What records of a kind are made of: the folder itself, or its file, in today's form."""
    if kind == "cost":
        return json_of(folder, COST)
    if kind == "heads":
        check_finished(folder)
        return folder
    return results_of(folder)


# -- results --------------------------------------------------------------------------------------
def _results(data: Mapping[str, Any]) -> Iterator[Record]:
    rows = data["rows"]
    swept = _swept(rows)
    for row in rows:
        if row.get("error"):
            failed = f"failed: {row['error']['code']}"
            yield Record(_fields(row, swept), {"accuracy": failed, "accuracy_alone": failed})
            continue
        values = {
            "accuracy": percent(row["accuracy"], row["ci_low"], row["ci_high"]),
            "accuracy_alone": f"{100 * row['accuracy']:.0f}",
            "difference": percent(
                row["difference"], row["difference_low"], row["difference_high"], "+"
            ),
            "p": f"{row['mean_p_answer']:.2f}",
            "n": str(row["n"]),
        }
        if "opened" in row:
            values["opened"] = f"{100 * row['opened']:.0f}"
        if "blind" in row:
            values["blind"] = f"{100 * row['blind']:.0f}"
        if "spread" in row:
            values["spread"] = f"{100 * row['spread']:.1f}"
        if off_task := row.get("off_task"):
            values |= {
                "off_task_kl": OFF_TASK_COLUMNS["off-task KL"][1].value(row),
                "off_task_accuracy": OFF_TASK_COLUMNS["off-task %"][1].value(row),
                "off_task_change": OFF_TASK_COLUMNS["off-task change"][1].value(row),
                "off_task_before": f"{100 * off_task['before']:.0f}",
                "off_task_n": str(off_task["n"]),
            }
        values |= {
            name: f"{100 * row[name]:.0f}" for name in CHOICE_FIELDS if row.get(name) is not None
        }
        for name, gain in row.get("against", {}).items():
            values |= dict(_tests(name, gain))
        for name, gain in row.get("against", {}).items():
            values[f"vs_{name}"] = percent(gain["difference"], gain["low"], gain["high"], "+")
        yield Record(_fields(row, swept), values)


def _tests(name: str, gain: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a comparison with the eval ``name`` says beside its interval, by name."""
    for test in TESTS:
        value = gain.get(test)
        if isinstance(value, bool):
            yield f"vs_{name}_{test}", verdict_text(value)
        elif value is not None:
            is_p = test not in ("family", "margin")
            yield f"vs_{name}_{test}", p_value(value) if is_p else cell(value)


def _answers(data: Mapping[str, Any]) -> Iterator[Record]:
    swept = _swept(data["rows"])
    for row in data["rows"]:
        for answered, share in row.get("answers", {}).items():
            values = {"share": f"{100 * share:.0f}", "n": str(row["n"])}
            yield Record({**_fields(row, swept), "answered": answered}, values)


def _choices(data: Mapping[str, Any]) -> Iterator[Record]:
    swept = _swept(data["choices"])
    for row in data["choices"]:
        if row.get("error"):
            continue
        values = {"accuracy": f"{100 * row['accuracy']:.0f}", "p": f"{row['mean_p_answer']:.2f}",
                  "n": str(row["n"])}  # fmt: skip
        fields = {"split": row["split"], "chosen": "yes" if row["chosen"] else "no"}
        yield Record(_fields(row, swept) | fields, values)


def _weights(data: Mapping[str, Any]) -> Iterator[Record]:
    swept = _swept(data["weights"])
    for row in data["weights"]:
        for weight in row["weights"]:
            fields = _fields(row, swept) | {"candidate": weight["vector"]}
            yield Record(fields, {"weight": f"{weight['weight']:.2f}"})


def _text(value: Any) -> str:
    return cell(value) or NONE


def _fields(row: Mapping[str, Any], swept: Mapping[str, Sequence[str]]) -> dict[str, str]:
    axes = row.get(_AXES, {})
    fields = {name: _text(row.get(name)) for name in _FIELDS}
    fields |= {"written": row["written"]} if row.get("written") else {}
    fields |= {name: _text(value) for name, value in axes.items()}
    said = [
        f"{_CONDITION.get(name, f'{name} ')}{fields[name]}"
        for name in swept[row["eval"]]
        if name in fields and (fields[name] != NONE or name not in ("vector", "control"))
    ]
    return fields | {"condition": ", ".join([fields["eval"], *said])}


def _swept(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By eval what has several values on one and the same relation."""
    swept: dict[str, dict[str, set[str]]] = {}
    axes = dict.fromkeys(name for row in rows for name in row.get(_AXES, ()))
    for row in rows:
        seen = swept.setdefault(row["eval"], {})
        for name in (*_CONDITION, *axes):
            value = row.get(_AXES, {}).get(name) if name in axes else row.get(name)
            seen.setdefault(f"{row['relation']} {name}", set()).add(_text(value))
    return {
        name: [
            field
            for field in (*_CONDITION, *axes)
            if any(len(texts) > 1 for key, texts in seen.items() if key.endswith(f" {field}"))
        ]
        for name, seen in swept.items()
    }


def _numbers(data: Mapping[str, Any]) -> Iterator[Record]:
    for row in data.get("numbers", ()):
        fields = {"number": row["number"], "relation": _text(row["relation"])}
        fields |= {name: _text(value) for name, value in row.get(_AXES, {}).items()}
        failed = row.get("error")
        yield Record(
            fields, {"value": f"failed: {failed}" if failed else decimals(row["value"], 3)}
        )


def _tunes(data: Mapping[str, Any]) -> Iterator[Record]:
    for row in data.get("tunes", ()):
        fields = {name: _text(row[name]) for name in ("tune", "relation", "variable", "layer")}
        fields |= {name: _text(value) for name, value in row.get(_AXES, {}).items()}
        yield Record(fields, {
            "accuracy": percent(row["accuracy"], row["ci_low"], row["ci_high"]),
            "start": f"{100 * row['start_accuracy']:.0f}",
            "nll": decimals(row["nll"], 3), "start_nll": decimals(row["start_nll"], 3),
            "norm": decimals(row["norm"], 2), "start_norm": decimals(row["start_norm"], 2),
            "chosen": str(row["chosen"]), "epochs": str(row["epochs"]), "n": str(row["n"]),
        })  # fmt: skip


# -- heads ----------------------------------------------------------------------------------------
def _heads(folder: Path) -> Iterator[Record]:
    """The effects of all heads, those with the largest mean first; where several relations were
    measured in one way, their mean is a record of its own."""
    measured = [line for line in RunTables(folder).lines("heads") if line["n"] is not None]
    if not measured:
        raise MfvError(
            "MFV6113", f"there are no effects of heads in {folder}",
            help="name the folder of a run that ranks heads by aie, as `mfv heads` does",
        )  # fmt: skip
    mean_name = free_name(MEAN, {line["relation"] for line in measured})
    for ranking in rankings(measured):
        of_head: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for line in ranking.lines:
            of_head.setdefault((line["layer"], line["head"]), []).append(line)
        means = {head: _mean_score(own) for head, own in of_head.items()}
        best = sorted(means, key=lambda head: (math.isnan(means[head]), -means[head]))
        for rank, (layer, head) in enumerate(best, 1):
            name = f"L{layer}H{head}"
            fields = {**ranking.apart, "head": name, "layer": str(layer), "rank": str(rank)}
            if len(ranking.relations) > 1:
                aie = decimals(means[layer, head], 3)
                yield Record(
                    fields | {"relation": mean_name}, {"aie": aie, "named": f"{name} {aie}"}
                )
            for line in of_head[layer, head]:
                aie = _with_interval(line)
                values = {"aie": aie, "named": f"{name} {aie}", "n": str(line["n"])}
                for test in ("p", "p_holm", "q_bh"):
                    if line.get(test) is not None:
                        values[test] = p_value(line[test])
                if line.get("accuracy_change") is not None:
                    values["accuracy_change"] = f"{100 * line['accuracy_change']:+.0f}"
                yield Record(fields | {"relation": line["relation"]}, values)


def _mean_score(lines: Sequence[Mapping[str, Any]]) -> float:
    """The mean of a head's effects over relations; NaN where one is not known."""
    scores = [math.nan if line["score"] is None else line["score"] for line in lines]
    return float(sum(scores) / len(scores))


def _with_interval(line: Mapping[str, Any]) -> str:
    score, low, high = (
        decimals(math.nan if line.get(name) is None else line[name], 3)
        for name in ("score", "low", "high")
    )
    return score if line.get("low") is None else f"{score} [{low}, {high}]"


# -- cost -----------------------------------------------------------------------------------------
def _cost(data: Mapping[str, Any]) -> Iterator[Record]:
    for row in data["rows"]:
        low, high = row["kl_interval"]
        upper = "∞" if high is None or math.isinf(high) else f"{high:.2f}"
        fields = {name: _text(row[name]) for name in ("vector", "layer", "scale", "kind")}
        fields |= {"what": row["doc"], "for": ", ".join(row["for"]) or NONE}
        yield Record(fields, {
            "change": percent(row["change"], *row["change_interval"], "+"),
            "without": percent(row["accuracy_before"], *row["before_interval"]),
            "with": percent(row["accuracy_after"], *row["after_interval"]),
            "kl": f"{row['kl']:.2f} [{low:.2f}, {upper}]",
            "n": str(row["n"]),
        })  # fmt: skip


_READ: Mapping[str, Any] = {
    "results": _results, "answers": _answers, "choices": _choices, "heads": _heads,
    "weights": _weights, "numbers": _numbers, "tunes": _tunes, "cost": _cost,
}  # fmt: skip
_OF_ROWS = ("results", "answers")
