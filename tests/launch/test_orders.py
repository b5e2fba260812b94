"""What workers are sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mfv_dsl.api import compile as compile_text
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.launch.orders import Work, WorkerOrder, opened, orders_for, packed
from mfv_dsl.version import __version__

TEXT = "mfv 1\nmodel m = tiny()\ndataset d = scenes()\neval raw {\n  on = [left]\n}"


def an_order(settings: RunSettings) -> WorkerOrder:
    work = Work((compile_text(TEXT).plan(),), settings, frozenset({"a"}))
    return WorkerOrder(__version__, "job", 1, 2, "/folder", "/store", 0, 1, packed(work))


def test_what_is_sent_is_what_arrives():
    second = orders_for(an_order(RunSettings(device="cpu")), [1, 2])[1]
    work = opened(second)
    assert second.number == 2
    assert work.plans[0].steps == compile_text(TEXT).plan().steps
    assert (work.settings.device, work.had) == ("cpu", {"a"})


def test_another_version_is_refused_before_anything_of_it_is_read():
    order = replace(an_order(RunSettings()), version="0.0.9", payload=b"of another form")
    with pytest.raises(MfvError, match=rf"worker 1 has mfv-dsl {__version__}.*0\.0\.9") as caught:
        opened(order)
    assert caught.value.code == "MFV5672"


def test_a_loaded_model_cannot_be_sent():
    with pytest.raises(MfvError, match="`m` is loaded") as caught:
        an_order(RunSettings(given={"m": object()}))
    assert caught.value.code == "MFV5670"


def test_a_dataset_that_cannot_be_pickled_is_refused():
    with pytest.raises(MfvError, match="`d` cannot be sent") as caught:
        an_order(RunSettings(given={"d": lambda: None}))
    assert caught.value.code == "MFV5671"
