"""What launchers are told: good and bad, from mfv.toml, from the command line and from Python."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.launch.crews import crew_of
from mfv_dsl.launch.options import LocalOptions, RayOptions, SlurmOptions
from mfv_dsl.launch.settings import launch_settings

LAB = """\
# of the lab
[launcher]
launcher = "slurm"
workers = 8
gpus-per-worker = 1

[launcher.slurm]
partition = "gpu"
time = 120
setup = [
  "module load cuda",
]
additional_parameters = { hint = "nomultithread" }

[launcher.ray]
address = "10.0.0.1:6379"
resources.fast = 0.5
"""


def write(folder: Path, text: str) -> Path:
    (folder / "mfv.toml").write_text(text)
    return folder


def test_nothing_asked_for_is_no_workers(tmp_path: Path):
    assert launch_settings(tmp_path) is None
    assert launch_settings(write(tmp_path, "[launcher]\n[launcher.slurm]\npartition = 'a'")) is None


def test_a_file_says_it_once_for_all(tmp_path: Path):
    settings = launch_settings(write(tmp_path, LAB))
    assert settings is not None and (settings.launcher, settings.workers) == ("slurm", 8)
    assert settings.gpus_per_worker == 1
    assert settings.options == SlurmOptions(
        partition="gpu", time=120, setup=("module load cuda",),
        additional_parameters={"hint": "nomultithread"},
    )  # fmt: skip


def test_the_command_line_comes_after_the_file(tmp_path: Path):
    folder = write(tmp_path, LAB)
    typed = ["time=7", "additional_parameters.nice=5", "exclusive=true", "setup=a", "setup=b"]
    settings = launch_settings(folder, workers="2", launcher_options=typed)
    assert settings is not None and settings.workers == 2
    assert settings.options == SlurmOptions(
        partition="gpu", time=7, setup=("a", "b"), exclusive=True,
        additional_parameters={"hint": "nomultithread", "nice": "5"},
    )  # fmt: skip
    on_ray = launch_settings(folder, "ray", launcher_options={"num_cpus": 2})
    assert on_ray is not None and on_ray.options == RayOptions(
        address="10.0.0.1:6379", num_cpus=2, resources={"fast": 0.5}
    )
    here = launch_settings(folder, "local", "auto")
    assert here is not None and (here.workers, here.options) == ("auto", LocalOptions())


@pytest.mark.parametrize(
    ("text", "code", "place", "said"),
    [
        ("[launcher]\nlauncher = 'slrum'", "MFV5640", (2, 1), "did you mean `slurm`?"),
        ("[launcher]\nworker = 2", "MFV5640", (2, 1), "did you mean `workers`?"),
        ("[launcher]\npartition = 'a'", "MFV5640", (2, 1), "[launcher.slurm]"),
        ("[lancher]\nworkers = 2", "MFV5640", (1, 1), "its table is [launcher]"),
        ("launcher = 'slurm'", "MFV5641", (1, 1), "[launcher]"),
        ("[launcher]\nworkers = 0", "MFV5641", (2, 1), "1 or more"),
        ("[launcher]\nworkers = true", "MFV5641", (2, 1), "1 or more"),
        ("[launcher]\ngpus-per-worker = 0.5", "MFV5641", (2, 1), "a whole number"),
        ("[launcher]\nslurm = 3", "MFV5641", (2, 1), "[launcher.slurm]"),
        ("[launcher.slurm]\n\npartion = 'a'", "MFV5640", (3, 1), "did you mean `partition`?"),
        ("[launcher.slurm]\n  time = '2h'", "MFV5641", (2, 3), "a whole number"),
        ("[launcher.slurm]\nnodes = 2", "MFV5640", (2, 1), "--workers"),
        ("[launcher.slurm]\ntimeout_min = 2", "MFV5640", (2, 1), "it is `time` here"),
        ("[launcher.slurm]\nsetup = 'a'", "MFV5641", (2, 1), "a list, each a text"),
        ("[launcher.slurm]\nsetup = [1]", "MFV5641", (2, 1), "a list, each a text"),
        ("launcher.ray.num_cpus = -1", "MFV5641", (1, 1), "0 is the least"),
        ("[launcher.ray]\nnum_cpus = inf", "MFV5641", (2, 1), "0 is the least"),
        ("[launcher.ray]\npartition = 'a'", "MFV5640", (2, 1), "one of slurm"),
        ("[launcher]\nray = { adress = 'a' }", "MFV5640", (2, 1), "did you mean `address`?"),
        ("[launcher.ray]\nresources = { a = 'b' }", "MFV5641", (2, 1), "each a number"),
    ],
)
def test_what_is_wrong_in_a_file_is_shown_there(
    tmp_path: Path, text: str, code: str, place: tuple[int, int], said: str
):
    with pytest.raises(MfvError) as error:
        launch_settings(write(tmp_path, text))
    (found,) = error.value.diagnostics
    assert found.source is not None and found.span is not None
    assert (found.code, found.source.position(found.span.start)) == (code, place)
    assert said in (found.help or "")


@pytest.mark.parametrize(
    "text", ["[launcher\n", "[launcher]\n[launcher]", "\udcff", "a = 1979-99-99"]
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str):
    (tmp_path / "mfv.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(MfvError) as error:
        launch_settings(tmp_path)
    assert error.value.code == "MFV5642"


@pytest.mark.parametrize(
    ("launcher", "option", "code", "said"),
    [
        ("slurm", "partion=gpu", "MFV5640", "did you mean `partition`?"),
        ("slurm", "cpus-per-task=2", "MFV5640", "did you mean `cpus_per_task`?"),
        ("slurm", "slurm_time=2", "MFV5640", "did you mean `time`?"),
        ("local", "partition=gpu", "MFV5640", "--launcher slurm"),
        ("local", "colour=red", "MFV5640", "no options"),
        ("slurm", "partition", "MFV5641", "name=value"),
        ("slurm", "=gpu", "MFV5641", "name=value"),
        ("slurm", "time=1.5", "MFV5641", "a whole number"),
        ("slurm", "cluster=remote", "MFV5641", 'one of "slurm", "local"'),
        ("slurm", "use_srun=yes", "MFV5641", "true or false"),
        ("slurm", "time.x=2", "MFV5641", "time=VALUE"),
        ("ray", "resources=2", "MFV5641", "resources.KEY=VALUE"),
        ("ray", "num_cpus=nan", "MFV5641", "0 is the least"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_shown(
    launcher: str, option: str, code: str, said: str
):
    with pytest.raises(MfvError) as error:
        launch_settings(Path("nowhere"), launcher, launcher_options=[option])
    (found,) = error.value.diagnostics
    assert found.code == code and said in (found.help or "")
    assert found.source is not None and found.source.name == "--launcher-option"


@pytest.mark.parametrize(
    "given",
    [{"workers": 0}, {"workers": "many"}, {"workers": True}, {"gpus_per_worker": -1},
     {"launcher_options": {"partition": "gpu"}},
     {"launcher": "ray", "launcher_options": {"memory": 0.5}}],
)  # fmt: skip
def test_what_is_wrong_in_python_is_refused(given: dict[str, object]):
    with pytest.raises(MfvError) as error:
        launch_settings(Path("nowhere"), **given)  # type: ignore[arg-type]
    assert error.value.code in ("MFV5640", "MFV5641")


def test_the_page_names_every_option():
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    for options in (SlurmOptions, RayOptions):
        missing = [one.name for one in fields(options) if f"`{one.name}`" not in page]
        assert not missing


def test_all_workers_keep_to_the_threads_that_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    asked = [
        launch_settings(Path("nowhere"), workers=2),
        launch_settings(Path("nowhere"), "ray", 2),
    ]
    for said, threads in (("3", 3), ("3,1", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert [crew_of(one).threads for one in asked if one is not None] == [threads, threads]
    for said in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert asked[1] is not None and crew_of(asked[1]).threads is None
