"""What the metadata of a vector file must hold, as a JSON schema; and a check against it.

The schema is also ``docs/vector-format.schema.json``; ``python -m mfv_dsl.library.schema`` prints
it.  The check knows the words of JSON schema that it uses, and no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TEXT = {"type": "string"}
_SOME_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_POSITIVE = {"type": "integer", "minimum": 1}
_OBJECT = {"type": "object"}

#: one head: layer, head, and the score it was chosen by or null
_HEAD = {
    "type": "array",
    "prefixItems": [_COUNT, _COUNT, {"type": ["number", "null"]}],
    "minItems": 3,
    "maxItems": 3,
}
_HEADS = {
    "type": "object",
    "description": "The attention heads whose outputs were added.",
    "required": ["chosen", "list"],
    "properties": {
        "chosen": {**_TEXT, "description": "How they were chosen, in the recipe's words."},
        "list": {"type": "array", "items": _HEAD, "description": "[layer, head, score or null]"},
    },
}
_PROMPT = {
    "type": "object",
    "description": "The prompts that activations were averaged over.",
    "properties": {
        "template": {**_HASH, "description": "SHA-256 of an example in the prompt template."},
        "shots": {**_COUNT, "description": "Demonstrations in each prompt."},
        "corrupt": {**_TEXT, "description": "How prompts were corrupted to find the heads."},
        "control": {**_TEXT, "description": "How the prompts averaged over were corrupted, if so."},
        "correct_only": {"type": "boolean", "description": "Whether wrong answers were left out."},
        "trials": {**_COUNT, "description": "Prompts run."},
        "correct": {**_COUNT, "description": "Prompts answered correctly."},
        "accuracy": {"type": "number", "description": "correct / trials"},
        "split": {**_TEXT, "description": "The part of the dataset they come from."},
    },
}
_DATASET = {
    "type": "object",
    "description": "The dataset that the prompts come from.",
    "required": ["id"],
    "properties": {"id": _TEXT, "hash": _TEXT, "arguments": _OBJECT},
}
#: one layer and the mean scale of its norm
_SCALE = {
    "type": "array",
    "prefixItems": [_COUNT, {"type": "number"}],
    "minItems": 2,
    "maxItems": 2,
}
#: one vector of a sum: its place among the ancestors, and its coefficient or null
_PART = {
    "type": "array",
    "prefixItems": [_COUNT, {"type": ["number", "null"]}],
    "minItems": 2,
    "maxItems": 2,
}
#: one place that a part was read at: its site and layer
_PLACE = {
    "type": "array",
    "prefixItems": [_SOME_TEXT, _COUNT],
    "minItems": 2,
    "maxItems": 2,
}
_LINEARISED = {
    "type": "object",
    "description": "How the norm behind the heads was made linear, where there is one.",
    "required": ["scales"],
    "properties": {
        "scales": {"type": "array", "items": _SCALE, "description": "[layer, mean scale]"},
        "error": {"type": "number", "minimum": 0, "description": "Mean relative error."},
        "prompts": {**_COUNT, "description": "Prompts that the error was measured on."},
    },
}
_ORIGIN: dict[str, Any] = {
    "kind": {"enum": ["extracted", "tuned", "composed", "imported"]},
    "relation": {**_TEXT, "description": "The relation it stands for, if one."},
    "heads": _HEADS,
    "linearised": _LINEARISED,
    "prompt": _PROMPT,
    "dataset": _DATASET,
    "tuning": {"type": "object", "description": "How a tuned vector was trained."},
    "seed": _COUNT,
    "source": {**_TEXT, "description": "Where it was loaded or imported from."},
    "allow_mismatch": {"type": "boolean", "description": "Loaded although made elsewhere."},
    "step": {**_HASH, "description": "Key of the step that made it."},
    "parents": {
        "type": "array",
        "items": {"$ref": "#/$defs/parent"},
        "description": "The vectors that it was made of.",
    },
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Metadata of a vector file, format 2.0",
    "type": "object",
    "required": [
        "bias", "content_sha256", "created", "expression", "format_version", "kind",
        "metadata_sha256", "model", "name", "site",
    ],
    "properties": {
        "format_version": {"type": "string", "pattern": "^(0|[1-9][0-9]*)[.](0|[1-9][0-9]*)$"},
        "name": _SOME_TEXT,
        "expression": {**_TEXT, "description": "What it is, in the recipe language."},
        "model": {
            "type": "object",
            "description": "The model it was made with.",
            "required": ["fingerprint", "d_model"],
            "properties": {
                "id": _TEXT, "revision": _TEXT, "precision": _TEXT,
                "fingerprint": _SOME_TEXT, "d_model": _POSITIVE,
                "n_layers": _POSITIVE, "n_heads": _POSITIVE, "head_dim": _POSITIVE,
            },
        },
        "site": {**_SOME_TEXT, "description": "The kind of place it is written to."},
        "layer": {
            "type": ["integer", "string"], "minimum": 0, "pattern": "^native$",
            "description": "The layer it was tuned at, or is meant for.",
        },
        "places": {
            "type": "array", "minItems": 2, "items": _PLACE,
            "description": "[site, layer] of each part, sorted by layer, then by site.",
        },
        "bias": {
            "enum": ["none", "per_head"],
            "description": "Whether the projection's bias is in it, once per head.",
        },
        **_ORIGIN,
        "ancestors": {
            "type": "array", "items": {"$ref": "#/$defs/ancestor"},
            "description": "The vectors behind it, each once and behind those it was made of; "
            "there where one is shared or the tree is deep.",
        },
        "metrics": {
            "type": "array", "items": _OBJECT,
            "description": "Results of the evals of the same recipe that used exactly this vector.",
        },
        "mfv_version": _TEXT,
        "created": {
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        },
        "license": _TEXT,
        "about": {**_TEXT, "description": "What the comment of its recipe says of it."},
        "content_sha256": {**_HASH, "description": "Hash of the tensors."},
        "metadata_sha256": {**_HASH, "description": "Hash of this text, see the format."},
    },
    "$defs": {
        "parent": {
            "type": "object",
            "required": ["name", "hash", "coefficient"],
            "properties": {
                "name": _TEXT,
                "hash": {**_HASH, "description": "Its content_sha256."},
                "coefficient": {"type": ["number", "null"]},
                "ancestor": {**_COUNT, "description": "Its place in `ancestors`."},
                **_ORIGIN,
            },
        },
        "ancestor": {
            "type": "object",
            "required": ["name", "hash"],
            "properties": {
                "name": _TEXT,
                "hash": {**_HASH, "description": "Its content_sha256."},
                **_ORIGIN,
                "parents": {
                    "type": "array", "items": _PART,
                    "description": "[place in `ancestors`, coefficient or null]",
                },
            },
        },
    },
}  # fmt: skip

_KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def problem(value: Any, schema: Mapping[str, Any] = SCHEMA, at: str = "") -> str | None:
    """What is wrong with ``value``, parsed JSON, in a few words; None if it fits ``schema``."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if kinds and not any(_is(kind, value) for kind in kinds):
        return f"`{at}` is not of type {' or '.join(kinds)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"`{at}` is not one of {', '.join(schema['enum'])}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0) or not _matches(
            schema.get("pattern", ""), value
        ):
            return f"`{at}` does not have the form that it must have"
    elif isinstance(value, dict):
        return _in_object(value, schema, at)
    elif isinstance(value, list):
        return _in_array(value, schema, at)
    elif value is not None and "minimum" in schema and value < schema["minimum"]:
        return f"`{at}` is less than {schema['minimum']}"
    return None


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern of JSON schema fits.  There `$` is the end of the text, in Python also the
    place before a line feed at its end."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _in_object(value: dict[str, Any], schema: Mapping[str, Any], at: str) -> str | None:
    dot = f"{at}." if at else ""
    for name in schema.get("required", ()):
        if name not in value:
            return f"`{dot}{name}` is missing"
    schemas = schema.get("properties", {})
    faults = (
        problem(part, schemas[key], dot + key) for key, part in value.items() if key in schemas
    )
    return next(filter(None, faults), None)


def _in_array(value: list[Any], schema: Mapping[str, Any], at: str) -> str | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"`{at}` has {len(value)} values"
    first = schema.get("prefixItems", [])
    rest = [schema.get("items", {})] * (len(value) - len(first))
    faults = (
        problem(part, of, f"{at}[{i}]")
        for i, (part, of) in enumerate(zip(value, [*first, *rest], strict=False))
    )
    return next(filter(None, faults), None)


if __name__ == "__main__":
    print(json.dumps(SCHEMA, indent=2))
