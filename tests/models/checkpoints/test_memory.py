"""Loading takes little more memory than the files are large."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.loading import measure, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def test_half_precision_as_published_into_bfloat16(tmp_path: Path):
    """The worst case: every weight is converted, and the files hold twice what is trained."""
    write(tmp_path, "half", 400)
    loading = measure(tmp_path, "half", "bf16")
    assert 300e6 < loading.files < 600e6
    assert loading.weights / 1.1 < loading.peak < 1.6 * loading.files


def test_weights_that_need_no_conversion_stay_in_their_files(tmp_path: Path):
    write(tmp_path, "whole", 300)
    loading = measure(tmp_path, "whole", "fp32")
    assert loading.peak < 1.15 * loading.files  # read once, to see that all are numbers
    assert measure(tmp_path, "whole", "bf16").ratio < 1.6
