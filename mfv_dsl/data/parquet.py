"""The dataset ``parquet("file.parquet")``: rows with an image, a query, an answer and a relation,
as the Hugging Face hub keeps data sets."""

from __future__ import annotations

from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import answered
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.json_values import BadValue, not_understood
from mfv_dsl.data.parquet_files import read_rows, text_in
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, Table, build, of_files


def read(
    file: str,
    image: str = "image",
    query: str = "query",
    answer: str = "answer",
    relation: str = "relation",
    split: str | None = None,
    options: str | None = None,
    **common: Any,
) -> Table:
    """The table of a file, or of all files in a folder; ``image`` to ``options`` name columns."""
    columns = [query, relation, *([split] if split else [])]
    needed = [*columns, answer, *([options] if options else [])]
    findings: list[Finding] = []
    rows: list[ItemRow] = []
    images: dict[str, ImageFile] = {}
    for row in read_rows(user_path(file), needed, image):
        try:
            texts = [tidy(text_in(row, column)) for column in columns]
            right, choice = answered(row.values, answer, options)
            name, picture = row.picture()
        except BadValue as error:
            findings.append(not_understood(row.place, error))
            continue
        images.setdefault(name, picture)
        part = texts[2] if split else None
        rows.append(ItemRow(row.place, name, texts[0], right, texts[1], part, choice))
    return build(f"parquet({file})", rows, images, Options(**common), findings)


facts, dataset = of_files(read)
