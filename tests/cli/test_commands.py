"""The command line, run as a user runs it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.library.vector_file import load_vector
from tests.cli.support import mfv_command

SMALL = """mfv 1
model   m = tiny()
dataset d = scenes(relations=[left, right, above], count=40)
heads   h = {L4H1, L3H7, L2H0}
defaults { heads = h, trials = 12, items = 20, layer = 2 }
vector  v = fv(left) - fv(right)
eval zero    { }
eval few     { shots = 2, on = [left] }
eval raw     { add = fv(each), layer = [1, 3], scale = [0.5, 1], on = [left] }
eval best    { add = v, layer = 0..3, choose = [layer], on = [left] }
eval native  { add = v, layer = native, on = [left] }
eval patched { patch = fv(left), on = [left] }
eval cut     { ablate = h, shots = 2, on = [left] }
eval meaned  { ablate = h, ablate_with = mean, shots = 2, on = [left] }
save "mine" { vectors = [fv(each), v, cosine(v, fv(left)) * normalize(v)] }
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A small recipe of every kind of eval, run once."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.mfv").write_text(SMALL)
    return folder, mfv_command("run", "small.mfv", "--json", cwd=folder)


@pytest.mark.slow
def test_run_prints_json_and_nothing_else(ran):
    _, done = ran
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    counts = {name: sum(row["eval"] == name for row in said["rows"]) for name in
              ("zero", "few", "raw", "best", "native", "patched", "cut", "meaned")}  # fmt: skip
    assert counts == {"zero": 4, "few": 1, "raw": 4, "best": 1, "native": 1, "patched": 1,
                      "cut": 1, "meaned": 1}  # fmt: skip
    for row in said["rows"]:
        assert row["n"] == (60 if row["relation"] is None else 20)
        assert 0 <= row["ci_low"] <= row["accuracy"] <= row["ci_high"] <= 1
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    zero = next(row for row in said["rows"] if (row["eval"], row["relation"]) == ("zero", "left"))
    assert zero["difference"] == zero["difference_low"] == zero["difference_high"] == 0
    few = next(row for row in said["rows"] if row["eval"] == "few")
    assert few["difference"] == pytest.approx(few["accuracy"] - zero["accuracy"])


@pytest.mark.slow
def test_choosing_happens_on_validation(ran):
    said = json.loads(ran[1].stdout)
    assert [(trial["layer"], trial["split"]) for trial in said["choices"]] == [
        (layer, "validation") for layer in range(4)
    ]
    best = max(said["choices"], key=lambda trial: trial["accuracy"])
    chosen = next(row for row in said["rows"] if row["eval"] == "best")
    assert best["accuracy"] == max(
        trial["accuracy"] for trial in said["choices"] if trial["layer"] == chosen["layer"]
    )


def test_run_leaves_a_folder(ran):
    folder, done = ran
    out = folder / "runs" / "small"
    assert (out / "recipe.mfv").read_text() == SMALL
    assert json.loads((out / "results.json").read_text())["rows"] == json.loads(done.stdout)["rows"]
    with open(out / "results.csv") as file:
        assert len(list(csv.DictReader(file))) == 14
    plan = json.loads((out / "plan.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    assert {step["key"] for step in plan["steps"]} == set(manifest["seconds"])
    assert manifest["packages"]["open_flamingo"] == "2.0.1"
    assert sorted(path.name.rsplit("_", 1)[0] for path in (out / "vectors").iterdir()) == [
        "fv_above", "fv_left", "fv_right",
    ]  # fmt: skip


def test_saved_vectors_read_back(ran):
    mine = ran[0] / "mine"
    stored = {path.stem: load_vector(path) for path in mine.glob("*.safetensors")}
    assert set(stored) == set(json.loads((mine / "index.json").read_text())["vectors"])
    assert (mine / "small.mfv").read_text() == SMALL
    card = (mine / "README.md").read_text()
    assert (
        card.startswith("---\nlibrary_name: mfv\n")
        and "\nvector  v = fv(left) - fv(right)\n" in card
    )
    left, right, v = (stored[name].vector for name in ("left", "right", "v"))
    assert (left - right).residual.allclose(v.residual, atol=1e-6)
    assert v.heads == ((2, 0), (3, 7), (4, 1))
    assert stored["v"].metadata["kind"] == "composed"
    assert [one["eval"] for one in stored["left"].metadata["metrics"]] == ["raw"] * 4 + ["patched"]
    assert "layer" not in stored["left"].metadata  # it was measured at several
    assert {one["layer"] for one in stored["v"].metadata["metrics"]} >= {"native"}
    scaled = next(one for name, one in stored.items() if name.startswith("cosine"))
    (parent,) = scaled.metadata["parents"]
    assert parent["coefficient"] == pytest.approx(scaled.vector.norm())
    assert parent["name"] == "normalize(v)" and parent["parents"][0]["coefficient"] is None
    assert parent["parents"][0]["hash"] == stored["v"].metadata["content_sha256"]
    assert v.expression == "fv(left) - fv(right)"
    assert stored["left"].metadata["prompt"]["trials"] == 12
    assert stored["left"].metadata["model"]["n_layers"] == 10
    other = next(vector for name, vector in stored.items() if name.startswith("cosine"))
    assert other.vector.norm() < 1.0001


@pytest.mark.slow
def test_a_process_of_its_own_prints_the_same(ran, tmp_path: Path):
    (tmp_path / "small.mfv").write_text(SMALL)
    done = subprocess.run(
        [sys.executable, "-m", "mfv_dsl", "run", "small.mfv", "--json", "--fresh"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here, there = (json.loads(one.stdout) for one in (ran[1], done))
    assert here.pop("seconds") > 0 and there.pop("seconds") > 0
    assert here == there
    assert done.stderr == ran[1].stderr
    failed = [sys.executable, "-m", "mfv_dsl", "run", "no-such.mfv"]
    assert subprocess.run(failed, capture_output=True).returncode == 2


@pytest.mark.slow
def test_a_library_vector_can_be_loaded_and_is_read_anew_when_it_changes(ran, tmp_path: Path):
    head = SMALL.split("vector")[0]
    folder = tmp_path / "library"
    shutil.copytree(ran[0] / "mine", folder)
    body = f'eval e {{ add = load("{folder}", "left"), layer = 3, on = [left] }}'
    row = mfv.Recipe(head + body).run(tmp_path).rows[0]
    same = next(r for r in json.loads(ran[1].stdout)["rows"]
                if (r["eval"], r["layer"], r["scale"]) == ("raw", 3, 1))  # fmt: skip
    assert row.mean_p_answer == pytest.approx(same["mean_p_answer"], abs=1e-6)
    shutil.copy(folder / "right.safetensors", folder / "left.safetensors")
    changed = mfv.Recipe(head + body).run(tmp_path)
    assert changed.cached == 1  # what the unedited model answers
    assert changed.rows[0].mean_p_answer != row.mean_p_answer
    (folder / "left.safetensors").unlink()
    with pytest.raises(mfv.MfvError, match="there is no vector file"):
        mfv.Recipe(head + body).run(tmp_path)


def test_check_says_ok_or_what_is_wrong(tmp_path: Path):
    (tmp_path / "good.mfv").write_text(SMALL)
    (tmp_path / "bad.mfv").write_text(SMALL.replace("fv(right)", "fv(rihgt)"))
    good = mfv_command("check", "good.mfv", cwd=tmp_path)
    assert (good.returncode, good.stdout) == (0, "good.mfv: ok\n")
    bad = mfv_command("check", "bad.mfv", cwd=tmp_path)
    assert bad.returncode == 1
    assert "error[MFV2001]: unknown relation `rihgt`" in bad.stderr
    assert " --> bad.mfv:6:27" in bad.stderr
    assert "^^^^^" in bad.stderr
    assert "did you mean `right`?" in bad.stderr
    found = json.loads(mfv_command("check", "--json", "bad.mfv", cwd=tmp_path).stdout)
    assert [(one["code"], one["range"]["start"]["line"]) for one in found] == [("MFV2001", 6)]
    assert mfv_command("run", "bad.mfv", cwd=tmp_path).returncode == 1
    assert not (tmp_path / "runs").exists()


def test_usage_errors():
    assert mfv_command("run", "no-such.mfv").returncode == 2
    assert "`mfv recipes` lists the bundled ones" in mfv_command("run", "no-such.mfv").stderr
    assert mfv_command("run").returncode == 2
    assert mfv_command("check", str(Path(__file__).parent)).returncode == 1
    assert "error[MFV6101]: cannot read" in mfv_command("run", str(Path(__file__).parent)).stderr
    assert mfv_command("frobnicate").returncode == 2


def test_a_folder_that_cannot_be_made_is_found_before_the_work(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL)
    (tmp_path / "taken").write_text("a file")
    done = mfv_command("run", "r.mfv", "--out", "taken", "--fresh", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[MFV6102]: cannot make the folder taken" in done.stderr
    assert not (tmp_path / "mine").exists()


def test_more_trials_than_items_are_told_by_check_and_run_alike(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL.replace("trials = 12", "trials = 41"))
    for command in ("check", "run", "plan"):
        done = mfv_command(command, "r.mfv", cwd=tmp_path)
        assert done.returncode == 1
        assert "error[MFV7110]: 41 prompts of" in done.stderr and "r.mfv:5:32" in done.stderr
        assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["r.mfv"]


def test_models_and_version():
    assert mfv_command("version").stdout == f"mfv-dsl {mfv.__version__}\n"
    rows = json.loads(mfv_command("models", "--json").stdout)
    known = {(row["constructor"], row["name"]): row for row in rows}
    assert all(row["runs_here"] for row in rows)
    assert known["tiny", None]["layers"] == 10 and known["tiny", "llava"]["layers"] == 6
    assert known["tiny", "llava"]["here"] and known["hf", None]["layers"] is None
    assert 'tiny("llava")' in mfv_command("models").stdout


# -- the language at the command line -------------------------------------------------------------
def test_set_is_checked_like_source_text(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL)
    done = mfv_command(
        "check", "r.mfv", "--set", "raw.layer=0..12", "--set", "rww.layer=1",
        "--set", "few.sots=1", "--set", "nothing", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    for place in ("--set:1:11", "--set:1:1", "--set:1:5"):
        assert place in done.stderr
    assert "raw.layer=0..12\n" in done.stderr and "^^" in done.stderr
    assert "did you mean `raw`?" in done.stderr
    assert "did you mean `shots`?" in done.stderr
    assert done.stderr.count("error[") == 4


def test_set_changes_what_runs(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL)
    done = mfv_command(
        "run", "r.mfv", "--set", "raw.layer=5", "--set", "raw.scale=2", "--set", "d.seed=3",
        "--set", "defaults.items=7", "--only", "raw", "--json", "--out", "x", cwd=tmp_path,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert [(row["layer"], row["scale"], row["n"]) for row in said["rows"]] == [(5, 2, 7)]
    assert said["saved"] == []
    as_run = (tmp_path / "x" / "recipe.mfv").read_text()
    assert as_run.startswith("# r.mfv --set raw.layer=5")
    assert mfv.Recipe(as_run).plan(["raw"]).steps == mfv.Recipe.from_file(
        tmp_path / "r.mfv", ("raw.layer=5", "raw.scale=2", "d.seed=3", "defaults.items=7")
    ).plan(["raw"]).steps  # fmt: skip


PROFILES = """
profile short { defaults.items = 7, raw.layer = 5, raw.scale = 2, d.count = 30 }
profile wrong { rww.layer = 1 }
"""


@pytest.mark.slow
def test_a_profile_is_what_runs_and_takes_no_other_place(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL + PROFILES.replace("rww", "raw"))
    done = mfv_command(
        "run", "r.mfv", "--profile", "short", "--only", "raw", "--json", cwd=tmp_path
    )
    said = json.loads(done.stdout)
    assert [(row["layer"], row["n"]) for row in said["rows"]] == [(5, 7)]
    assert said["folder"] == "runs/r-short"
    more = mfv_command(
        "run", "r.mfv", "--profile", "short", "--set", "raw.layer=5", "--only", "raw", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(more.stdout)["rows"] == said["rows"]
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(folders) == 2 and folders[1].startswith("r-short-set-")
    for folder, options in zip(folders, ([], ["raw.layer=5"]), strict=True):
        manifest = json.loads((tmp_path / "runs" / folder / "manifest.json").read_text())
        origin = {"recipe": "r.mfv", "profile": "short", "set": options}
        assert {key: manifest[key] for key in origin} == origin
    first = json.loads((tmp_path / "runs" / "r-short" / "plan.json").read_text())
    by_hand = ("defaults.items=7", "raw.layer=5", "raw.scale=2", "d.count=30")
    by_set = mfv.Recipe(SMALL, "r", by_hand).plan(["raw"])
    assert [step["key"] for step in first["steps"]] == [step.key for step in by_set.steps]


@pytest.mark.slow
def test_commands_take_a_profile(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL + PROFILES)
    (tmp_path / "right.mfv").write_text(SMALL + PROFILES.replace("rww", "raw"))
    found = mfv_command("check", "right.mfv", "r.mfv", cwd=tmp_path)
    assert found.returncode == 1 and found.stdout == "right.mfv: ok\n"
    assert "error[MFV2031]" in found.stderr and "did you mean `raw`?" in found.stderr
    plan = mfv_command("plan", "right.mfv", "--profile", "short", cwd=tmp_path)
    assert plan.returncode == 0 and "layer 5" in plan.stdout
    data = mfv_command("data", "check", "right.mfv", "--profile", "short", "--json", cwd=tmp_path)
    assert data.returncode == 0 and "scenes, 30 a relation" in data.stdout
    for command in (("check",), ("plan",), ("run",), ("data", "check")):
        unknown = mfv_command(*command, "right.mfv", "--profile", "shrt", cwd=tmp_path)
        assert unknown.returncode == 1
        assert "error[MFV2030]: right.mfv has no profile `shrt`" in unknown.stderr
        assert "did you mean `short`?" in unknown.stderr
    assert mfv_command("data", "check", "scenes", "--profile", "short").returncode == 2


def test_check_looks_at_each_profile(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL + "profile late { raw.layer = 0..12 }\n")
    found = mfv_command("check", "--json", "r.mfv", cwd=tmp_path)
    (one,) = json.loads(found.stdout)
    line = SMALL.count("\n") + 1
    assert (one["code"], one["range"]["start"]["line"]) == ("MFV4001", line)
    assert mfv_command("plan", "r.mfv", cwd=tmp_path).returncode == 0


def test_a_recipe_is_found_beside_a_folder_of_its_name(tmp_path: Path):
    (tmp_path / "quickstart").mkdir()
    assert mfv_command("check", "quickstart", cwd=tmp_path).stdout == "quickstart: ok\n"


def test_only_names_what_there_is(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL)
    done = mfv_command("plan", "r.mfv", "--only", "rw", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean `raw`?" in done.stderr


def test_plan_and_dry_run_show_the_same_and_load_nothing(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(SMALL)
    plan = mfv_command("plan", "r.mfv", cwd=tmp_path)
    dry = mfv_command("run", "r.mfv", "--dry-run", cwd=tmp_path)
    assert plan.returncode == 0
    assert plan.stdout == dry.stdout
    assert "evaluate: raw: left, 0 shots" in plan.stdout
    said = json.loads(mfv_command("plan", "r.mfv", "--json", cwd=tmp_path).stdout)
    assert len(said["steps"]) == len(said["notes"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_fmt(tmp_path: Path):
    messy = "mfv 1\nmodel  m=tiny( )   # the model\ndataset d = scenes()\n\n\n\neval e{shots=0}\n"
    path = tmp_path / "r.mfv"
    path.write_text(messy)
    assert mfv_command("fmt", "--check", "r.mfv", cwd=tmp_path).returncode == 1
    diff = mfv_command("fmt", "--diff", "r.mfv", cwd=tmp_path)
    assert diff.returncode == 0
    assert "-eval e{shots=0}" in diff.stdout
    assert path.read_text() == messy
    piped = subprocess.run(
        [sys.executable, "-m", "mfv_dsl", "fmt", "-"], input=messy, capture_output=True, text=True
    )
    assert mfv_command("fmt", "r.mfv", cwd=tmp_path).returncode == 0
    assert path.read_text() == piped.stdout != messy
    assert "# the model" in piped.stdout
    assert mfv_command("fmt", "--check", "r.mfv", cwd=tmp_path).returncode == 0
    path.write_text("mfv 1\neval e {")
    refused = mfv_command("fmt", "r.mfv", cwd=tmp_path)
    assert refused.returncode == 1 and "error[" in refused.stderr
    assert path.read_text() == "mfv 1\neval e {"


@pytest.mark.slow
def test_the_bundled_recipes_are_formatted():
    recipes = map(str, sorted((Path(__file__).parents[2] / "recipes").rglob("*.mfv")))
    done = mfv_command("fmt", "--check", *recipes)
    assert done.returncode == 0, done.stderr


def test_explain_and_reference():
    page = mfv_command("explain", "mfv2001").stdout
    assert page.startswith("MFV2001: ") and "Wrong:" in page and "Right:" in page
    assert mfv_command("explain", "MFV9999").returncode == 2
    assert "choose" in mfv_command("reference", "eval").stdout
    wrong = mfv_command("reference", "evla")
    assert wrong.returncode == 2 and "did you mean eval?" in wrong.stderr


@pytest.mark.slow
def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    (tmp_path / "r.mfv").write_text(SMALL)
    mfv_command("run", "r.mfv", "--only", "few", "--quiet", cwd=tmp_path)
    entries = json.loads(mfv_command("cache", "list", "--json").stdout)
    assert sorted(entry["operation"] for entry in entries) == ["answers", "answers", "evaluate"]
    entry = next(entry for entry in entries if entry["operation"] == "evaluate")
    assert "few: left, 2 shots" in mfv_command("cache", "list").stdout
    assert mfv_command("cache", "verify").returncode == 0
    Path(entry["path"]).write_bytes(b"damaged")
    broken = mfv_command("cache", "verify")
    assert broken.returncode == 3 and entry["path"] in broken.stdout
    assert mfv_command("cache", "clear").returncode == 0
    assert json.loads(mfv_command("cache", "list", "--json").stdout) == []


@pytest.mark.slow
def test_heads_by_other_scores_and_a_trace(tmp_path: Path):
    """Exact, estimated, by norm and at random: four choices, and the heads chosen are written."""
    lines = [
        f"heads by_{by} = top(4, by={by}, on=[left], trials=10, seed=3)\n"
        f"eval e_{by} {{ ablate = by_{by}, shots = 2, on = [left], items = 10 }}"
        for by in ("aie", "gradient", "norm", "random")
    ]
    head = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right], count=40)\n"
    result = mfv.Recipe(head + "\n".join(lines)).run(tmp_path, trace=True, fresh=True)
    chosen = {}
    for row in result.plan.rows:
        heads = result.values[result.plan[row.step].inputs["real"]].chosen
        chosen[row.eval] = set(heads)
        assert len(heads) == 4
    assert len({frozenset(heads) for heads in chosen.values()}) >= 3
    assert chosen["e_aie"] & chosen["e_gradient"]
    trace = (tmp_path / "trace.txt").read_text()
    assert "mediation: effect of every head on left" in trace
    written = [line for line in trace.splitlines() if line.startswith("  replace at lm.attn")]
    layer, number = min(chosen["e_norm"])
    assert any(f"lm.attn[{layer}]" in line and str(number) in line for line in written)
