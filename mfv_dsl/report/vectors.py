"""Stored vectors as tables and trees, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mfv_dsl.base.numbers import percent

Row = Mapping[str, Any]


def library_table(rows: Iterable[Row]) -> Table:
    """Vectors as ``mfv vectors list`` gives them: a row each, an unreadable one in words."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("vector", "kind", "relation", "what it is", "model", "layer", "heads", "content"):
        table.add_column(name, no_wrap=name in ("vector", "content"))
    for row in rows:
        if "error" in row:
            table.add_row(*map(_text, (row["vector"], "unreadable", "", row["error"])))
            continue
        shown = ("vector", "kind", "relation", "expression", "model", "layer", "heads")
        cells = ["" if row[name] is None else row[name] for name in shown]
        table.add_row(*map(_text, (*cells, row["content_sha256"][:12])))
    return table


def verify_table(rows: Iterable[Row]) -> Table:
    """What is wrong with each file, or that nothing is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(_text(row["file"]), _text(row["error"] or "ok"))
    return table


def uploads_table(files: Iterable[Row]) -> Table:
    """Files with their sizes and hashes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", no_wrap=True)
    table.add_column("bytes", justify="right")
    table.add_column("sha256", no_wrap=True)
    for row in files:
        table.add_row(_text(row["file"]), f"{row['bytes']:,}", row["sha256"])
    return table


def provenance_tree(said: Mapping[str, Any]) -> Tree:
    """A vector's metadata: what it is, what it was made of down to the prompts, how well it did."""
    model = said["model"]
    tree = Tree(_text(f"{said['name']}: {said['kind']}", "bold"))
    tree.add(_text(said["expression"] or "no expression"))
    shape = f"{model['n_layers']} layers, " if "n_layers" in model else ""
    tree.add(
        _text(
            f"model {model.get('id', 'without a name')}: {shape}d = {model['d_model']}, "
            f"fingerprint {model['fingerprint'][:12]}"
        )
    )
    layer = f", layer {said['layer']}" if "layer" in said else ""
    tree.add(_text(f"written to {said['site']}{layer}; bias {said['bias']}"))
    _origin(tree, said)
    if said.get("metrics"):
        branch = tree.add("results")
        for row in said["metrics"]:
            branch.add(_text(_metric(row)))
    licence = f", licence {said['license']}" if "license" in said else ""
    tree.add(_text(f"created {said['created']}{licence}"))
    tree.add(_text(f"content {said['content_sha256']}"))
    own = [key for key in said if key.startswith("x_")]
    for key in own:
        tree.add(_text(f"{key}: {said[key]}"))
    return tree


def difference_table(found: Mapping[str, Any], names: tuple[str, str]) -> Table:
    """What :func:`mfv_dsl.library.compare.compare` found."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", *names):
        table.add_column(name)
    table.add_row("length", *(f"{norm:.6g}" for norm in found["norms"]))
    for key, (mine, theirs) in found["metadata"].items():
        table.add_row(_text(key), *(_text(_short(value)) for value in (mine, theirs)))
    return table


def _origin(tree: Tree, said: Mapping[str, Any]) -> None:
    """What the vector, or a parent of it, was made of."""
    if "source" in said:
        mismatch = ", allowed to mismatch" if said.get("allow_mismatch") else ""
        tree.add(_text(f"from {said['source']}{mismatch}"))
    if "relation" in said:
        tree.add(_text(f"relation {said['relation']}"))
    if "heads" in said:
        branch = tree.add(_text(f"heads {said['heads']['chosen']}"))
        for layer, cells in _by_layer(said["heads"]["list"]).items():
            branch.add(_text(f"layer {layer}: {', '.join(cells)}"))
    if "prompt" in said:
        tree.add(_text(_prompts(said["prompt"], said.get("dataset", {}), said.get("seed"))))
    if "tuning" in said:
        shown = ", ".join(f"{key} {value}" for key, value in said["tuning"].items())
        tree.add(_text(f"tuned: {shown}"))
    if said.get("parents"):
        branch = tree.add("made of")
        for parent in said["parents"]:
            factor = parent["coefficient"]
            times = "" if factor is None else f"{factor:g} × "
            _origin(branch.add(_text(f"{times}{parent['name']} ({parent['hash'][:12]})")), parent)


def _by_layer(heads: Iterable[tuple[int, int, float | None]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for layer, head, score in sorted(heads, key=lambda one: one[:2]):
        said = f"H{head}" if score is None else f"H{head} {score:+.3f}"
        found.setdefault(layer, []).append(said)
    return found


def _prompts(prompt: Mapping[str, Any], dataset: Mapping[str, Any], seed: int | None) -> str:
    parts = [f"prompts of {dataset['id']}" if "id" in dataset else "prompts"]
    parts += [f"{prompt[key]} {key}" for key in ("shots", "trials") if key in prompt]
    if "correct" in prompt:
        share = f" ({100 * prompt['accuracy']:.0f} %)" if "accuracy" in prompt else ""
        parts.append(f"{prompt['correct']} correct{share}")
    parts += [f"{key} {prompt[key]}" for key in ("corrupt", "split") if key in prompt]
    return ", ".join([*parts, *([] if seed is None else [f"seed {seed}"])])


def _metric(row: Mapping[str, Any]) -> str:
    where = ", ".join(
        f"{key} {row[key]}"
        for key in ("relation", "shots", "layer", "scale")
        if row.get(key) is not None
    )
    try:
        share = f"{percent(row['accuracy'], row['ci_low'], row['ci_high'])} % correct"
    except (KeyError, TypeError, ValueError):
        share = "no accuracy"
    return f"{row.get('eval', 'eval')}: {where}: {share}, n {row.get('n', '?')}"


def _short(value: Any) -> str:
    """A value of the metadata in one cell; ``--json`` has it whole."""
    shown = "" if value is None else str(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _text(value: Any, style: str = "") -> Text:
    """``value`` as it stands, without markup and control characters: files may say anything."""
    return Text(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)),
        style=style,
    )
