"""The dataset ``blink("file.parquet")``: BLINK's task Spatial_Relation, questions about photographs
that are answered with yes or no (Fu et al., arXiv:2404.12390).

A row is ``{idx, question, image_1, choices, answer}`` with the answer ``(A)`` or ``(B)``, and
``hidden`` in the test part.  Its questions ("Is the car beneath the cat?") come of VSR, so that its
predicates are VSR's.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import Choice, choice_of, right_of
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.json_values import BadValue, not_understood
from mfv_dsl.data.parquet_files import Row, read_rows, text_in, texts_in
from mfv_dsl.data.statements import Statement, items_of, relation_of, without_article
from mfv_dsl.data.table import Options, Table, build, of_files

#: The relations of VSR, the longest first, so that `on top of` is not taken for `on`.
PREDICATES = tuple(sorted((
    "above", "across", "across from", "adjacent to", "against", "ahead of", "along", "alongside",
    "among", "around", "at the back of", "at the edge of", "at the left side of",
    "at the right side of", "at the side of", "attached to", "away from", "behind", "below",
    "beneath", "beside", "between", "beyond", "by", "close to", "connected to", "down from",
    "enclosed by", "facing", "facing away from", "far away from", "far from", "in",
    "in front of", "in the middle of", "inside", "into", "left of", "near", "next to", "off", "on",
    "on top of", "opposite to", "out of", "outside", "over", "parallel to", "part of", "past",
    "perpendicular to", "right of", "surrounding", "to the left of", "to the right of", "touching",
    "toward", "under", "with", "within",
), key=len, reverse=True))  # fmt: skip
_QUESTION = re.compile(
    rf"(?:is|are) (?P<subject>\S.*?) (?P<predicate>{'|'.join(PREDICATES)}) "
    r"(?P<object>(?!each other)\S.*?) ?\?",
    re.IGNORECASE,
)
#: The relation of questions of another form.
_OTHER = "other"


def read(file: str, query: str = "subject", ask: str = "answer", **options: Any) -> Table:
    """The table of a file of the task, or of all in a folder."""
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    statements: list[Statement] = []
    images: dict[str, ImageFile] = {}
    columns = ("question", "choices", "answer")
    for row in read_rows(user_path(file), columns, "image_1", wanted=("image_2",)):
        try:
            choice = _choice(row)
            if choice is None:
                dropped["questions whose answer is hidden"] += 1
                continue
            match = _QUESTION.fullmatch(choice.question)
            if (match is None and ask != "question") or row.values.get("image_2") is not None:
                dropped["questions that cannot be taken apart"] += 1
                continue
            name, picture = row.picture()
        except BadValue as error:
            findings.append(not_understood(row.place, error))
            continue
        images.setdefault(name, picture)
        statements.append(_statement(row.place, name, match, choice, ask))
    rows = items_of(statements, ask, query, dropped)
    return build(f"blink({file})", rows, images, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _statement(
    place: str, image: str, match: re.Match[str] | None, choice: Choice, ask: str
) -> Statement:
    """What a question asks; only the relation is known of one of another form."""
    holds = choice.answer.casefold() == "yes"
    if match is None:
        return Statement(place, image, "", _OTHER, "", choice.question, holds, choice=choice)
    ends = without_article(match["subject"]), without_article(match["object"])
    predicate = match["predicate"].lower()
    text = f"{ends[0]} {predicate} {ends[1]}"
    asked = choice if ask != "answer" else None  # of those that hold, all are answered with yes
    return Statement(
        place, image, ends[0], relation_of(predicate), ends[1], text, holds, choice=asked
    )


def _choice(row: Row) -> Choice | None:
    """The question with yes and no; None where its answer is hidden."""
    choices, answer = texts_in(row, "choices"), text_in(row, "answer").strip()
    question = tidy(text_in(row, "question"))
    if answer == "hidden":
        return None
    choice = choice_of(choices, right_of(answer, choices), question)
    if not choice.is_yes_no:
        raise BadValue(f"`choices` are not yes and no: {', '.join(choices):.60}")
    return choice
