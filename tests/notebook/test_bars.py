"""How far a computation is, as a notebook's cell shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mfv_dsl as mfv
from mfv_dsl.interruption import Interrupted
from mfv_dsl.notebook import bars as module
from mfv_dsl.notebook.bars import Bars


class Output:
    """What a cell shows: one output, every state of it."""

    def __init__(self) -> None:
        self.states: list[dict[str, str]] = []
        self.is_stopped = False

    def display(self, data: dict[str, str], raw: bool) -> None:
        assert raw and not self.states
        self.states.append(data)
        if self.is_stopped:
            raise KeyboardInterrupt

    def update(self, data: dict[str, str], raw: bool) -> None:
        assert raw and self.states
        self.states.append(data)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    found = Output()
    monkeypatch.setattr(module, "DisplayHandle", lambda: found)
    return found


def test_bars_come_after_a_moment_and_settle(output: Output):
    now = [0.0]
    bars = Bars(lambda: now[0])
    advance = bars.begin("<prompts>", 1000)
    advance(1)
    assert output.states == []
    now[0] = 2.0
    advance(199)
    assert output.states[-1] == {
        "text/plain": "<prompts>: 200/1,000, about 8 s left",
        "text/html": "<div><progress value='200' max='1000'></progress> &lt;prompts&gt; "
        "<span style='opacity:.7'>200/1,000, about 8 s left</span></div>",
    }
    other = bars.begin("more", 2)  # at once: not written again so soon
    assert len(output.states) == 1
    now[0] = 2.3
    advance(1)
    assert output.states[-1]["text/plain"].split("\n")[1] == "more: 0/2"
    other(2)
    now[0] = 3.0
    advance(1)
    assert "more" not in output.states[-1]["text/plain"]
    advance(798)
    bars.settle("done in")
    assert output.states[-1]["text/plain"] == "done in 3 s" and len(output.states) == 4


def test_what_is_quick_shows_nothing(output: Output):
    bars = Bars()
    bars.begin("work", 1)(1)
    bars.begin("nothing", 0)
    bars.settle("done in")
    assert output.states == []


def test_what_is_stopped_as_it_is_shown_settles_too(output: Output):
    now = [0.0]
    bars, output.is_stopped = Bars(lambda: now[0]), True
    now[0] = 1.0
    with pytest.raises(KeyboardInterrupt):
        bars.begin("work", 3)
    bars.settle("stopped after")
    assert [state["text/plain"] for state in output.states] == ["work: 0/3", "stopped after 1 s"]


def test_an_interruption_says_what_is_kept(tmp_path: Path):
    text = (
        "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left], count=20)\n"
        "eval few { shots = 1, items = 4, seed = 977 }\n"
    )

    class Stopped:
        def begin(self, label: str, total: int) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        mfv.Recipe(text).run(tmp_path, Stopped())
    assert isinstance(caught.value, Interrupted)
    first, second = caught.value._render_traceback_()
    assert first.startswith("interrupted: 0 of 3 steps are finished and kept in ")
    assert second == "  to go on: run it again"
    with pytest.raises(Interrupted, match="[01] of 3 steps"):
        mfv.fv("left").vector("tiny", "scenes(count=20)", Stopped(), heads=[(4, 1)], seed=977)


@pytest.mark.slow
def test_libraries_import_tqdm_without_its_warning():
    """As in a kernel without widgets."""
    code = (
        "import sys, types, warnings\n"
        "sys.modules['ipykernel.zmqshell'] = types.ModuleType('ipykernel.zmqshell')\n"
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: None)\n"
        "warnings.simplefilter('error')\n"
        "from mfv_dsl.models.quiet import quiet_tqdm\n"
        "quiet_tqdm()\n"
        "from tqdm.auto import tqdm\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
