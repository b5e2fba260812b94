"""What loading a checkpoint takes: peak host memory and seconds, against the size of its files.

    python benchmarks/loading.py
    python benchmarks/loading.py --megabytes 2000 --json

Made-up checkpoints are written in the layouts of the published ones: a language model in float16,
pickled, as RedPajama's is, or in float32 safetensors; ``checkpoint.pt`` in float32.  Each is loaded
in a process of its own.  Memory is the largest resident set of that process less what it was after
the libraries were imported; pages of the files that are mapped count too, though the system could
take them back.  Linux only, for it is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

_PROGRAM = """
import re, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from mfv_dsl.models.checkpoints.load import load_checkpoint as load
from mfv_dsl.models.flamingo_classes import clip_builders, flamingo_classes
flamingo_classes(), clip_builders()
def memory(which):
    status = Path("/proc/self/status").read_text()
    return int(re.search(which + r":\\s+(\\d+) kB", status)[1]) * 1024
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before, started = memory("VmRSS"), time.perf_counter()
model = load(sys.argv[1], sys.argv[2], "cpu")
seconds = time.perf_counter() - started
weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
print(memory("VmHWM") - before, weights, seconds)
"""


@dataclass(frozen=True)
class Loading:
    """Bytes of a checkpoint's files, of its weights once loaded, and of memory at the peak."""

    kind: str
    dtype: str
    files: int
    weights: int
    peak: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Peak memory by the size of the files."""
        return self.peak / self.files


def write(folder: Path, kind: str, megabytes: int) -> None:
    """A made-up checkpoint of about so many megabytes: ``half`` or ``whole`` precision."""
    from tests.models.checkpoints.support import as_of_2023, write_checkpoint

    width, every = 1024, 4
    layer = 12 * width**2 * (2 if kind == "half" else 4) + 9 * width**2 * 4 // every
    layers = max(every, round(megabytes * 1e6 / layer / every) * every)
    write_checkpoint(folder, "gpt_neox", extra_rows=152, every=every, layers=layers, width=width)
    if kind == "half":
        as_of_2023(folder / "language", layers=layers)


def measure(folder: Path, kind: str, dtype: str) -> Loading:
    """Load the checkpoint in ``folder`` in a fresh process."""
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), dtype],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak, weights, seconds = process.stdout.split()
    return Loading(kind, dtype, sum(files), int(weights), int(peak), float(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for kind, dtypes in (("half", ("bf16", "fp16")), ("whole", ("bf16", "fp32"))):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), kind, arguments.megabytes)
            rows += [measure(Path(folder), kind, dtype) for dtype in dtypes]
    if arguments.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=2))
        return
    print("language model   loaded as    files MB  weights MB     peak MB   peak / files   seconds")
    for row in rows:
        stored = "float16, .bin" if row.kind == "half" else "float32, st"
        sizes = "".join(f"{size / 1e6:>12.0f}" for size in (row.files, row.weights, row.peak))
        print(f"{stored:<17}{row.dtype:<9}{sizes}{row.ratio:>15.2f}{row.seconds:>10.1f}")


if __name__ == "__main__":
    main()
