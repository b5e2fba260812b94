"""Finished steps are kept, found again, and never trusted when damaged."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.places import step_name
from mfv_dsl.execute import session
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.operations import PERFORM, heads
from mfv_dsl.execute.storage import finished
from mfv_dsl.execute.store import Store, StoredParts, StoredStep, store_at
from mfv_dsl.execute.stored_content import Damaged, Foreign
from mfv_dsl.execute.stored_form import form_fault
from mfv_dsl.methods.activations import TaskMean
from mfv_dsl.methods.linearisation import Linearisation, NormSamples
from mfv_dsl.methods.mediation import Mediation, mediate
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.methods.selection import Heads
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.plan.steps import Step
from tests.cli.support import mfv_command
from tests.execute.s3 import bucket, s3_server  # noqa: F401
from tests.warm import Warm

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=30)
defaults { heads = top(2, on=[left]), trials = 6, items = 10, layer = 2 }
eval e { add = fv(left), on = [left, right] }
"""


def outcomes() -> Outcomes:
    return Outcomes(np.array([0.25, 1.0]), np.array([False, True]), np.array([3, 4]))


@pytest.mark.parametrize(
    "value",
    [
        TaskMean("left", torch.randn(2, 3, 4), (True, False), 1),
        Heads(((1, 2), (0, 0)), torch.randn(2, 3)),
        Heads(((1, 2),)),
        Evaluation(
            (Condition(Point(3, 0.5, 4, 1, "shuffled"), outcomes(), np.array([0, -1])),),
            (Condition(Point("native", 1), outcomes(), np.array([1, 1])),),
            outcomes(),
            ("a picture", "another"),
            ("left", "right"),
        ),
        Vector(torch.randn(4), Space("f", 4), "x", ((0, 1),), torch.randn(1, 2), torch.randn(1, 4)),
        Vector(torch.randn(4), Space("f", 4, "per_head")),
        TaskMean(
            "left",
            torch.randn(2, 3, 4),
            (True,),
            1,
            NormSamples(torch.rand(2), torch.randn(1, 2, 3, 4)),
        ),
        Vector(
            torch.randn(4), Space("f", 4), linearised=Linearisation(((0, 0.5), (3, 2.0)), 0.25, 8)
        ),
        torch.randn(3, 2),
        0.25,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_come_back_as_they_were(tmp_path: Path, value: object):
    store = Store(tmp_path)
    store.put("ab" * 32, value, "a label", "some operation")
    assert same(store.get("ab" * 32), value)
    (entry,) = store.entries()
    assert isinstance(entry, StoredStep)
    assert (entry.key, entry.label) == ("ab" * 32, "a label")


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool((one == other).all())
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__
        )
    return one == other and type(one) is type(other)


def test_every_damage_is_noticed(tmp_path: Path):
    store, key = Store(tmp_path), "cd" * 32
    store.put(key, TaskMean("left", torch.randn(2, 3, 4), (True,), 1), "x", "y")
    good = store.path(key).read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 5, 100, len(good) - 1):
        store.path(key).write_bytes(good[:cut])
        with pytest.raises(Damaged):
            store.get(key)
    for place in rng.integers(0, len(good), size=60):
        flipped = bytearray(good)
        flipped[place] ^= 1 << int(rng.integers(8))
        store.path(key).write_bytes(bytes(flipped))
        with pytest.raises(Damaged):
            store.get(key)
    store.path(key).write_bytes(b"nonsense")
    assert list(store.entries()) == [store.path(key)]
    assert store.clear() == 1 and key not in store


@pytest.mark.slow
def test_a_second_run_redoes_nothing_and_a_change_only_what_it_touches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    first = mfv.Recipe(RECIPE).run(tmp_path / "a")
    again = mfv.Recipe("# said again\n" + RECIPE).run(tmp_path / "b")
    assert (first.cached, again.cached) == (0, len(first.values))
    assert again.rows == first.rows
    assert (tmp_path / "a/results.csv").read_bytes() == (tmp_path / "b/results.csv").read_bytes()
    changed = mfv.Recipe(RECIPE.replace("layer = 2", "layer = 3")).run(tmp_path / "c")
    assert changed.cached == len(first.values) - 2  # the two evaluations
    assert mfv.Recipe(RECIPE).run(tmp_path / "d", fresh=True).cached == 0


@pytest.mark.slow
def test_a_damaged_step_is_reported_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    first = mfv.Recipe(RECIPE).run(tmp_path / "a")
    store = Store(tmp_path / "store")
    for entry in list(store.entries()):
        entry.path.write_bytes(entry.path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="run again"):
        again = mfv.Recipe(RECIPE).run(tmp_path / "b")
    assert again.cached == 0
    assert again.rows == first.rows
    kinds = [type(entry) for entry in store.entries()]
    assert kinds == [StoredStep] * len(first.values)


@pytest.mark.slow
def test_a_long_step_goes_on_with_the_parts_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Mediation stopped between two batches measures only the rest."""
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(session, "BATCH", 2)
    recipe = mfv.Recipe(RECIPE)
    wanted = recipe.run(tmp_path / "a").rows
    store = Store(tmp_path / "store")
    assert not list(store.root.glob("parts/*"))  # finished steps leave no parts
    store.clear()
    measured: list[int] = []

    def stopped(*arguments: object) -> Mediation:
        measured.append(1)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return mediate(*arguments)

    monkeypatch.setitem(heads._EFFECTS, "aie", stopped)
    with pytest.raises(KeyboardInterrupt):
        recipe.run(tmp_path / "b")
    assert len(list(store.root.glob("parts/*/*"))) == 2
    result = recipe.run(tmp_path / "b")
    assert result.rows == wanted
    assert len(measured) == 4  # two before the stop, the stop, and the one left (6 prompts)
    assert not list(store.root.glob("parts/*"))


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path):
    """Killed at several moments, then run to the end: the same results as a run left alone."""
    (tmp_path / "r.mfv").write_text(RECIPE.replace("trials = 6", "trials = 30"))

    def run_to(out: str, store: str) -> Warm:
        environment = {**os.environ, "MFV_HOME": str(tmp_path / store)}
        return Warm(tmp_path, "run", "r.mfv", "--quiet", "--out", out, env=environment)

    assert run_to("alone", "one").wait() == 0
    store = Store(tmp_path / "two")
    finished = 0
    for wanted in (1, 3, 5):
        run = run_to("killed", "two")
        while run.poll() is None and sum(1 for _ in store.root.glob("steps/*/*")) < wanted:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        entries = [entry for entry in store.entries() if isinstance(entry, StoredStep)]
        assert len(entries) >= finished
        finished = len(entries)
    # two runs at once on one store
    last = [run_to(out, "two") for out in ("b", "c")]
    assert [run.wait() for run in last] == [0, 0]
    wanted_text = (tmp_path / "alone" / "results.csv").read_text()
    assert (tmp_path / "b" / "results.csv").read_text() == wanted_text
    assert (tmp_path / "c" / "results.csv").read_text() == wanted_text
    kinds = {type(entry) for entry in store.entries()}
    assert kinds == {StoredStep}


# -- a store that several share -------------------------------------------------------------------
def test_what_another_version_keeps_in_its_own_form_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two versions on one store each find what they kept, however often they take turns."""
    here, key = Store(tmp_path), "a" * 64
    with monkeypatch.context() as patch:  # a version in which a norm is a text
        patch.setattr("mfv_dsl.execute.store.__version__", "9.1")
        here.put(key, "1.5", "x", "norm")
    theirs = here.path(key).read_bytes()
    with pytest.raises(Foreign, match="9.1 wrote it"):
        here.get(key, "norm")
    for _ in range(2):
        here.put(key, 1.5, "x", "norm")
        assert here.get(key, "norm") == 1.5 and here.path(key).read_bytes() == theirs
    assert len(list(here.entries())) == 2 and here.clear() == 2 and key not in here
    here.put(key, "1.5", "x", "norm")  # of this very version it is damage, and made again
    here.put(key, 1.5, "x", "norm")
    assert here.get(key, "norm") == 1.5 and len(list(here.entries())) == 1


def test_several_who_keep_one_step_at_once_leave_it_whole(tmp_path: Path):
    store, key, start = Store(tmp_path), "b" * 64, threading.Barrier(4)
    wrong: list[BaseException] = []

    def keep() -> None:
        start.wait()
        try:
            for _ in range(5):
                store.put(key, GOOD, "x", "extract")
                assert same(store.get(key, "extract"), GOOD)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and store.storage.names("") == [step_name(key)]


@pytest.mark.parametrize("home", ["memory", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_store_of_objects_is_as_one_in_a_folder(
    home: str, tmp_path: Path, request: pytest.FixtureRequest
):
    root = "memory://lab" if home == "memory" else request.getfixturevalue("bucket")
    store, key = store_at(f"{root}/{tmp_path.name}"), "c" * 64
    parts, step = StoredParts(store, fresh=False), Step(key, "extract", "x", {}, {})
    assert key not in store
    with pytest.raises(KeyError):
        store.get(key)
    with store.open_for_writing():
        assert parts.keep(step, "1", lambda: 0.5) == parts.keep(step, "1", lambda: 1.5) == 0.5
        assert parts.missing(step, ["1", "2"]) == ["2"]
        store.put(key, GOOD, "x", "extract")
        store.drop_parts(key)
    assert key in store and same(store.get(key, "extract"), GOOD)
    (entry,) = store.entries()
    assert isinstance(entry, StoredStep) and str(entry.path).startswith(root)
    assert entry.bytes == len(store.storage.read(step_name(key)))
    store.storage.write(step_name(key), store.storage.read(step_name(key))[:-1])
    with pytest.raises(Damaged):
        store.get(key)
    assert list(store.entries()) == [entry.path]
    assert store.storage.names("") == [step_name(key)] and store.clear() == 1
    assert store.storage.names("") == []


@pytest.mark.slow
def test_a_run_with_its_store_in_s3_gives_what_it_gives_in_a_folder(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch  # noqa: F811
):  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    wanted = mfv.Recipe(RECIPE).run(tmp_path / "wanted")
    monkeypatch.setenv("MFV_HOME", f"{bucket}/{tmp_path.name}")
    first = mfv.Recipe(RECIPE).run(tmp_path / "first")
    assert first.cached == 0
    for folder in ("first", "second"):  # it is there; and files are copied from there
        assert mfv.Recipe(RECIPE).run(tmp_path / folder).cached == len(first.values)
        table = (tmp_path / folder / "results.csv").read_bytes()
        assert table == (tmp_path / "wanted" / "results.csv").read_bytes()
    assert all(same(first.values[key], wanted.values[key]) for key in wanted.values)
    assert finished(first.values) == set(first.values)
    assert store_at(f"{bucket}/{tmp_path.name}").clear() == len(first.values)
    assert not finished(first.values)
    assert not (tmp_path / "s3:").exists() and not Path("s3:").exists()


# -- entries whose hash is right and whose form is not -------------------------------------------
GOOD = Vector(torch.ones(4), Space("f", 4), "x", ((0, 1),), torch.ones(1, 2), torch.ones(1, 4))
OF_ANOTHER_FORM = {
    "a number for a text": (replace(GOOD, expression=3), "extract"),
    "a text for a tensor": (replace(GOOD, residual="numbers"), "extract"),
    "a number for a part": (replace(GOOD, space=4), "normalize"),
    "another length": (replace(GOOD, residual=torch.ones(3)), "linear"),
    "fewer parts": (replace(GOOD, head_means=torch.ones(2, 2)), "extract"),
    "no parts of heads": (replace(GOOD, head_projected=None), "extract"),
    "a number for a vector": (1.5, "extract"),
    "a vector for a number": (GOOD, "cosine"),
    "nothing for heads": (None, "top"),
    "texts for heads": (Heads((("L1", "H2"),)), "top"),
    "one number for a head": (Heads((1, 2)), "head_set"),
    "three numbers for a head": (Heads(((1, 2, 3),)), "head_set"),
    "a tuple for an evaluation": ((1, 2), "evaluate"),
    "outcomes of other lengths": (
        Evaluation((), (), replace(outcomes(), said=np.array([1])), (), ()), "evaluate",
    ),
    "a matrix for mean outputs": (TaskMean("left", torch.ones(2, 3), (True,), 1), "activations"),
    "effects of no prompts": (Mediation("left", np.ones((2, 3)), np.ones(1)), "mediation"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ANOTHER_FORM)
def test_an_entry_of_another_form_is_damaged(name: str, tmp_path: Path):
    value, operation = OF_ANOTHER_FORM[name]
    store = Store(tmp_path)
    store.put("a" * 64, value, "x", operation)
    with pytest.raises(Damaged, match="another form"):
        store.get("a" * 64, operation)
    assert list(store.entries()) == [store.path("a" * 64)]


def test_every_operations_value_has_a_form():
    for operation, perform in PERFORM.items():
        assert "return" in perform.__annotations__, operation
    assert form_fault(GOOD, "extract") is None
    assert form_fault(Heads(((1, 2),), torch.ones(3, 4)), "top") is None
    assert form_fault(2, "norm") is None and form_fault(True, "norm") is not None


@pytest.mark.slow
def test_an_entry_of_another_form_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    recipe = mfv.Recipe(RECIPE)
    rows = recipe.run(tmp_path / "out").rows
    store = Store(tmp_path / "store")
    for step in recipe.plan().steps:
        value = store.get(step.key)
        broken = replace(value, relations=(1,)) if isinstance(value, Evaluation) else "a text"
        store.put(step.key, broken, step.label, step.operation)
    assert all(isinstance(entry, Path) for entry in store.entries())
    done = mfv_command("cache", "verify")
    assert done.returncode == 3 and f"{len(recipe.plan().steps)} damaged" in done.stderr
    with pytest.warns(UserWarning, match="another form.*the step is run again"):
        again = recipe.run(tmp_path / "out")
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in rows]
    assert again.cached == 0 and mfv_command("cache", "verify").returncode == 0
