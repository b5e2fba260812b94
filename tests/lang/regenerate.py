"""Write the expected texts of the corpus anew: ``python -m tests.lang.regenerate``.

Look at the difference before committing it.
"""

from __future__ import annotations

from mfv_dsl.base.source import Source
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import source_from_bytes
from tests.lang.support import CORPUS, expected_block, rendered, without_expected


def main() -> None:
    for path in sorted((CORPUS / "errors").glob("*.mfv")):
        text = without_expected(path.read_bytes())
        path.write_bytes(text + expected_block(rendered(text, path.name)))
    for path in sorted((CORPUS / "format").glob("*.in.mfv")):
        source = source_from_bytes(path.read_bytes(), path.name)
        out = path.with_name(path.name.replace(".in.", ".out."))
        out.write_text(format_source(Source(source.text, path.name)), encoding="utf-8")


if __name__ == "__main__":
    main()
