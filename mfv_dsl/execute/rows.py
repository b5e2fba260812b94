"""What a run shows, as plain data: rows of results, and of trained vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.plan.steps import EvalRow

if TYPE_CHECKING:
    from mfv_dsl.execute.conditions import Point

#: Of ``results.json``.  Before 2, ``all`` stood in place of a relation for all of them together,
#: and ``other`` among the answers for none's.
RESULTS_FORMAT = 2


@dataclass(frozen=True)
class Difference:
    """A paired difference in accuracy with its 95 % interval.

    From another eval it has ``p``, of no difference (two-sided, of the score test that the interval
    is made of), and with the ``family`` comparisons of its kind in the run tested together
    ``p_holm`` and ``q_bh``.  With a ``margin`` it says whether a loss of more than that is excluded
    (``no_worse``) and whether a difference of more than that is, either way (``equivalent``), with
    the one-sided p-values of both.
    """

    difference: float
    low: float
    high: float
    p: float | None = None
    p_holm: float | None = None
    q_bh: float | None = None
    family: int | None = None
    margin: float | None = None
    no_worse: bool | None = None
    p_no_worse: float | None = None
    equivalent: bool | None = None
    p_equivalent: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The difference as plain data; without what was not asked for."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class OffTask:
    """What a condition costs on ``n`` off-task prompts of a kind, with 95 % intervals: ``kl``, the
    mean divergence of the next token in nats (of one prompt without an upper bound); the
    ``accuracy`` with what is written, beside that ``before``; and their ``change``, paired."""

    kind: str
    n: int
    kl: float
    kl_low: float | None
    kl_high: float | None
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    before: float
    change: float
    change_low: float | None
    change_high: float | None


def _optional(empty: Any) -> Any:
    """A field that a row shows only where there is something in it."""
    return field(default_factory=lambda: empty, metadata={"optional": True})


@dataclass(frozen=True, repr=False)
class ResultRow(Short):
    """One condition: accuracy with its 95 % interval, mean probability of the answer, and the
    paired difference in accuracy from zero-shot on the same items with its interval.

    Over all relations ``relation`` is None, and what was settled for each is ``chosen``.  ``k``
    and ``vector`` are there where the eval sweeps them, ``control`` where the row is one;
    ``written`` says how a vector is written, in the recipe's words, where that is not as `add`,
    `patch` and `ablate` do by themselves; ``opened`` is the share of items that opened the gate of
    `when`.  ``against`` holds the differences from other evals, by name.  For a single relation
    ``answers`` holds the shares of items whose answer was that relation's object, and
    ``answers_other`` the share of those whose answer was none's.

    ``balanced_accuracy`` is the mean over right answers of the share of their items that are
    correct.  Of questions with options, ``chance`` is the accuracy of choosing one at random and
    ``most_frequent`` that of always giving the right answer that most items have;
    ``letter_accuracy`` is by the likeliest letter with the options in the order of the set,
    ``text_accuracy`` and ``text_sum_accuracy`` by the options' texts, for each token and as a
    whole, and ``p_said`` the mean probability that the next token is any of the letters, or yes or
    no.

    ``axes`` are the values of the sweeps that the eval is read for.  Where these are seeds there is
    a row for the mean over them, with ``mean`` in their place: ``draws`` is how many there are and
    ``spread`` the standard deviation of their accuracies; intervals take seeds and items as drawn,
    and ``n`` is the number of items of one draw, the smallest.  ``off_task`` is there where the
    eval measures it, and ``blind`` on datasets of files: how often an answer is right that is
    guessed without the picture, the most frequent one to the query in the other splits.

    A condition that gave no numbers is a row with ``error``, its code, message and help, and None
    for all that was to be measured; so is the row over all relations where one of them is so.
    """

    eval: str
    relation: str | None
    shots: int
    layer: int | str | None
    scale: float | str | None
    n: int | None
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    mean_p_answer: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    vector: str | None = _optional(None)
    k: int | str | None = _optional(None)
    control: str = _optional("")
    against: Mapping[str, Difference] = _optional({})
    answers: Mapping[str, float] = _optional({})
    answers_other: float | None = _optional(None)
    error: Mapping[str, str] = _optional({})
    axes: Mapping[str, int | float | str] = _optional({})
    draws: int | None = _optional(None)
    spread: float | None = _optional(None)
    written: str = _optional("")
    opened: float | None = _optional(None)
    off_task: OffTask | None = field(default=None, metadata={"optional": True})
    blind: float | None = _optional(None)
    balanced_accuracy: float | None = _optional(None)
    chance: float | None = _optional(None)
    most_frequent: float | None = _optional(None)
    letter_accuracy: float | None = _optional(None)
    text_accuracy: float | None = _optional(None)
    text_sum_accuracy: float | None = _optional(None)
    p_said: float | None = _optional(None)

    @property
    def family(self) -> str:
        """With which others its comparisons are tested together, in words: those on one relation,
        those over all relations, of each those of means over seeds, and of all of these those of
        controls.  A control says what else than the thing measured gains as much; that it loses to
        another eval is no finding, and many such would change what holds of the findings."""
        over = "on one relation each" if self.relation is not None else "over all relations"
        seeds = ", of means over seeds" if self.draws is not None else ""
        return f"{over}{seeds}{', of controls' if self.control else ''}"

    @classmethod
    def failed(
        cls, row: EvalRow, relation: str | None, at: Point, error: MfvError,
        axes: Mapping[str, int | float | str], written: str,
    ) -> ResultRow:  # fmt: skip
        """The row of a condition without numbers."""
        nothing = dict.fromkeys(name for name in ALWAYS if name not in CONDITION)
        return cls(
            eval=row.eval, relation=relation, shots=row.shots, layer=at.layer, scale=at.scale,
            vector=vector_of(row, at), k=at.k, control=at.control,
            error={"code": error.code, "message": error.message, "help": error.help or ""},
            axes=axes, written=written,
            **nothing,
        )  # fmt: skip

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> ResultRow:
        """The row of which ``data`` is the :meth:`to_json`."""
        against = {name: Difference(**one) for name, one in data.get("against", {}).items()}
        off_task = OffTask(**data["off_task"]) if data.get("off_task") else None
        return cls(**{**data, "against": against, "off_task": off_task})

    def to_json(self) -> dict[str, Any]:
        """The row as plain data; optional fields only where there is something in them."""
        row = asdict(self)
        row["against"] = {name: gain.to_json() for name, gain in self.against.items()}
        return {
            name: value
            for name, value in row.items()
            if name in ALWAYS or value not in (None, "", {})
        }


def vector_of(row: EvalRow, at: Point) -> str | None:
    """The text of the vector of a condition, where the eval lists several."""
    if isinstance(at.vector, int):
        return row.vectors[at.vector] if row.vectors else None
    return at.vector


#: The fields that every row shows, and those that tell a condition from another.
ALWAYS = tuple(f.name for f in fields(ResultRow) if not f.metadata)
CONDITION = ("eval", "relation", "shots", "layer", "scale", "vector", "k", "control")


@dataclass(frozen=True, repr=False)
class TuningRow(Short):
    """One trained vector: ``accuracy`` on the ``n`` validation prompts in the epoch that they
    ``chose``, with its 95 % interval, beside that of the start; ``norm`` likewise."""

    tune: str
    relation: str
    variable: str
    layer: int | str
    epochs: int
    chosen: int
    n: int
    start_accuracy: float
    accuracy: float
    ci_low: float
    ci_high: float
    start_nll: float
    nll: float
    start_norm: float
    norm: float
    axes: Mapping[str, int | float | str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as plain data; ``axes`` only where the tune is swept."""
        row = asdict(self)
        return row if self.axes else {name: row[name] for name in row if name != "axes"}


@dataclass(frozen=True)
class ReportedNumber:
    """A number of a `report`; without a value where its step failed, which ``error`` tells;
    ``axes`` are the values of the sweeps that it depends on."""

    number: str
    relation: str | None
    value: float | None
    error: str | None = None
    axes: Mapping[str, int | float | str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The number as plain data; ``axes`` only where it depends on sweeps."""
        row = asdict(self)
        return row if self.axes else {name: row[name] for name in row if name != "axes"}


@dataclass(frozen=True, repr=False)
class Results(Short):
    """What a run shows: rows, what was tried to settle ``choose``, the mean weights of blends'
    candidates, how vectors were trained, what must be said beside, and which vectors were made
    linear behind a norm, and the numbers of its reports."""

    rows: list[ResultRow]
    choices: list[dict[str, Any]]
    weights: list[dict[str, Any]]
    tunes: list[TuningRow]
    notes: list[dict[str, str]]
    linearised: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[ReportedNumber] = field(default_factory=list)
    #: what the recipe's `##` comments say of its parts
    docs: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The results as plain data, as in ``results.json``."""
        return {
            "format": RESULTS_FORMAT,
            "rows": [row.to_json() for row in self.rows],
            "choices": self.choices,
            "weights": self.weights,
            "tunes": [row.to_json() for row in self.tunes],
            "notes": self.notes,
            **({"linearised": self.linearised} if self.linearised else {}),
            **({"numbers": [row.to_json() for row in self.numbers]} if self.numbers else {}),
            **({"docs": self.docs} if self.docs else {}),
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Results:
        """The results of which ``data`` is the :meth:`to_json`."""
        return cls(
            [ResultRow.of_json(row) for row in data["rows"]], data["choices"], data["weights"],
            [TuningRow(**row) for row in data["tunes"]], data["notes"],
            data.get("linearised", []),
            [ReportedNumber(**row) for row in data.get("numbers", [])],
            data.get("docs", {}),
        )  # fmt: skip
