"""Push, pull and ``load("hf://...")`` against a stand-in for the Hub, and what it may answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import SUFFIX
from mfv_dsl.base.places import bundled
from mfv_dsl.library import hub as client
from mfv_dsl.library.address import HubAddress, hub_address
from mfv_dsl.library.folder import Library
from mfv_dsl.library.header import LARGEST
from mfv_dsl.library.lock import read_lock
from mfv_dsl.library.sources import at_hand
from tests.library.hub_server import Hub, serving
from tests.library.support import good_file

REPO = HubAddress("org/lib")
TINY = bundled("vectors") / "flamingo-tiny"
HEAD = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right], count=20)\n"
EVAL = "eval e { add = load(%s), layer = 2, on = [left], items = 4 }\n"
TOKEN = "hf_secretsecretsecretsecretsecret"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub, and nothing of any other within reach."""
    with serving(Hub()) as running:
        resolve = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in (
            ("ENDPOINT", running.url), ("HUGGINGFACE_CO_URL_TEMPLATE", resolve),
            ("HF_HUB_CACHE", str(tmp_path / "cache")), ("HF_HUB_DISABLE_XET", True),
            ("HF_TOKEN_PATH", str(tmp_path / "token")),
        ):  # fmt: skip
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        huggingface_hub.utils.disable_progress_bars()
        monkeypatch.chdir(tmp_path)
        yield running


def library(root: Path, *names: str) -> Library:
    root.mkdir(parents=True, exist_ok=True)
    for name in names or ("left", "right"):
        shutil.copy(TINY / f"{name}{SUFFIX}", root)
    made = Library(root)
    with made.writing():
        made.put_recipe("mine", HEAD)
    return made


def upload(hub: Hub, **files: bytes) -> str:
    """Commit the bundled ``left`` and more; a name stands for a vector's file."""
    good = {f"left{SUFFIX}": (TINY / f"left{SUFFIX}").read_bytes()}
    return hub.commit(REPO.repo, {**good, **{f"{k}{SUFFIX}": data for k, data in files.items()}})


def code(work: object, *arguments: object) -> str:
    with pytest.raises(MfvError) as found:
        work(*arguments)  # type: ignore[operator]
    assert TOKEN not in str(found.value)
    return found.value.code


# -- addresses -------------------------------------------------------------------------------------
def test_addresses():
    assert hub_address("hf://a/b") == HubAddress("a/b")
    assert hub_address("hf://a-1/b.c@refs/pr/1") == HubAddress("a-1/b.c", "refs/pr/1")
    assert str(hub_address("hf://a/b@v1")) == "hf://a/b@v1"
    assert hub_address("vectors/mine") is None
    for wrong in ("hf://a", "hf://a/b/c", "hf:/a/b", "hf://a/b@", "hf://../b", "hf://a/..",
                  "hf://a/b@../x", "hf://a/b c", "hf:a/b", "hf://a/b\n"):  # fmt: skip
        assert code(hub_address, wrong) == "MFV6015", wrong


# -- push and pull ---------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("lfs", [True, False])
def test_what_is_pushed_is_pulled(hub: Hub, tmp_path: Path, lfs: bool):
    hub.lfs = lfs
    mine = library(tmp_path / "mine")
    files = client.uploads(mine)
    names = ["left.safetensors", "right.safetensors", "mine.mfv", "index.json", "README.md"]
    assert [file.name for file in files] == names
    assert code(client.push, REPO, files, False, False) == "MFV6030"
    url = client.push(REPO, files, True, False)
    oid, there = hub.files(REPO.repo, "main") or ("", {})
    assert url.endswith(f"/commit/{oid}")
    assert there == {file.name: file.data for file in files}
    assert there["README.md"].startswith(b"---\nlibrary_name: mfv\n")
    assert hub.tokens == {f"Bearer {TOKEN}"}
    pulled = Library(tmp_path / "pulled")
    assert client.pull(REPO, pulled) == ["left", "right"]
    for name in names[:4]:
        assert (pulled.root / name).read_bytes() == there[name]
    assert client.pull(REPO, pulled) == ["left", "right"]
    again = client.push(REPO, client.uploads(pulled), False, False)
    assert again.endswith((hub.files(REPO.repo, "main") or ("",))[0])


@pytest.mark.slow
def test_a_dry_run_shows_everything_and_asks_nobody(hub: Hub, tmp_path: Path):
    mine = library(tmp_path / "mine")
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "hf"), "COLUMNS": "200",
    }  # fmt: skip

    def push(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mfv_dsl", "vectors", "push", "mine", str(REPO), *options],
            capture_output=True, text=True, env=environment, cwd=tmp_path,
        )  # fmt: skip

    before = {path: path.read_bytes() for path in mine.root.iterdir()}
    dry = push("--dry-run")
    assert dry.returncode == 0 and hub.requests == []
    assert {path: path.read_bytes() for path in mine.root.iterdir()} == before
    for file in client.uploads(mine):
        assert any(
            [file.name, f"{len(file.data):,}", file.sha256] == line.split()
            for line in dry.stdout.splitlines()
        )
    assert "5 files" in dry.stderr and f"would be uploaded to {REPO}" in dry.stderr
    refused = push()
    assert refused.returncode == 3 and "error[MFV6030]" in refused.stderr
    done = push("--create")
    assert done.returncode == 0, done.stderr
    assert hub.files(REPO.repo, "main") is not None
    assert hub.tokens == {f"Bearer {TOKEN}"}
    for said in (dry, refused, done):
        assert TOKEN not in said.stdout + said.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_damaged_library_is_not_pushed(hub: Hub, tmp_path: Path):
    mine = library(tmp_path / "mine")
    (mine.root / "left.safetensors").write_bytes(b"x" * 100)
    assert code(client.uploads, mine) == "MFV6033"
    assert code(client.uploads, Library(tmp_path / "empty")) == "MFV6033"
    assert hub.requests == []


@pytest.mark.slow
def test_a_pull_writes_all_or_nothing(hub: Hub, tmp_path: Path):
    damaged = bytearray((TINY / f"right{SUFFIX}").read_bytes())
    damaged[-1] ^= 1
    for name, data, wanted in (
        ("right", bytes(damaged), "MFV6002"),
        ("right", b"nonsense", "MFV6002"),
        ("con", good_file(), "MFV6005"),
        (".hidden", good_file(), "MFV6005"),
        ("left one", good_file(), "MFV6005"),
    ):
        hub.commits.clear()
        upload(hub, **{name: data})
        folder = Library(tmp_path / "pulled")
        assert code(client.pull, REPO, folder) == wanted
        assert not folder.root.exists()
    hub.commits.clear()
    hub.commit(REPO.repo, {"README.md": b"# nothing", "deep/left.safetensors": good_file()})
    assert code(client.pull, REPO, folder) == "MFV6032"
    hub.commits.clear()
    upload(hub, Left=good_file())
    assert code(client.pull, REPO, folder) == "MFV6006"


@pytest.mark.slow
def test_a_file_that_is_too_large_is_not_downloaded(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    upload(hub)
    monkeypatch.setattr(client, "LARGEST", 1000)
    assert code(client.pull, REPO, Library(tmp_path / "pulled")) == "MFV6032"
    assert code(client.download, REPO, f"left{SUFFIX}") == "MFV6032"
    assert not [one for one in hub.requests if one.startswith("GET /org/lib/resolve")]
    assert LARGEST > 1000


# -- what the Hub may answer -----------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "wanted"),
    [(401, "MFV6030"), (403, "MFV6030"), (404, "MFV6031"), (500, "MFV6034"), (503, "MFV6034"),
     (429, "MFV6034"), ("silent", "MFV6034"), ("cut", "MFV6034")],
)  # fmt: skip
def test_faults_are_told_and_nothing_is_kept_of_them(
    hub: Hub, tmp_path: Path, fault: int | str, wanted: str
):
    upload(hub)
    hub.fault = fault
    folder = Library(tmp_path / "pulled")
    recipe = mfv.Recipe(HEAD + EVAL % f'"{REPO}", "left"')
    assert code(client.download, REPO, f"left{SUFFIX}") == wanted
    assert code(recipe.run, tmp_path / "out") == wanted
    if fault == "cut":
        assert code(client.pull, REPO, folder) == wanted
    else:
        assert code(client.pull, REPO, folder) in (wanted, "MFV6030")
        push = code(client.push, REPO, client.uploads(library(tmp_path / "mine")), True, False)
        assert push in (wanted, "MFV6030", "MFV6034")
    assert not folder.root.exists() and not (tmp_path / "store").exists()
    hub.fault = None
    assert client.pull(REPO, folder) == ["left"]
    assert len(recipe.run(tmp_path / "out").rows) == 1


@pytest.mark.slow
def test_what_is_not_there_is_told(hub: Hub, tmp_path: Path):
    assert code(client.download, REPO, f"left{SUFFIX}") == "MFV6030"
    upload(hub)
    assert code(client.download, REPO, f"up{SUFFIX}") == "MFV6031"
    assert code(client.download, HubAddress("org/lib", "v9"), f"left{SUFFIX}") == "MFV6031"
    assert code(client.pull, HubAddress("org/lib", "v9"), Library(tmp_path / "x")) == "MFV6031"
    for wrong in ("-/lib", "a--b/lib", "a/lib."):  # which the Hub's own rules refuse
        assert code(client.download, HubAddress(wrong), f"left{SUFFIX}") == "MFV6015"
        recipe = HEAD + EVAL % f'"hf://{wrong}", "left"'
        assert code(mfv.Recipe, recipe) == "MFV6015"


# -- load ------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_recipe_loads_from_the_hub_and_its_lock_holds_the_commit(hub: Hub, tmp_path: Path):
    first = upload(hub)
    path = tmp_path / "r.mfv"
    path.write_text(HEAD + EVAL % f'"{REPO}", "left"')
    recipe = mfv.Recipe.from_file(path)
    assert hub.requests == []  # checking and planning ask nobody
    assert recipe.plan().steps and hub.requests == []
    row = recipe.run(tmp_path / "out").rows[0]
    assert row == mfv.Recipe(HEAD + EVAL % f'"{TINY}", "left"').run(tmp_path / "out").rows[0]
    (step,) = [one for one in mfv.Recipe.from_file(path).plan().steps if one.operation == "load"]
    assert step.parameters["revision"] == first
    mfv.Recipe.from_file(path).pin()
    (pin,) = read_lock(tmp_path / "mfv.lock").pins.values()
    assert pin.revision == first
    second = upload(hub, left=(TINY / f"right{SUFFIX}").read_bytes())
    asked = len(hub.requests)
    locked = mfv.Recipe.from_file(path).run(tmp_path / "out", locked=True)
    assert locked.rows[0] == row and len(hub.requests) == asked
    mfv.Recipe.from_file(path).pin()
    (pin,) = read_lock(tmp_path / "mfv.lock").pins.values()
    assert pin.revision == second
    assert mfv.Recipe.from_file(path).run(tmp_path / "out", locked=True).rows[0] != row


@pytest.mark.slow
def test_a_lock_is_kept_where_the_cache_is_gone(hub: Hub, tmp_path: Path):
    first = upload(hub)
    path = tmp_path / "r.mfv"
    path.write_text(HEAD + EVAL % f'"{REPO}", "left"')
    mfv.Recipe.from_file(path).pin()
    upload(hub, left=(TINY / f"right{SUFFIX}").read_bytes())
    shutil.rmtree(tmp_path / "cache")
    rows = mfv.Recipe.from_file(path).run(tmp_path / "out", locked=True).rows
    assert rows[0] == mfv.Recipe(HEAD + EVAL % f'"{REPO}@{first}", "left"').run().rows[0]
    # a Hub that gives another content under the same commit
    shutil.rmtree(tmp_path / "cache")
    hub.commits[REPO.repo][0][1][f"left{SUFFIX}"] = (TINY / f"right{SUFFIX}").read_bytes()
    assert code(lambda: mfv.Recipe.from_file(path).run(locked=True)) == "MFV6020"


@pytest.mark.slow
def test_python_loads_from_the_hub(hub: Hub, tmp_path: Path):
    upload(hub)
    stored = mfv.load_vector(str(REPO), "left")
    assert stored.metadata == mfv.load_vector(TINY / f"left{SUFFIX}").metadata
    (tmp_path / "store").mkdir()
    vector = mfv.load(str(REPO), "left").vector(dataset="scenes(count=20)")
    assert vector.residual.equal(stored.vector.residual)
    assert code(mfv.load_vector, str(REPO)) == "MFV6014"


@pytest.mark.slow
def test_a_single_snapshot_is_used_where_the_cache_has_no_main_branch_and_the_hub_is_away(
    hub: Hub, tmp_path: Path
):
    first = upload(hub)
    mfv.load_vector(f"{REPO}@{first}", "left")  # by its commit: no branch is noted
    assert not list((tmp_path / "cache").glob("*/refs/main"))
    hub.fault = "silent"
    assert mfv.load_vector(str(REPO), "left").metadata["name"] == "left"
    facts = at_hand(str(REPO), "left")
    assert facts is not None and facts.revision == first
    hub.fault = None
    second = upload(hub, right=(TINY / f"right{SUFFIX}").read_bytes())
    mfv.load_vector(f"{REPO}@{second}", "left")
    hub.fault = "silent"
    with pytest.raises(MfvError) as found:
        mfv.load_vector(str(REPO), "left")
    assert found.value.code == "MFV6034"
    assert ", ".join(sorted((first, second))) in (found.value.help or "")
    assert at_hand(str(REPO), "left") is None


@pytest.mark.slow
def test_show_takes_an_address(hub: Hub, tmp_path: Path):
    upload(hub)
    done = subprocess.run(
        [sys.executable, "-m", "mfv_dsl", "vectors", "show", f"{REPO}/left"], text=True,
        capture_output=True,
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")},
    )  # fmt: skip
    assert done.stdout.startswith("left: extracted\n├── fv(left)\n"), done.stderr
