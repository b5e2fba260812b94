"""Cases of a test, few of which are quick."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

#: what ``pytest.param`` gives
ParameterSet = type(pytest.param())


def one_quick(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """For ``parametrize``: all cases, marked slow but for those in ``quick``, or the first one;
    what is a ``pytest.param`` stays as it is."""
    every = list(cases)
    assert all(case in every for case in quick), f"not all of {quick} are cases"
    return [
        case
        if isinstance(case, ParameterSet) or (case in quick if quick else number == 0)
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for number, case in enumerate(every)
    ]
