"""Every error code of the language and its page, for ``mfv explain CODE``.

Ranges: MFV1xxx syntax, MFV2xxx names, MFV3xxx types and units, MFV4xxx values out of range,
MFV5xxx plan and run, MFV6xxx vectors and files, MFV7xxx models and data.
"""

from __future__ import annotations

from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang.pages.data import DATA
from mfv_dsl.lang.pages.evals import EVALS
from mfv_dsl.lang.pages.files import FILES, SOURCES
from mfv_dsl.lang.pages.models import MODELS
from mfv_dsl.lang.pages.names import NAMES
from mfv_dsl.lang.pages.page import Page
from mfv_dsl.lang.pages.probing import PROBING
from mfv_dsl.lang.pages.prompts import PROMPTS
from mfv_dsl.lang.pages.run import RUN
from mfv_dsl.lang.pages.syntax import SYNTAX
from mfv_dsl.lang.pages.tuning import TUNING
from mfv_dsl.lang.pages.types import TYPES
from mfv_dsl.lang.pages.values import VALUES

CODES: dict[str, Page] = {
    **SYNTAX,
    **NAMES,
    **TYPES,
    **VALUES,
    **RUN,
    **EVALS,
    **TUNING,
    **PROBING,
    **FILES,
    **SOURCES,
    **MODELS,
    **PROMPTS,
    **DATA,
}


def explain(code: str) -> str:
    """The page of a code as text. Raises KeyError, with the nearest code as its argument."""
    page = CODES.get(code)
    if page is None:
        raise KeyError(suggest(code, CODES))
    parts = [f"{code}: {page.title}", page.text.strip()]
    for word, example in (("Wrong", page.wrong), ("Right", page.right)):
        if example:
            shown = "\n".join(f"    {line}".rstrip() for line in example.rstrip("\n").split("\n"))
            parts.append(f"{word}:\n\n{shown}")
    return "\n\n".join(parts) + "\n"
