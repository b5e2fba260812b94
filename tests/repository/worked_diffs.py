"""What CONTRIBUTING.md promises of its diffs, checked in a copy of the package that has them all.

``python worked_diffs.py RECIPE FOLDER`` runs the page's examples, then a check for each section,
and prints as JSON what went wrong in each: nothing, or the traceback.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.cli import main
from mfv_dsl.data import open_dataset
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.execute.results import ResultRow
from mfv_dsl.interactive import InteractiveResult
from mfv_dsl.lang.codes import page
from mfv_dsl.lang.reference import reference
from mfv_dsl.models.sites import find_sites
from mfv_dsl.plan.steps import Step

#: what stands before an example of an error's page
HEAD = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right])\n"


def step(result: InteractiveResult, operation: str) -> Step:
    """The first step of an operation."""
    return next(step for step in result.plan.steps if step.operation == operation)


def row(result: InteractiveResult, name: str, control: str = "") -> ResultRow:
    """The row of an eval on ``left``."""
    (row,) = (
        row for row in result.rows
        if (row.eval, row.relation, row.control or "") == (name, "left", control)
    )  # fmt: skip
    return row


def function(result: InteractiveResult, folder: Path) -> None:
    sparsified = step(result, "sparsify")
    sparse = result.values[sparsified.key].residual
    whole = result.values[sparsified.inputs["v"]].residual
    rest = sparse != 0
    assert int(rest.sum()) == round(0.1 * len(whole))
    assert bool((sparse[rest] == whole[rest]).all())
    assert whole[rest].abs().min() >= whole[~rest].abs().max()
    assert row(result, "sparse").mean_p_answer != row(result, "whole").mean_p_answer
    assert str(mfv.sparsify(mfv.fv("left"), keep=0.2)) == "sparsify(fv(left), keep=0.2)"
    assert "`keep`" in reference("sparsify")


def attribute(result: InteractiveResult, folder: Path) -> None:
    for name, place in (("lowest", 0), ("highest", -1)):
        measured = next(r.step for r in result.plan.rows if (r.eval, r.relation) == (name, "left"))
        trials = result.values[measured].trials
        merits = [(t.outcomes.accuracy, float(t.outcomes.p_answer.mean())) for t in trials]
        # all are equal, but for the rounding of some processors
        best = [t.at.layer for t, merit in zip(trials, merits, strict=True) if merit == max(merits)]
        assert row(result, name).layer == best[place]
    assert "`prefer`" in reference("eval")


def ranking(result: InteractiveResult, folder: Path) -> None:
    peaks = {s.key: s for s in result.plan.steps if s.operation == "head_peaks"}
    top = next(s for s in result.plan.steps if set(s.input_keys) & set(peaks))
    means = [result.values[peaks[key].inputs["mean"]].mean for key in top.inputs["scores"]]
    score = torch.stack([mean.abs().amax(-1) for mean in means]).mean(0)
    best = score.flatten().topk(3).indices.tolist()
    assert list(result.values[top.key].chosen) == [divmod(i, score.shape[1]) for i in best]
    assert row(result, "peaks").mean_p_answer != row(result, "norms").mean_p_answer


def control(result: InteractiveResult, folder: Path) -> None:
    turned = next(s for s in result.plan.steps if "negative" in s.inputs)
    vector, negative = (result.values[turned.inputs[name]] for name in ("real", "negative"))
    assert bool((negative.residual == -vector.residual).all()) and vector.norm() > 0
    assert row(result, "turned", "negative").accuracy < row(result, "turned").accuracy


def reader(result: InteractiveResult, folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    file = folder / "items.tsv"
    file.write_text("a.png\tred mug\tbook\tleft\na.png\tbook\tred mug\tright\n")
    dataset = open_dataset("tsv", file=str(file), test=1, extract=0, train=0, validation=0)
    (item,) = dataset.items("left", "test")
    assert (item.image, item.query, item.answer) == ("a.png", "red mug", "book")
    assert np.asarray(dataset.pictures([item.image], 8)).shape == (1, 8, 8, 3)
    recipe = f'mfv 1\nmodel m = tiny()\ndataset d = tsv("{file}")\neval zero {{ }}\n'
    assert [r.relation for r in mfv.Recipe(recipe).plan().rows] == ["left", "right"]
    (folder / "bad.tsv").write_text("a.png\tmug\n")
    for name, code, expected in (("items", 0, ""), ("bad", 1, "2 cells, and there should be 4")):
        output, status = command("data", "check", f'tsv("{folder / name}.tsv")')
        assert (status == 0) == (code == 0) and expected in output, (status, output)


def family(result: InteractiveResult, folder: Path) -> None:
    from transformers import XGLMConfig, XGLMForCausalLM  # once a model was loaded: torchvision

    config = XGLMConfig(
        vocab_size=50, d_model=32, num_layers=3, attention_heads=4, ffn_dim=64,
        max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    model = XGLMForCausalLM(config).eval()
    names = [("lm.resid", 0), ("lm.resid", 1), ("lm.attn.out", 1), ("lm.mlp", 1)]
    reads = [Read(site, layer) for site, layer in names]
    with torch.no_grad(), Hooks(model, find_sites(model), [], reads) as hooks:
        model(torch.tensor([[3, 4, 5, 6]]))
    before, after, *added = (hooks.read(read) for read in reads)
    torch.testing.assert_close(after, before + sum(added), atol=1e-5, rtol=1e-5)
    assert find_sites(model)["lm.attn"].heads == 4


def error(result: InteractiveResult, folder: Path) -> None:
    described = page("MFV5007")
    assert command("explain", "MFV5007")[0].startswith("MFV5007: a licence without a name")
    assert mfv.Recipe(HEAD + described.right).plan().saves
    with pytest.raises(mfv.MfvError) as raised:
        mfv.Recipe(HEAD + described.wrong).plan()
    assert raised.value.code == "MFV5007"


def command_(result: InteractiveResult, folder: Path) -> None:
    output, status = command("codes")
    assert status == 0
    assert "MFV2001  an unknown relation\n" in output and "MFV5007  a licence" in output


def command(*arguments: str) -> tuple[str, int]:
    """What ``mfv …`` prints, and its exit code."""
    sys.argv = ["mfv", *arguments]
    with redirect_stdout(io.StringIO()) as output:
        try:
            main()
        except SystemExit as end:
            return output.getvalue(), int(end.code or 0)
    return output.getvalue(), 0


#: a check for each section of the page, in its order
CHECKS: dict[str, Callable[[InteractiveResult, Path], None]] = {
    "A function": function,
    "An attribute of `eval`": attribute,
    "A ranking of heads": ranking,
    "A control": control,
    "A reader of datasets": reader,
    "A family of language models": family,
    "An error": error,
    "A command": command_,
}


def problems(recipe: str, folder: Path) -> dict[str, str]:
    """The traceback of every section's check, empty where all is well."""
    result = mfv.Recipe(recipe).run(folder / "run")
    tracebacks = {}
    for section, check in CHECKS.items():
        try:
            check(result, folder)
            tracebacks[section] = ""
        except Exception:
            tracebacks[section] = traceback.format_exc()
    return tracebacks


if __name__ == "__main__":
    print(json.dumps(problems(Path(sys.argv[1]).read_text(), Path(sys.argv[2]))))
