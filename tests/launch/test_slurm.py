"""Workers as jobs of Slurm: what submitit is told, and what it would send."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from submitit.slurm import slurm

from mfv_dsl.base.errors import MfvError
from mfv_dsl.launch.options import SlurmOptions
from mfv_dsl.launch.slurm import SlurmLauncher, sbatch_script, slurm_parameters
from tests.cli.support import mfv_command

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=200)
eval plain { items = 20 }
"""
#: What submitit's executor takes and a worker, one task on one node, does not; and an old name.
NOT_OURS = {"nodes", "ntasks_per_node", "num_gpus"}


def test_there_is_an_option_for_all_that_submitit_takes():
    ours = set(SlurmOptions.__annotations__) - {"cluster", "folder", "python", "max_num_timeout"}
    assert ours == set(slurm._get_default_parameters()) - NOT_OURS


def test_the_script_is_the_one_that_submitit_sends(tmp_path: Path):
    options = SlurmOptions(
        partition="gpu", mem="32GB", cpus_per_task=4, setup=("module load cuda",), exclusive=True,
        additional_parameters={"hint": "nomultithread"}, python="apptainer exec a.sif python",
    )  # fmt: skip
    command = f"apptainer exec a.sif python -u -m submitit.core._submit {tmp_path}"
    own = slurm._make_sbatch_string(
        command, tmp_path, map_count=8, job_name="mfv", time=240, partition="gpu", mem="32GB",
        cpus_per_task=4, gpus_per_node=1, setup=["module load cuda"], exclusive=True,
        additional_parameters={"hint": "nomultithread"},
    )  # fmt: skip
    assert sbatch_script(options, 1, 8, tmp_path) == own
    assert "#SBATCH --array=0-7%8\n" in own and "#SBATCH --gpus-per-node=1\n" in own
    assert "--array" not in sbatch_script(options, 1, 1, tmp_path)  # a job of its own


def test_gpus_that_are_asked_for_in_another_way_are_not_asked_for_twice():
    assert slurm_parameters(SlurmOptions(gres="gpu:a100:1"), 1).keys().isdisjoint({"gpus_per_node"})
    assert slurm_parameters(SlurmOptions(gpus_per_task=2), 1)["gpus_per_task"] == 2
    assert "gpus_per_node" not in slurm_parameters(SlurmOptions(), 0)


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="there is Slurm here")
def test_without_slurm_it_says_what_else_there_is(tmp_path: Path):
    with pytest.raises(MfvError) as error:
        SlurmLauncher(SlurmOptions(), 0, tmp_path)
    assert error.value.code == "MFV5645"
    assert "--launcher local" in str(error.value) and "cluster=local" in str(error.value)


def test_a_dry_run_prints_the_script_and_sends_nothing(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(RECIPE)
    (tmp_path / "mfv.toml").write_text('[launcher]\nlauncher = "slurm"\nworkers = 3\n')
    more = ("--launcher-option", "partition=gpu")
    shown = mfv_command("run", "r.mfv", "--dry-run", *more, cwd=tmp_path)
    assert shown.returncode == 0 and shown.stdout.startswith("#!/bin/bash\n")
    assert "#SBATCH --partition=gpu\n" in shown.stdout and "--array=0-2%3\n" in shown.stdout
    assert "3 workers" in shown.stderr
    told = json.loads(mfv_command("run", "r.mfv", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert (told["workers"], told["finished"]) == (3, 0) and "#SBATCH" in told["script"]
    here = mfv_command("run", "r.mfv", "--dry-run", "--launcher", "local", cwd=tmp_path)
    assert "model m: tiny" in here.stdout  # the plan
    unsaid = mfv_command("run", "r.mfv", "--dry-run", "--workers", "auto", cwd=tmp_path)
    assert unsaid.returncode == 2 and "MFV5678" in unsaid.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mfv.toml", "r.mfv"]
