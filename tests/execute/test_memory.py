"""Work under a limit of memory: less at a time, and the same results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mfv_dsl.base.memory import SPARE, AtOnce, MemoryWarning, is_out_of_memory

ROOT = Path(__file__).parents[2]

#: Does each piece of work without a limit, then under one that the whole does not fit into, in a
#: process that is forked for it alone.
SCRIPT = """
import gc, json, os, resource, sys, warnings
import numpy as np
import torch
from mfv_dsl import models
from mfv_dsl.base.memory import MemoryWarning
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.answers import measure_answers, object_names
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.evaluation import measure, measure_many
from mfv_dsl.methods.mediation import mediate
from mfv_dsl.methods.off_task import off_task_cost
from mfv_dsl.methods.residual_stream import residual_stream
from mfv_dsl.models import picture_groups
from mfv_dsl.models.features import FeatureCache

torch.set_num_threads(1)
model = models.load("tiny")
scenes = Scenes(seed=3, count=80)
batch = model.batch(draw_prompts(scenes, "left", "test", 64, 4), scenes)
names, mean = object_names(scenes, "test"), torch.zeros(10, 8, 16)
width = model.facts.d_model
each = Edit("lm.resid", 2, "add", torch.randn(64, width, generator=torch.manual_seed(0)))
texts = ["<image>Q:red circle. A:"] * 512
pictures = [[picture] for picture in np.random.default_rng(0).integers(
    0, 255, (512, 40, 40, 3), dtype=np.uint8)]

def asked(how):
    answers = measure_answers(model, [batch], [[], [each]], how, names)
    return [one.outcomes.p_answer for one in answers]

def encoded():
    picture_groups.GROUP["cpu"] = 512  # groups that need much memory
    model.features.cache = FeatureCache()
    return [model.texts(texts, pictures).media]

WORK = {
    "full pass": lambda: [measure(model, [batch], [each]).p_answer],
    "prefix": lambda: [one.p_answer for one in measure_many(model, [batch], [[], [each]])],
    "full": lambda: asked("full"),
    "generate": lambda: asked("generate"),
    "mean": lambda: [task_mean(model, [batch], "left", False).mean],
    "stream": lambda: [residual_stream(model, [batch]).mean],
    "mediation": lambda: [mediate(model, [batch], "left", mean).cie],
    "gradient": lambda: [attribute(model, [batch], "left", mean).cie],
    "cost": lambda: [off_task_cost(model, [batch], [each]).kl_per_prompt],
    "pictures": encoded,
}

def gave_way(what, room):
    wanted = WORK[what]()
    gc.collect()
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (room << 20), resource.RLIM_INFINITY))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = WORK[what]()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-3, atol=1e-4)
    return sum(issubclass(one.category, MemoryWarning) for one in told)

for what, room in json.loads(sys.argv[1]).items():
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        print(json.dumps([what, gave_way(what, room)]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)  # one that failed has said why, and not how often it gave way
"""


@pytest.fixture(scope="module")
def gave_way() -> tuple[dict[str, int], str]:
    """How often each piece of work gave way with ``ROOM`` beside what is held already, and what
    was said on stderr; that its results are the same is checked there."""
    environment = {
        "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        # what is let go is given back, so that the limit is one
        "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536",
        "MALLOC_ARENA_MAX": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(ROOM)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    return dict(json.loads(line) for line in done.stdout.splitlines()), done.stderr[-5000:]


#: MiB
ROOM = {
    "full pass": 12, "prefix": 24, "full": 24, "generate": 24, "mean": 12, "stream": 12,
    "mediation": 24, "gradient": 24, "cost": 24, "pictures": 28,
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("what", ROOM)
@pytest.mark.slow
def test_less_at_a_time_gives_the_same(what: str, gave_way: tuple[dict[str, int], str]):
    counts, errors = gave_way
    assert what in counts, errors
    assert counts[what] >= 1


# -- the mechanism --------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def nothing_spare():
    """Models that other tests hold keep nothing that could be made again."""
    for spare in tuple(SPARE):
        spare.let_go()


def test_parts_are_halved_from_then_on():
    tried: list[int] = []

    def run(part: list[int]) -> int:
        tried.append(len(part))
        if len(part) > 3:
            raise MemoryError
        return sum(part)

    at_once = AtOnce(torch.device("cpu"), "numbers")
    with pytest.warns(MemoryWarning, match="with 10 numbers at a time; going on with 5"):
        results = list(at_once.of_each([list(range(10)), list(range(5))], run))
    assert tried == [10, 5, 2, 2, 2, 2, 2, 2, 2, 1]
    assert [part for part, _ in results[:5]] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert sum(result for _, result in results) == 45 + 10


@pytest.mark.slow
def test_one_that_is_too_much_is_an_error_and_so_is_any_other():
    def never(part: np.ndarray) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    at_once = AtOnce(torch.device("cpu"), "numbers")
    with pytest.warns(MemoryWarning), pytest.raises(RuntimeError, match="can't allocate"):
        list(at_once.of(np.arange(4), never))
    with pytest.raises(ZeroDivisionError):
        list(AtOnce(torch.device("cpu"), "numbers").of(np.arange(4), lambda part: 1 / 0))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for gelu"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
