"""Recipes that use other files."""

from __future__ import annotations

import pytest

from mfv_dsl.lsp.analysis import analyse
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.highlighting import semantic_tokens
from mfv_dsl.lsp.hover import hover
from mfv_dsl.lsp.messages import published
from mfv_dsl.lsp.navigation import CannotRename, Elsewhere, definitions
from mfv_dsl.lsp.outline import symbols
from mfv_dsl.lsp.positions import Lines
from tests.lsp.support import decoded, renamed_places

COMMON = """\
mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right])
## What steers.
vector steer = fv(left) - fv(right)
"""
USER = """\
mfv 1
use "common.mfv"
use "common.mfv" as c
eval a { add = steer + c.steer, layer = 3, model = m, dataset = d }
"""


def test_names_of_files_that_are_used(tmp_path):
    (tmp_path / "common.mfv").write_text(COMMON, encoding="utf-8")
    analysis = analyse(USER, str(tmp_path / "recipe.mfv"))
    assert analysis.diagnostics == ()
    lines, offset = Lines(USER), USER.index("steer")
    (place,) = definitions(analysis, offset)
    assert isinstance(place, Elsewhere) and place.file == tmp_path / "common.mfv"
    assert COMMON[place.span.start : place.span.end] == "steer"
    assert definitions(analysis, USER.index("c.steer")) == [place]
    (file,) = definitions(analysis, USER.index("common") + 2)
    assert isinstance(file, Elsewhere) and file.file == place.file
    found = hover(analysis, lines, offset)
    assert found is not None and found.contents.value.startswith("What steers.")
    with pytest.raises(CannotRename, match=r"common\.mfv, outside the workspace"):
        renamed_places(analysis, offset, "other")
    assert "common.mfv" in [symbol.name for symbol in symbols(analysis, lines)]
    assert ("c", "namespace") in decoded(USER, semantic_tokens(analysis, lines))
    names = {item.label for item in complete(analysis, lines, USER.index("c.steer") + 3)}
    assert names == {"m", "d", "steer"}
    paths = {item.label for item in complete(analysis, lines, USER.index("common") + 2)}
    assert paths == {"common.mfv"}


def test_mistakes_in_a_file_that_is_used_are_shown_where_it_is(tmp_path):
    (tmp_path / "common.mfv").write_text(COMMON.replace("fv(right)", "fv(rihgt)"), encoding="utf-8")
    analysis = analyse(USER, str(tmp_path / "recipe.mfv"))
    found = published(analysis.diagnostics, Lines(USER), (tmp_path / "recipe.mfv").as_uri())
    assert {d.code for d in found} == {"MFV2001"}
    assert {d.range.start.line for d in found} <= {1, 2}
    uris = {r.location.uri for d in found for r in d.related_information}
    assert (tmp_path / "common.mfv").as_uri() in uris
