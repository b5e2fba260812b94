"""Stored vectors as tables and trees, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mfv_dsl.base.columns import RESULT_COLUMNS
from mfv_dsl.report.grid import grid

Fields = Mapping[str, Any]  # a row by field name


def library_table(rows: Iterable[Fields]) -> Table:
    """Vectors as ``mfv vectors list`` gives them: a row each, an unreadable one in words."""
    titles = ("vector", "kind", "relation", "what it is", "model", "layer", "heads", "content")
    table = grid(dict.fromkeys(titles, "left"), wrap=titles[1:-1])
    for row in rows:
        if "error" in row:
            table.add_row(*map(_text, (row["vector"], "unreadable", "", row["error"])))
            continue
        names = ("vector", "kind", "relation", "expression", "model", "layer", "heads")
        cells = ["" if row[name] is None else row[name] for name in names]
        table.add_row(*map(_text, (*cells, row["content_sha256"][:12])))
    return table


def verify_table(rows: Iterable[Fields]) -> Table:
    """What is wrong with each file, or that nothing is."""
    table = grid({"file": "left", "error": "left"}, wrap=("file", "error"))
    table.show_header = False
    for row in rows:
        table.add_row(_text(row["file"]), _text(row["error"] or "ok"))
    return table


def uploads_table(files: Iterable[Fields]) -> Table:
    """Files with their sizes and hashes."""
    table = grid({"file": "left", "bytes": "right", "sha256": "left"}, wrap=("bytes",))
    for row in files:
        table.add_row(_text(row["file"]), f"{row['bytes']:,}", row["sha256"])
    return table


def provenance_tree(metadata: Mapping[str, Any]) -> Tree:
    """A vector's metadata: what it is, what it was made of down to the prompts, how well it did."""
    model = metadata["model"]
    tree = Tree(_text(f"{metadata['name']}: {metadata['kind']}", "bold"))
    tree.add(_text(metadata["expression"] or "no expression"))
    shape = f"{model['n_layers']} layers, " if "n_layers" in model else ""
    tree.add(
        _text(
            f"model {model.get('id', 'without a name')}: {shape}d = {model['d_model']}, "
            f"fingerprint {model['fingerprint'][:12]}"
        )
    )
    layer = f", layer {metadata['layer']}" if "layer" in metadata else ""
    where = _places(metadata["places"]) if "places" in metadata else metadata["site"] + layer
    tree.add(_text(f"written to {where}; bias {metadata['bias']}"))
    _origin(tree, metadata)
    if metadata.get("metrics"):
        branch = tree.add("results")
        for row in metadata["metrics"]:
            branch.add(_text(_metric(row)))
    licence = f", licence {metadata['license']}" if "license" in metadata else ""
    tree.add(_text(f"created {metadata['created']}{licence}"))
    tree.add(_text(f"content {metadata['content_sha256']}"))
    for key in [key for key in metadata if key.startswith("x_")]:
        tree.add(_text(f"{key}: {metadata[key]}"))
    return tree


def _places(places: Iterable[tuple[str, int]]) -> str:
    """The places of a vector's parts, by site."""
    layers: dict[str, list[str]] = {}
    for site, layer in places:
        layers.setdefault(site, []).append(str(layer))
    return "; ".join(f"{site}, layers {', '.join(own)}" for site, own in layers.items())


def difference_table(difference: Mapping[str, Any], names: tuple[str, str]) -> Table:
    """What :func:`mfv_dsl.library.compare.compare` gives of the vectors of these names."""
    table = grid({"": "left"}, wrap=("",))
    for name in names:
        table.add_column(name)
    table.add_row("length", *(f"{norm:.6g}" for norm in difference["norms"]))
    for key, (mine, theirs) in difference["metadata"].items():
        table.add_row(_text(key), *(_text(_short(value)) for value in (mine, theirs)))
    return table


def _origin(tree: Tree, metadata: Mapping[str, Any]) -> None:
    """Where the vector, or a parent of it, comes from, and what it was made of; of vectors that
    several were made of, this stands at the first."""
    ancestors, shown = metadata.get("ancestors", ()), set[int]()
    work: list[tuple[Tree, Mapping[str, Any]]] = [(tree, metadata)]
    while work:
        branch, vector = work.pop()
        _own_origin(branch, vector)
        made_of = branch.add("made of") if vector.get("parents") else branch
        parts = []
        for part in vector.get("parents", ()):
            number, factor = part if isinstance(part, list) else (None, part["coefficient"])
            number = part.get("ancestor") if isinstance(part, dict) else number
            of = part if number is None else ancestors[number]
            times = "" if factor is None else f"{factor:g} × "
            again = " (see above)" if number in shown else ""
            text = f"{times}{of['name']} ({of['hash'][:12]}){again}"
            parts.append((made_of.add(_text(text)), {} if again else of))
            shown |= set() if number is None else {number}
        work += reversed(parts)


def _own_origin(tree: Tree, metadata: Mapping[str, Any]) -> None:
    if "source" in metadata:
        mismatch = ", allowed to mismatch" if metadata.get("allow_mismatch") else ""
        tree.add(_text(f"from {metadata['source']}{mismatch}"))
    if "relation" in metadata:
        tree.add(_text(f"relation {metadata['relation']}"))
    if "heads" in metadata:
        branch = tree.add(_text(f"heads {metadata['heads']['chosen']}"))
        for layer, cells in _by_layer(metadata["heads"]["list"]).items():
            branch.add(_text(f"layer {layer}: {', '.join(cells)}"))
    if "linearised" in metadata:
        tree.add(_text(_linearised(metadata["linearised"])))
    if "prompt" in metadata:
        tree.add(
            _text(_prompts(metadata["prompt"], metadata.get("dataset", {}), metadata.get("seed")))
        )
    if "tuning" in metadata:
        settings = ", ".join(f"{key} {value}" for key, value in metadata["tuning"].items())
        tree.add(_text(f"tuned: {settings}"))


def _linearised(made: Mapping[str, Any]) -> str:
    scales = ", ".join(f"{scale:.4g} in layer {layer}" for layer, scale in made["scales"])
    error = f"; error {made['error']:.2f}" if "error" in made else ""
    return f"the norm behind the heads made linear, scale {scales}{error}"


def _by_layer(heads: Iterable[tuple[int, int, float | None]]) -> dict[int, list[str]]:
    """The heads of each layer with their scores, from [layer, head, score or None]."""
    layers: dict[int, list[str]] = {}
    for layer, head, score in sorted(heads, key=lambda entry: entry[:2]):
        text = f"H{head}" if score is None else f"H{head} {score:+.3f}"
        layers.setdefault(layer, []).append(text)
    return layers


def _prompts(prompt: Mapping[str, Any], dataset: Mapping[str, Any], seed: int | None) -> str:
    parts = [f"prompts of {dataset['id']}" if "id" in dataset else "prompts"]
    parts += [f"{prompt[key]} {key}" for key in ("shots", "trials") if key in prompt]
    if "correct" in prompt:
        share = f" ({100 * prompt['accuracy']:.0f} %)" if "accuracy" in prompt else ""
        parts.append(f"{prompt['correct']} correct{share}")
    parts += [f"{key} {prompt[key]}" for key in ("corrupt", "split") if key in prompt]
    return ", ".join([*parts, *([] if seed is None else [f"seed {seed}"])])


def _metric(row: Mapping[str, Any]) -> str:
    """One result row of a file, which may lack anything."""
    where = ", ".join(
        f"{key} {row[key]}"
        for key in ("relation", "shots", "layer", "scale", "site", "position")
        if row.get(key) is not None
    )
    try:
        share = f"{RESULT_COLUMNS['accuracy %'].value(row)} % correct"
    except (KeyError, TypeError, ValueError):
        share = "no accuracy"
    return f"{row.get('eval', 'eval')}: {where}: {share}, n {row.get('n', '?')}"


def _short(value: Any) -> str:
    """A value of the metadata in one cell; ``--json`` has it whole."""
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _text(value: Any, style: str = "") -> Text:
    """``value`` as it stands, without markup and control characters: files may say anything."""
    return Text(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)),
        style=style,
    )
