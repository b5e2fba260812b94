"""What a process that ``mfv`` processes are forked from has imported: all that a run on the bundled
model imports, the parser's tables, too."""

from __future__ import annotations

from mfv_dsl import Recipe
from mfv_dsl.models import load

load("tiny")
Recipe("mfv 1\nmodel m = tiny()\ndataset d = scenes()\neval e { shots = 0 }\n").plan()
