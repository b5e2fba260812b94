"""Writes the table of docs/cost.md: ``python docs/make_costs.py``."""

from __future__ import annotations

from pathlib import Path

import mfv_dsl as mfv
from mfv_dsl.plan.estimate import estimate_by_arithmetic
from mfv_dsl.plan.rates import DEVICES, device_rate, short
from mfv_dsl.plan.work import work_by_step

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- table: docs/make_costs.py -->\n", "<!-- end of the table -->\n"


def table() -> str:
    """The cost of every recipe of the paper from nothing, one row each."""
    names = list(DEVICES)
    lines = [
        f"| recipe | steps | FLOP | memory, GiB | {', '.join(names)}: hours |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    folder = ROOT / "recipes" / "paper"
    for path in sorted((*folder.glob("*.mfv"), *folder.glob("qwen3-vl/*.mfv"))):
        plan = mfv.Recipe.from_file(path).plan()
        estimates = [estimate_by_arithmetic(plan, (), device_rate(name)) for name in names]
        flop = sum(work.total for work in work_by_step(plan, plan.steps).values())
        hours = ", ".join(f"{estimate.total / 3600:.2g}" for estimate in estimates)
        name = path.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        lines.append(
            f"| `{name}` | {len(plan.steps)} | {short(flop)} | "
            f"{estimates[0].memory / 2**30:.1f} | {hours} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
