"""Models that the tests share."""

from __future__ import annotations

import copy
import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

# torch is imported where it is needed: one of several test processes only hands out the tests
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route
    from tokenizers import Tokenizer

    from mfv_dsl.data.scenes import Scenes
    from mfv_dsl.models.openflamingo import OpenFlamingo

# in the processes that tests start, too: equal numbers of threads add in the same order
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Prepare a process that runs tests."""
    config = session.config
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    gc.disable()  # until the tests are collected: imports leave next to nothing to pick up

    import torch

    from mfv_dsl.models.flamingo_classes import declare_torchvision_operators

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    declare_torchvision_operators()  # before a test imports transformers' models itself


def pytest_collection_finish(session: pytest.Session) -> None:
    """From here on garbage is looked for among what tests make, not among what was imported: a
    million objects, which would be looked through again and again."""
    gc.freeze()
    gc.enable()


#: The files that take longest, in that order.  They are begun first: one that is begun last would
#: run alone while the other processes have nothing left to do.
LONGEST = (
    "execute/test_paper_recipes.py", "repository/test_wheel.py", "attack/test_runs.py",
    "launch/test_clusters.py", "launch/test_workers.py", "repository/test_contributing.py",
    "playground/test_in_browser.py", "playground/test_server.py", "attack/test_recipes.py",
    "report/test_report_in_browser.py", "cli/test_interruption.py", "execute/test_memory.py",
    "lang/test_properties.py", "execute/test_golden.py", "execute/test_paper_photographs.py",
    "notebook/test_tutorial.py", "notebook/test_kernel.py", "models/checkpoints/test_commands.py",
    "execute/test_claims.py", "engine/test_changes.py", "execute/test_run_tables.py",
    "editors/test_vscode.py", "methods/test_tuning.py", "methods/test_tuning_together.py",
    "execute/test_finished.py", "execute/test_store.py", "library/test_hub.py",
)  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest in front."""
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def _new_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFV_HOME", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Finished steps of the tests stay among the tests, also those of fixtures of a session."""
    yield from _new_store(tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def own_store_of_the_file(
    own_store: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """What one file's tests find finished does not depend on which files ran before."""
    yield from _new_store(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny() -> OpenFlamingo:
    """The bundled model."""
    from mfv_dsl.models import load

    return load("tiny")


@pytest.fixture(scope="module")  # no longer: its loop runs, and others could not run theirs
def browser() -> Iterator[Browser]:
    """A Chromium without a window; ``make browser`` installs one."""
    from tools.browser import browser as opened

    with opened() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page.  When the test ends it must have logged no error and asked nothing of any
    other machine, which it could not have reached."""
    wrong: list[str] = []

    def ask(route: Route) -> None:
        if urlsplit(route.request.url).hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            wrong.append(f"asked for {route.request.url}")
            route.abort()

    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        opened.route(re.compile("^(https?|wss?)://"), ask)
        opened.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        yield opened
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    from mfv_dsl.data.scenes import Scenes

    return Scenes(seed=7, count=60)


def small_flamingo(
    layers: int = 2,
    heads: int = 4,
    d_model: int = 32,
    seed: int = 0,
    every: int = 2,
    tokenizer: Tokenizer | None = None,
) -> OpenFlamingo:
    """A random-weight Flamingo of open_flamingo's classes, as small as asked for, with
    cross-attention before every ``every``-th layer."""
    from mfv_dsl.models.flamingo_classes import flamingo_classes
    from mfv_dsl.models.tiny.build import CONFIG

    of = flamingo_classes()

    def language(words: int) -> Any:
        sizes = CONFIG["language"] | {
            "hidden_size": d_model, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": 2 * d_model,
        }  # fmt: skip
        return of.GPTNeoXForCausalLM(of.GPTNeoXConfig(vocab_size=words, **sizes))

    return flamingo_of(language, seed, every, tokenizer)


def small_mpt_flamingo(
    layers: int = 2, heads: int = 4, d_model: int = 32, seed: int = 0, every: int = 2,
    qk_ln: bool = False, clip: float | None = None,
) -> OpenFlamingo:  # fmt: skip
    """:func:`small_flamingo` over MPT, with tied embeddings; ``qk_ln`` as in MPT-1B."""
    from mfv_dsl.models.mpt import mpt_class, mpt_config

    def language(words: int) -> Any:
        config = {
            "model_type": "mpt", "d_model": d_model, "n_heads": heads, "n_layers": layers,
            "max_seq_len": 256, "vocab_size": words,
            "attn_config": {"qk_ln": qk_ln, "clip_qkv": clip},
        }  # fmt: skip
        return mpt_class(config)(mpt_config(config))

    return flamingo_of(language, seed, every)


def flamingo_of(
    language: Callable[[int], Any],
    seed: int = 0,
    every: int = 2,
    tokenizer: Tokenizer | None = None,
) -> OpenFlamingo:
    """A Flamingo over the model that ``language`` makes for a number of words."""
    import torch

    from mfv_dsl.base.facts import ModelFacts
    from mfv_dsl.models.families import facts_from_config
    from mfv_dsl.models.openflamingo import OpenFlamingo
    from mfv_dsl.models.tiny.build import CONFIG, flamingo_over
    from mfv_dsl.models.tiny.load import preprocess
    from mfv_dsl.models.tiny.tokenizer import END_OF_CHUNK, IMAGE, PAD, build_tokenizer

    torch.manual_seed(seed)
    config = copy.deepcopy(CONFIG)
    config["cross_attention"]["every"] = every
    tokenizer = tokenizer or build_tokenizer()
    ids = tokenizer.get_vocab()
    model = flamingo_over(lambda: language(len(ids)), config, ids[IMAGE], ids[END_OF_CHUNK])
    sizes = facts_from_config(model.lang_encoder.config.to_dict())
    facts = ModelFacts(*sizes, f"random-{seed}")
    return OpenFlamingo(
        model, tokenizer, lambda pictures: preprocess(pictures, 40), facts, 40, ids[PAD]
    )
