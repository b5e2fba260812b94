"""torchvision beside the installed torch, whether its compiled operators load or not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SOURCE = """
#include <torch/library.h>
TORCH_LIBRARY(torchvision, m) {
  m.def("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor");
  m.def("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor");
}
"""
PROGRAM = """
import torch
from mfv_dsl.models.flamingo_classes import declare_torchvision_operators, torchvision_state
declare_torchvision_operators()
declare_torchvision_operators()
print(torchvision_state(), hasattr(torch.ops.torchvision, "nms"), {loaded})
"""


def state(folder: Path, loaded: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(loaded=loaded or "0")],
        capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.slow
def test_operators_that_cannot_load_are_declared(tmp_path: Path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert state(tmp_path) == "declared True 0"
    (package / "_C.so").write_bytes(b"for another torch")
    assert state(tmp_path) == "declared True 0"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler")
def test_operators_that_load_are_not_declared_again(tmp_path: Path):
    """As on a machine whose torchvision fits its torch: a second declaration would end the
    process when torchvision is imported."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "c.cpp").write_text(SOURCE)
    home = Path(torch.__file__).parent
    include = [f"-I{home}/include", f"-I{home}/include/torch/csrc/api/include"]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    libraries = [f"-L{home}/lib", "-ltorch", "-ltorch_cpu", "-lc10"]
    subprocess.run(
        ["g++", "-O0", "-shared", "-fPIC", "-std=c++20", abi, package / "c.cpp", *include,
         *libraries, "-o", package / "_C.so"],
        check=True,
    )  # fmt: skip
    again = f"torch.ops.load_library({str(package / '_C.so')!r})"
    assert state(tmp_path, again) == "as is True None"
