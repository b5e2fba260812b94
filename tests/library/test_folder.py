"""Library folders: names, index, card, and writers that meet or are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import check_clash, check_name
from mfv_dsl.library.card import KEPT
from mfv_dsl.library.folder import LOCK, Library
from mfv_dsl.library.header import Header
from mfv_dsl.library.hub import uploads
from mfv_dsl.library.verify import verify_library
from tests.library.support import CREATED, arrays, good_file, said, write


def filled(root: Path, *names: str) -> Library:
    library = Library(root)
    with library.writing():
        for seed, name in enumerate(names):
            library.put(name, arrays(seed=seed), said(relation=name))
    return library


def errors(library: Library) -> list[str]:
    return [row["error"] for row in verify_library(library) if row["error"]]


# -- names ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["left", "a", "fv_left.v2", "L4-H1", "_x", "9", "x" * 100])
def test_names_that_files_may_have(name: str):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../left", "/etc/passwd", "a/b", "a\\b", "C:x", ".hidden", "-rf", "left.",
        "left ", " left", "le\nft", "le\0ft", "le\x1bft", "left\u202e", "lëft", "left*", "a:b",
        "con", "CON", "nul.txt", "Com1", "lpt9.v2", "aux", "prn", "x" * 101,
    ],
)  # fmt: skip
def test_names_that_no_file_may_have(tmp_path: Path, name: str):
    with pytest.raises(MfvError) as found:
        check_name(name)
    assert found.value.code == "MFV6005"
    library = filled(tmp_path / "library", "left")
    for use in (library.path, lambda name: library.put(name, arrays(), said())):
        with pytest.raises(MfvError) as found:
            use(name)
        assert found.value.code == "MFV6005"
    with library.writing(), pytest.raises(MfvError):
        library.rename("left", name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["library", ".lock", "README.md", "index.json", "left.safetensors"]
    )


def test_names_that_differ_by_capitals_alone(tmp_path: Path):
    library = filled(tmp_path, "left")
    with library.writing():
        with pytest.raises(MfvError, match="differ by capitals alone"):
            library.put("Left", arrays(), said())
        with pytest.raises(MfvError, match="differ by capitals alone"):
            library.rename("left", "LEFT")
    check_clash("left", ["left", "right"])
    assert library.names() == ["left"]


def test_a_link_out_of_the_library_is_not_followed(tmp_path: Path):
    outside = write(tmp_path / "secret.safetensors", good_file())
    library = filled(tmp_path / "library", "right")
    (library.root / "left.safetensors").symlink_to(outside)
    (library.root / "same.safetensors").symlink_to(library.root / "right.safetensors")
    with pytest.raises(MfvError) as found:
        library.path("left")
    assert found.value.code == "MFV6007"
    assert library.path("same").exists()
    assert "left" not in library.index()["vectors"]
    assert any("leads out of its library" in error for error in errors(library))
    with library.writing():
        library.put("left", arrays(), said())  # takes the link's place and leaves its target
    assert outside.read_bytes() == good_file()
    assert not library.path("left").is_symlink()


def test_what_the_index_leaves_out_can_be_removed(tmp_path: Path):
    outside = write(tmp_path / "secret.safetensors", good_file())
    library = filled(tmp_path / "library", "right")
    links = {
        "out": outside, "gone": tmp_path / "nowhere",
        "loop": library.root / "loop.safetensors", "same": library.root / "right.safetensors",
    }  # fmt: skip
    for name, target in links.items():
        (library.root / f"{name}.safetensors").symlink_to(target)
    os.mkfifo(library.root / "pipe.safetensors")
    assert list(library.index()["vectors"]) == ["right", "same"]
    with library.writing():
        for name in (*links, "pipe"):
            library.remove(name)
    assert library.names() == ["right"] and outside.read_bytes() == good_file()
    with library.writing(), pytest.raises(MfvError, match="there is no vector file"):
        library.remove("out")


@pytest.mark.slow
def test_the_index_command_says_what_it_leaves_out(tmp_path: Path):
    library = filled(tmp_path / "library", "right")
    outside = write(tmp_path / "a.safetensors", good_file())
    (library.root / "out.safetensors").symlink_to(outside)
    done = subprocess.run(
        [sys.executable, "-m", "mfv_dsl", "vectors", "index", str(library.root)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{library.root}: 1 vectors\n" in done.stderr
    assert "left out: " in done.stderr and "leads out of its library" in done.stderr


def test_pipes_are_neither_recipes_nor_cards_of_a_library(tmp_path: Path):
    library = filled(tmp_path, "left")
    for name in ("r.mfv", "README.md", "index.json"):
        (tmp_path / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / name)
    assert library.recipes() == []
    filled(tmp_path, "right")
    assert {row["error"] for row in verify_library(library)} == {None}
    assert KEPT in (tmp_path / "README.md").read_text()


def test_links_out_of_a_library_are_not_in_its_card_nor_pushed(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    library = filled(tmp_path / "library", "left")
    (library.root / "README.md").unlink()
    for name in ("README.md", "r.mfv"):
        (library.root / name).symlink_to(secret)
    (library.root / "loop.safetensors").symlink_to(library.root / "loop.safetensors")
    assert library.recipes() == []
    assert b"the secret" not in library.card_bytes()
    assert len(errors(library)) == 1  # the loop
    (library.root / "loop.safetensors").unlink()
    assert not [file for file in uploads(library) if b"the secret" in file.data]
    with library.writing():
        pass
    assert not (library.root / "README.md").is_symlink() and secret.read_text() == "the secret"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_not_opened(tmp_path: Path):
    library = filled(tmp_path, "left")
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert [error.split(": ")[-1] for error in errors(library)] == [
        "it is a folder, not a file",
        "it is a pipe, not a file",
    ]


def test_a_missing_vector_names_those_that_are_there(tmp_path: Path):
    library = filled(tmp_path, "left", "right")
    with pytest.raises(MfvError, match="did you mean `left`"):
        library.path("lfet")
    with pytest.raises(MfvError, match="the library has: left, right"):
        library.path("above")
    with pytest.raises(MfvError, match="there is no vector file"):
        Library(tmp_path / "nowhere").path("left")


# -- what is in it --------------------------------------------------------------------------------
def test_index_and_card_follow_the_files(tmp_path: Path):
    library = filled(tmp_path / "mine", "right", "left")
    index = json.loads((library.root / "index.json").read_text())["vectors"]
    assert list(index) == ["left", "right"]
    assert index["left"]["file"] == "left.safetensors"
    assert index["left"]["relation"] == "left" and index["left"]["model"] == "tiny"
    (_, header), _ = library.entries()
    assert isinstance(header, Header) and index["left"]["hash"] == header.metadata["content_sha256"]
    card = (library.root / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: mfv\ntags: ") and "\n# mine\n" in card
    before = {path: path.stat().st_mtime_ns for path in library.root.glob("*.*")}
    with library.writing():
        pass
    assert {path: path.stat().st_mtime_ns for path in library.root.glob("*.*")} == before
    with library.writing():
        library.remove("left")
        assert library.rename("right", "up").name == "up.safetensors"
    assert list(json.loads((library.root / "index.json").read_text())["vectors"]) == ["up"]
    assert errors(library) == []
    assert "| up |" in (library.root / "README.md").read_text()


def test_a_renamed_vector_says_its_name_and_keeps_the_rest(tmp_path: Path):
    library = filled(tmp_path, "left", "right")
    before = dict(library.entries())["left"]
    with library.writing():
        with pytest.raises(MfvError, match="has a vector `right` already"):
            library.rename("left", "right")
        library.rename("left", "up")
    after = dict(library.entries())["up"]
    assert isinstance(before, Header) and isinstance(after, Header)
    changed = {key for key in after.metadata if after.metadata[key] != before.metadata[key]}
    assert changed == {"name", "metadata_sha256"}
    assert after.metadata["created"] == CREATED


def test_the_index_is_never_the_truth(tmp_path: Path):
    library = filled(tmp_path, "left")
    (tmp_path / "index.json").write_text('{"vectors": {"gone": {}}}')
    assert library.names() == ["left"]
    assert "it is not what the files give" in errors(library)[0]
    filled(tmp_path, "right")
    assert errors(library) == []


def test_verify_tells_every_bad_file(tmp_path: Path):
    library = filled(tmp_path, "a", "b", "c", "d")
    good = library.path("a").read_bytes()
    library.path("b").write_bytes(good)
    library.path("c").write_bytes(good[:-1])
    library.path("d").write_bytes(b"nonsense")
    with library.writing():
        pass
    rows = {Path(row["file"]).name: row["error"] for row in verify_library(library)}
    assert rows["a.safetensors"] is None and rows["index.json"] is None
    assert rows["b.safetensors"] == "it says that it is `a`"
    assert "header describes" in rows["c.safetensors"]
    assert "its header would be" in rows["d.safetensors"]


def test_the_card_keeps_what_its_author_wrote(tmp_path: Path):
    library = filled(tmp_path, "left")
    card = tmp_path / "README.md"
    card.write_text(card.read_text() + "\nMy own words.\n")
    with library.writing():
        library.write_card(license="mit")
    filled(tmp_path, "right")
    text = card.read_text()
    assert text.endswith(f"{KEPT}\n\nMy own words.\n")
    assert 'license: "mit"' in text and "| right |" in text
    card.write_text("# Somebody's page\n")
    filled(tmp_path, "above")
    assert card.read_text() == "# Somebody's page\n"
    library.write_card(license="mit", force=True)
    filled(tmp_path, "below")
    assert 'license: "mit"' in card.read_text()
    assert card.read_text().startswith("---\nlibrary_name: mfv")
    for own in (f"{KEPT}\ncaf\xe9\n".encode("latin-1"), f"{KEPT}\né".encode("utf-16-le")):
        card.write_bytes(own)  # words that cannot be read are not written anew
        filled(tmp_path, "above_left")
        assert card.read_bytes() == own
    card.write_bytes(f"{KEPT}\r\n\r\nMeine Wörter\r\n".encode("utf-8-sig"))
    filled(tmp_path, "above_right")
    assert card.read_text().endswith(f"{KEPT}\n\nMeine Wörter\n")


def test_the_card_holds_models_results_and_recipes(tmp_path: Path):
    library = Library(tmp_path)
    row = {"eval": "raw", "relation": "left", "shots": 0, "layer": 2, "scale": 1.0, "n": 50,
           "accuracy": 0.9, "ci_low": 0.8, "ci_high": 0.95, "difference": 0.5,
           "difference_low": 0.4, "difference_high": 0.6}  # fmt: skip
    model = {"id": "org/model-4B", "fingerprint": "abc", "d_model": 6}
    with library.writing():
        library.put_recipe("../my recipe", "mfv 1\n# ```\n")
        library.put(
            "left", arrays(),
            said(metrics=[row, {"odd": 1}, {"accuracy": "<b>|"}], model=model, license="mit"),
        )  # fmt: skip
        library.put("odd", arrays(), said(expression="a|b\n<script>", model=model, license="mit"))
    text = (tmp_path / "README.md").read_text()
    assert 'license: "mit"\nbase_model: ["org/model-4B"]\n---' in text
    assert "| left | raw | left | 0 | 2 | 1.0 | 50 | 90 [80, 95] | +50 [+40, +60] |" in text
    assert "| &lt;b>\\| |" in text
    assert "`a\\|b &lt;script>`" in text
    assert "## Recipe: my_recipe.mfv\n\n````\nmfv 1\n# ```\n````\n" in text


# -- writers that meet ----------------------------------------------------------------------------
WORKER = """
import sys
from pathlib import Path
import filelock  # imported before the work, so that none of it is importing
from mfv_dsl.library import card, stored
from mfv_dsl.library.folder import LOCK, Library
from tests.library.support import arrays, said

root, who, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
library = Library(root)
print("ready", flush=True)
sys.stdin.readline()
for n in range(rounds):
    with library.writing():
        library.put(f"{who}{n % 7}", arrays(seed=n), said(x_round=n))
        library.put("both", arrays(seed=n), said(x_by=who, x_round=n))
    print(n, flush=True)
assert "torch" not in sys.modules
"""


def worker(root: Path, who: str, rounds: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), who, str(rounds)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def finished(process: subprocess.Popen[str]) -> int:
    """The last round that a worker said it had finished, -1 before the first."""
    assert process.stdout is not None
    return max(map(int, process.stdout.read().split()), default=-1)


@pytest.mark.slow
def test_two_writers_at_once_lose_nothing(tmp_path: Path):
    """2 writers x 60 rounds into one folder, each round under the lock."""
    rounds = 60
    writers = [worker(tmp_path, who, rounds) for who in "ab"]
    go(*writers)
    assert [finished(writer) for writer in writers] == [rounds - 1] * 2
    assert [writer.wait() for writer in writers] == [0, 0]
    library = Library(tmp_path)
    names = sorted(f"{who}{n}" for who in "ab" for n in range(7))
    assert library.names() == sorted([*names, "both"])
    assert errors(library) == []
    for name, header in library.entries():
        assert isinstance(header, Header)
        last = rounds - 1 if name == "both" else rounds - 1 - (rounds - 1 - int(name[1])) % 7
        assert header.metadata["x_round"] == last
    assert not list(tmp_path.glob(".*.*.*"))


@pytest.mark.slow
def test_writers_killed_at_any_moment_leave_whole_files(tmp_path: Path):
    """40 writers, each killed at a random moment of a round: what one had finished is there, every
    file is whole, and the next writer finds the lock free and mends the index."""
    rng, kills, between = random.Random(0), 40, 0
    for number in range(kills):
        writer = worker(tmp_path, "w", 10_000)
        go(writer)
        done, started = -1, time.monotonic()
        assert writer.stdout is not None
        for _ in range(rng.randrange(4)):
            done = int(writer.stdout.readline())
        time.sleep(rng.random() * (time.monotonic() - started) / (done + 1) if done >= 0 else 0)
        writer.send_signal(signal.SIGKILL)
        done = max(done, finished(writer))
        writer.wait()
        library = Library(tmp_path)
        bad = errors(library)
        assert all("not what the files give" in error for error in bad), bad
        between += bool(bad)
        if done >= 0:
            there = dict(library.entries())
            for name, rounds in ((f"w{done % 7}", [done]), ("both", [done, done + 1])):
                header = there[name]
                assert isinstance(header, Header), number
                assert header.metadata["x_round"] in rounds
    filled(tmp_path, "last")
    assert errors(Library(tmp_path)) == []
    assert 0 < between < kills, f"{between} of {kills} fell between a file and its index"


@pytest.mark.slow
def test_a_writer_waits_for_another(tmp_path: Path):
    held = FileLock(tmp_path / LOCK, thread_local=False)
    held.acquire()
    release = threading.Timer(0.3, held.release)
    release.start()
    with Library(tmp_path).writing():
        assert not held.is_locked
    release.join()


def test_temporary_files_of_killed_writers_go_when_they_are_old(tmp_path: Path):
    library = filled(tmp_path, "left")
    old, new = tmp_path / ".left.safetensors.abcdefgh", tmp_path / ".left.safetensors.ijklmnop"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert library.names() == ["left"]
    filled(tmp_path, "right")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_library_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(MfvError) as found:
        filled(tmp_path / "file", "left")
    assert found.value.code == "MFV6008"
    monkeypatch.setattr("mfv_dsl.library.folder.PATIENCE", 0.1)
    busy = pytest.raises(MfvError, match="another process has been writing")
    with Library(tmp_path / "mine").writing(), busy:
        filled(tmp_path / "mine", "left")
