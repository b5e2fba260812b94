"""The front end takes time in proportion to the recipe's length."""

from __future__ import annotations

import time

import pytest

from benchmarks import front_end
from mfv_dsl.base.source import Source
from mfv_dsl.lang import lexer
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import parse

SHORT, LONG = 300, 3000  # lines


def milliseconds_a_line(work, lines: int, monkeypatch) -> float:
    """CPU time, the least of three."""
    monkeypatch.setattr(front_end, "LINES", lines)
    source = Source(front_end.recipe())
    times = []
    for _ in range(3):
        parse.cache_clear()
        started = time.process_time()
        work(source)
        times.append(time.process_time() - started)
    return 1000 * min(times) / lines


@pytest.mark.slow
@pytest.mark.parametrize("work", [check_source, format_source])
def test_time_grows_with_the_lines(work, monkeypatch):
    work(Source("mfv 1\nmodel m = tiny()\n"))
    short = milliseconds_a_line(work, SHORT, monkeypatch)
    assert milliseconds_a_line(work, LONG, monkeypatch) < 2.5 * short


def test_a_text_with_too_many_words_is_refused(monkeypatch):
    monkeypatch.setattr(lexer, "MAX_TOKENS", 1000)
    (found,) = parse(Source("vector a = " + "(" * 1100)).diagnostics
    assert found.code == "MFV1016" and "more than 1,000 words" in found.label
