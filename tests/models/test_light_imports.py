"""Packages whose own code runs when it is wanted, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mfv_dsl.models.light_imports import lazy_package


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``zoo`` that imports all that it has, and counts how often."""
    folder = tmp_path / "zoo"
    (folder / "birds").mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "import builtins\nbuiltins.runs_of_zoo = getattr(builtins, 'runs_of_zoo', 0) + 1\n"
        "from .lion import Lion\nfrom . import birds\n__version__ = '3'\n"
    )
    (folder / "lion.py").write_text("from zoo import food\nclass Lion: pass\n")
    (folder / "food.py").write_text("")
    (folder / "birds" / "__init__.py").write_text("from .owl import Owl\n")
    (folder / "birds" / "owl.py").write_text("class Owl: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def run(folder: Path, program: str) -> str:
    """What a process prints that can import ``zoo``."""
    start = (
        f"import sys; sys.path.insert(0, {str(folder.parent)!r})\nimport builtins\n"
        "from mfv_dsl.models.light_imports import lazy_package\n"
        "runs = lambda: getattr(builtins, 'runs_of_zoo', 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_modules_are_imported_without_the_package(zoo: Path):
    program = (
        "lazy_package('zoo'); lazy_package('zoo.birds')\n"
        "from zoo.lion import Lion\nfrom zoo import food\nimport zoo.birds.owl\nprint(runs())\n"
        "import zoo\nprint(zoo.Lion is Lion, zoo.lion.Lion is Lion, zoo.__version__, runs())\n"
        "print(zoo.birds.Owl is zoo.birds.owl.Owl, 'Lion' in dir(zoo), hasattr(zoo, 'tiger'))\n"
        "print(runs())"
    )
    assert run(zoo, program).splitlines() == ["0", "True True 3 1", "True True False", "1"]


def test_what_comes_before_comes_once_and_first(zoo: Path):
    program = (
        "lazy_package('zoo', before=lambda: print('before', runs()))\n"
        "import zoo.lion\nfrom zoo import *\nprint(Lion.__name__, runs())"
    )
    assert run(zoo, program).splitlines() == ["before 0", "Lion 1"]


def test_a_package_that_is_there_stays_and_one_that_is_not_is_an_error(zoo: Path):
    assert run(zoo, "import zoo\nlazy_package('zoo')\nprint(type(zoo).__name__)") == "module"
    with pytest.raises(ModuleNotFoundError) as caught:
        lazy_package("no_such_zoo")
    assert caught.value.name == "no_such_zoo"


@pytest.mark.slow
def test_a_flamingo_needs_no_zoo_of_models():
    program = (
        "import sys\nfrom mfv_dsl.models.flamingo_classes import flamingo_classes\n"
        "of = flamingo_classes()\n"
        "heavy = {'torchvision.models', 'timm', 'open_clip.model'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import open_clip, open_flamingo, torchvision\n"
        "print(open_clip.transformer.VisionTransformer is of.VisionTransformer)\n"
        "print(open_flamingo.Flamingo is of.Flamingo)\n"
        "print(callable(open_clip.create_model), callable(torchvision.ops.box_area))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["[]", "True", "True", "True True"]
