"""MFV1xxx: the text does not have the shape of a recipe."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

SYNTAX: dict[str, Page] = {
    "MFV1001": Page(
        "something else was expected here",
        """
The text stops making sense at the marked place. The message says what could stand there
instead. A statement ends with its line; only brackets carry on over several lines.""",
        "vector steer = fv(left) +\n",
        "vector steer = fv(left) + fv(above)\n",
    ),
    "MFV1002": Page(
        "a bracket is never closed",
        """
The marked bracket has no partner before the next statement begins.""",
        "vector steer = fv(left\nvector other = fv(right)\n",
        "vector steer = fv(left)\nvector other = fv(right)\n",
    ),
    "MFV1003": Page(
        "a closing bracket without its opening one",
        """
Either no bracket is open at the marked place, or the one that is open is of another kind.""",
        "eval few { on = [left, right) }\n",
        "eval few { on = [left, right] }\n",
    ),
    "MFV1004": Page(
        "a number and a name side by side",
        """
There is no silent multiplication: `2fv(left)` could be a slip for many things, so `*` is
written.""",
        "vector steer = 2fv(left)\n",
        "vector steer = 2 * fv(left)\n",
    ),
    "MFV1005": Page(
        "not a number",
        """
Numbers are `4`, `0.5` or `1e-2`: digits on both sides of the point, no separators.""",
        "vector half = .5 * fv(left)\n",
        "vector half = 0.5 * fv(left)\n",
    ),
    "MFV1006": Page(
        "a string is not closed",
        """
A string ends on the line it begins on, with `"`.""",
        'save "vectors/mine { vectors = [fv(left)] }\n',
        'save "vectors/mine" { vectors = [fv(left)] }\n',
    ),
    "MFV1007": Page(
        "other quotes than straight double ones",
        """
Strings stand in `"`. Word processors like to turn these into curly ones.""",
        "save 'vectors/mine' { vectors = [fv(left)] }\n",
        'save "vectors/mine" { vectors = [fv(left)] }\n',
    ),
    "MFV1008": Page(
        "a character that has no meaning",
        """
Outside strings and comments a recipe is ASCII. Some characters look like ASCII ones and are
not; the message names the character, and the one that was probably meant.""",
        "vector double = 2 × fv(left)\n",
        "vector double = 2 * fv(left)\n",
    ),
    "MFV1009": Page(
        "the version is missing",
        """
A recipe begins with `mfv` and the version of the language it is written in, so that later
versions can still read it.""",
        "model flamingo = tiny()\n",
        "mfv 1\n\nmodel flamingo = tiny()\n",
        whole=True,
    ),
    "MFV1010": Page(
        "an unknown version",
        """
This program reads version 1. Nothing else in the file is looked at.""",
        "mfv 7\n\nmodel flamingo = tiny()\n",
        "mfv 1\n\nmodel flamingo = tiny()\n",
        whole=True,
    ),
    "MFV1011": Page(
        "the version is not first, or given twice",
        """
The version is the first statement, and there is one.""",
        "model flamingo = tiny()\nmfv 1\n",
        "mfv 1\nmodel flamingo = tiny()\n",
        whole=True,
    ),
    "MFV1012": Page(
        "a value given with `:`",
        """
Attributes and options are given with `=`.""",
        "eval few { shots: 4 }\n",
        "eval few { shots = 4 }\n",
    ),
    "MFV1013": Page(
        "two things side by side",
        """
Between two expressions stands an operator, between two entries of a list a comma, between two
statements the end of the line.""",
        "eval few { on = [left right] }\n",
        "eval few { on = [left, right] }\n",
    ),
    "MFV1014": Page(
        "an attribute outside a block",
        """
`name = value` alone stands only in blocks. What every block shares stands in `defaults`.""",
        "shots = 4\n",
        "defaults { shots = 4 }\n",
    ),
    "MFV1015": Page(
        "nested too deeply",
        """
Brackets and operators may be nested a hundred deep. Nobody reads that far: give the parts
names.""",
        f"vector deep = {'-' * 150}fv(left)\n",
        "vector part = -fv(left)\nvector deep = -part\n",
    ),
    "MFV1016": Page(
        "too large to be a recipe",
        """
The file has more than 100,000 words and signs. It is probably not a recipe.""",
    ),
    "MFV1017": Page(
        "not a text file",
        """
Recipes are text in UTF-8. The file holds bytes that are not, or a NUL character.""",
    ),
    "MFV1018": Page(
        "a positional argument after a named one",
        """
Arguments without a name come first.""",
        "heads few = top(by=aie, 10)\n",
        "heads few = top(10, by=aie)\n",
    ),
    "MFV1019": Page(
        "a sign of another language",
        """
The operators are `+ - * / | &`, ranges `..`, and `=` gives a value. Comments begin with `#`.""",
        "eval few { shots == 4 }\n",
        "eval few { shots = 4 }\n",
    ),
    "MFV1020": Page(
        "a backslash that means nothing",
        r"""
In strings `\"` is a quote, `\\` a backslash, `\n` a line end and `\t` a tab. In paths use `/`.""",
        'save "vectors\\mine" { vectors = [fv(left)] }\n',
        'save "vectors/mine" { vectors = [fv(left)] }\n',
    ),
    "MFV1021": Page(
        "a name is too long",
        """
Names have at most 100 characters.""",
        f"vector {'very_' * 25}long = fv(left)\n",
        "vector long = fv(left)\n",
    ),
    "MFV1022": Page(
        "the formatter is wrong about a recipe",
        """
After formatting, the recipe is parsed again and compared. If it would mean something else
nothing is written: a fault of the formatter, worth a report.""",
    ),
}
