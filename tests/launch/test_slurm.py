"""Workers as jobs of Slurm: what submitit is told, and what it would send."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from submitit.slurm import slurm

from mfv_dsl.base.errors import MfvError
from mfv_dsl.launch.options import SlurmOptions
from mfv_dsl.launch.slurm import SlurmLauncher, sbatch_script, slurm_parameters

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
