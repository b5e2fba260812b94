"""Trees, spans, and texts that are no recipes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.lang.parser import parse, parse_expression, read_source, source_from_bytes
from mfv_dsl.lang.syntax import Binary, Call, Declaration, Gap, Name, Number, Range, Unary
from mfv_dsl.lang.unparse import unparse
from tests.lang.support import HEAD, checked, codes


def expression(text: str):
    return parse_expression(Source(text))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a - b - c", "(a - b) - c"),
        ("a + b * c", "a + (b * c)"),
        ("-a * b", "(-a) * b"),
        ("a | b & c - d", "a | (b & (c - d))"),
        ("a / b / c", "(a / b) / c"),
        ("0..2 + 3:1", "0..(2 + 3):1"),
        ("- - a", "-(-a)"),
        ("f(a, b,)", "f(a, b)"),
        ("[1,\n\n 2,\n]", "[1, 2]"),
        ("{L1H2 , L3H4}", "{L1H2, L3H4}"),
    ],
)
def test_binding(text, same):
    assert expression(text) == expression(same)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("((a))", "a"),
        ("(a + b) + c", "a + b + c"),
        ("a - (b - c)", "a - (b - c)"),
        ("(a * b) / (c * d)", "a * b / (c * d)"),
        ("-(a + b)", "-(a + b)"),
        ('load("a\\"b\\\\", "\\n")', 'load("a\\"b\\\\", "\\n")'),
        ("f(0..5, x=(1..2:3))", "f(0..5, x=1..2:3)"),
        ("1e-2 + 0.5", "0.01 + 0.5"),
    ],
)
def test_unparsing_uses_few_parentheses(text, plain):
    assert unparse(expression(text)) == plain


def test_literals():
    assert expression("0..5:2") == Range(Number(0), Number(5), Number(2))
    assert expression("1e-2") == Number(0.01)
    assert isinstance(expression("4").value, int)
    assert expression("-4") == Unary("-", Number(4))


def test_spans_cover_what_was_written():
    text = "2 * (fv(left) - b)"
    tree = expression(text)
    assert isinstance(tree, Binary)
    shown = {text[node.span.start : node.span.end] for node in tree.walk()}
    assert shown == {text, "2", "(fv(left) - b)", "fv(left)", "fv", "left", "b"}


def test_glued_words_are_one_name():
    assert codes("mfv 1\nheadstop = top(3)\n") == ["MFV1014"]
    assert expression("headstop20") == Name("headstop20")


@pytest.mark.parametrize("text", ["", "a b", "(a", "a)", "f(a=1, b)", "a +", "2fv(a)", "a = b"])
def test_wrong_expressions_are_refused(text):
    with pytest.raises(RecipeError) as caught:
        expression(text)
    assert len(caught.value.diagnostics) == 1


def test_what_parses_is_kept():
    parsed = parse(Source("mfv 1\nvector a = (\nvector b = c\neval d { x = , y = 2 }\n"))
    assert parsed.recipe is not None
    broken, right, block = parsed.recipe.items
    assert isinstance(broken, Declaration)
    assert isinstance(broken.value, Gap)
    assert right == Declaration(Name("vector"), Name("b"), (), Name("c"))
    assert [attribute.name.text for attribute in block.attributes] == ["x", "y"]


def test_the_same_in_crlf_and_lf():
    text = HEAD + "vector a = mean(fv(left),\n  fv(right))\neval b {\n  shots = 1\n}\n"
    assert parse(Source(text)).recipe == parse(Source(text.replace("\n", "\r\n"))).recipe


def test_bytes_become_text():
    assert source_from_bytes(b"\xef\xbb\xbfmfv 1\n", "a").text == "mfv 1\n"
    with pytest.raises(RecipeError, match="not a text file in UTF-8") as caught:
        source_from_bytes(b"mfv 1\n# caf\xe9\n", "latin.mfv")
    assert "latin.mfv:2:6" in str(caught.value)
    assert caught.value.code == "MFV1017"
    with pytest.raises(RecipeError):
        source_from_bytes(bytes(range(256)), "binary")
    (half,) = parse(Source("mfv 1\n# \ud83d\n")).diagnostics
    assert half.code == "MFV1017" and "half a character" in half.message
    for encoding in ("utf-16", "utf-32"):
        assert source_from_bytes("mfv 1\n# é\n".encode(encoding), "a").text == "mfv 1\n# é\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_by_any_end(end: str):
    text = HEAD + "vector a = fv(left)\n\nvector b = fv(lefft)\n"
    (found,) = checked(text.replace("\n", end), "a.mfv").diagnostics
    line = text[: text.index("lefft")].count("\n") + 1
    assert f"a.mfv:{line}:15" in str(RecipeError([found]))
    assert f"{line} | vector b = fv(lefft)\n" in str(RecipeError([found]))


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\v"])
def test_other_line_ends_are_refused_where_they_are(end: str):
    text = f"mfv 1\n# a comment{end}vector a = fv(left){end}vector b = fv(right)\n"
    found = parse(Source(text)).diagnostics
    assert {diagnostic.code for diagnostic in found} == {"MFV1008"}
    assert len(found) == 2


def test_regular_files_alone_are_recipes(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.mfv")
    for path in (tmp_path / "pipe.mfv", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a file"):
            read_source(path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory is not told here")
def test_a_long_text_takes_memory_of_its_length(tmp_path: Path):
    for name, content in (("sound", '"' + "a" * 1_900_000 + '"'), ("open", '"' + "a" * 1_900_000)):
        (tmp_path / name).write_text(f"mfv 1\nvector a = load({content}, left)\n")
        code = (
            "import sys\nfrom mfv_dsl.lang.parser import parse, read_source\n"
            "parse(read_source(sys.argv[1]))\n"
            "print([line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line][0])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / name],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert int(done.stdout) < 150_000  # KiB


HOSTILE = {
    "parentheses": ("vector a = " + "(" * 9_000_000, ["MFV1016"]),
    "fewer parentheses": ("vector a = " + "(" * 5_000, ["MFV1015"]),
    "brackets and braces": ("vector a = " + "[{" * 5_000, ["MFV1015"]),
    "signs": ("vector a = " + "-" * 20_000 + "fv(left)", ["MFV1015"]),
    "a long sum": ("vector a = " + " + ".join(["fv(left)"] * 5_000), []),
    "closing brackets": ("vector a = " + ")" * 500, ["MFV1003"] * 500),
    "a long name": ("vector a = " + "a" * 1_000_000, ["MFV1021"]),
    "a long number": ("vector a = fv(left) * " + "1" * 1_000_000, ["MFV1005"]),
    "a long string": ('vector a = load("' + "a" * 1_000_000 + '", "left")', []),
    "a long comment": ("# " + "a" * 1_000_000, []),
    "a long blank": (" " * 1_000_000 + "vector a = fv(left)", []),
    "an endless string": ('vector a = load("' + "\\\\" * 5_000_000 + '", "left")', ["MFV1016"]),
    "quotes": ("“" * 100_000, None),
    "semicolons": (";" * 100_000, None),
    "a chain": ("\n".join(f"vector v{i} = v{i + 1}" for i in range(3_000)), ["MFV2002"]),
    "a nest of blends": ("vector a = " + "blend([" * 45 + "fv(left)" + "])" * 45, ["MFV5351"] * 44),
    "a wide range": ("eval a { shots = 0..1000000000000 }", ["MFV3012"]),
}


def timed(text: str) -> tuple[list[str], float]:
    """The codes of what is wrong with a recipe, and the processor time of finding them."""
    begun = time.process_time()
    found = codes(HEAD + text + "\n")
    return found, time.process_time() - begun


@pytest.fixture(scope="module")
def usual() -> float:
    """The processor time of a sound recipe of 600 lines."""
    lines = "".join(
        f"vector v{n} = fv(left) - {n} * fv(right)\neval e{n} {{ add = v{n}, layer = 0..5 }}\n"
        for n in range(300)
    )
    assert timed(lines)[0] == []
    return min(timed(lines)[1] for _ in range(2))


@pytest.mark.slow
@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_are_refused_quickly(text, expected, usual):
    found, seconds = timed(text)
    assert seconds < 20 * usual, (seconds, usual)
    if expected is not None:
        assert found == expected
    assert len(found) <= 500


def test_nesting_within_the_limit_is_fine():
    deep = "(" * 90 + "fv(left)" + ")" * 90
    assert codes(HEAD + f"vector a = {deep}\nvector b = {' + '.join(['a'] * 90)}\n") == []


def test_a_call_names_its_function():
    assert expression("f()") == Call(Name("f"))
    assert checked(HEAD).checked is not None
