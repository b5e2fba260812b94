"""Function vectors, computed or stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfv_dsl.report.html.elements import counted, facts, fold, title
from mfv_dsl.report.html.heads import head_table

if TYPE_CHECKING:
    from mfv_dsl.library.vector_file import StoredVector
    from mfv_dsl.methods.vectors import Vector

#: What of a file's metadata is shown at once; the rest can be opened.
_FIRST = ("name", "kind", "relation", "layer", "created", "license", "about")
#: Said by the vector itself, or of its heads one by one.
_ELSEWHERE = ("expression", "site", "bias", "heads", "metrics", "content_sha256")


def vector_html(vector: Vector) -> str:
    """A vector's length, where it belongs, and its heads with how long what each writes is."""
    space, numbers = vector.space, len(vector.residual)
    about = facts(
        {
            "numbers": f"{numbers:,}",
            "length": f"{vector.norm():.4g}",
            "written to": counted(len(space.places), "place") if space.places else space.site,
            "output bias": space.bias,
            "model": f"fingerprint {space.fingerprint[:12]}",
            "parts": "" if vector.has_parts else "none: it is not known head by head",
        }
    )
    return title("Vector", vector.expression) + about + _parts(vector) + _places(vector)


def stored_vector_html(stored: StoredVector) -> str:
    """A vector, and what its file says of it."""
    metadata = stored.metadata
    first = {name: metadata.get(name) for name in _FIRST}
    rest = {
        name: value
        for name, value in metadata.items()
        if name not in (*_FIRST, *_ELSEWHERE, "model")
    }
    model: Mapping[str, Any] = metadata.get("model") or {}
    return (
        vector_html(stored.vector)
        + title("Its file says")
        + facts({**first, "model": model.get("id"), "content": metadata.get("content_sha256")})
        + (fold("all that it says", facts(rest)) if rest else "")
    )


def _places(vector: Vector) -> str:
    """The length of each part of a vector of several places."""
    lengths = {
        f"{site}[{layer}]": f"{float(part.norm()):.4g}"
        for (site, layer), part in vector.parts_by_place().items()
    }
    return fold(counted(len(lengths), "part"), facts(lengths)) if lengths else ""


def _parts(vector: Vector) -> str:
    if not vector.has_parts or vector.heads is None:
        return ""
    numbers: dict[str, Any] = {}
    if vector.head_projected is not None:
        numbers["length of what it writes"] = vector.head_projected.norm(dim=-1).tolist()
    if vector.head_scores is not None:
        numbers["score"] = vector.head_scores.tolist()
    return title(counted(len(vector.heads), "head")) + head_table(vector.heads, numbers)
