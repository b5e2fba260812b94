"""What a page is made of."""

from __future__ import annotations

from dataclasses import dataclass

PRELUDE = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right, above, below])

"""


@dataclass(frozen=True)
class Page:
    """One code's page.

    ``wrong`` and ``right`` stand after :data:`PRELUDE`, unless ``whole``; both are empty where no
    recipe can show the error.
    """

    title: str
    text: str
    wrong: str = ""
    right: str = ""
    whole: bool = False

    def recipe(self, example: str) -> str:
        """The example as a whole recipe."""
        return example if self.whole else PRELUDE + example
