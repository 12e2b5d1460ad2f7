"""What is written so that it is looked for fast finds the same as what it says, written plainly: of each a gate's look
and each regular expression that begins with what it looks for instead of with what must stand before it.
"""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.curation.scrubbing import (
    addresses,
    gate,
    hex_strings,
    keywords,
    numbers,
    paths,
    phones,
    scrubber,
    tokens,
)
from actors.curation.scrubbing.spans import PLACEHOLDERS, WORD_EDGE

VECTORS = Path(__file__).parents[3] / "vectors" / "scrub"
_GAP, _DASH = r"[ .\u00a0\u202f\u2010\u2011\u2012\u2013-]", r"[-\u2010\u2011\u2012\u2013]"

PLAIN: dict[str, tuple[re.Pattern[str], str]] = {
    "at": (addresses._AT, r"(?<=[\w.+-])@(?=[^\W_])"),
    "encoded at": (addresses._ENCODED_AT, r"(?<=[\w.+-])(?:@|%40|(?<!\\)\\{1,4}u0040)(?=[^\W_])"),
    "ipv6": (
        addresses._IPV6,
        (r"(?:(?<![A-Za-z0-9_:.])|(?<=\\[nrt])|(?<=@))(?:[0-9A-Fa-f]{1,4}+:|::)[0-9A-Fa-f:]{1,40}+"
        r"(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3}|(?:\.\d{1,3}){3})?+(?![A-Za-z0-9_:])"),
    ),
    "ipv4": (
        addresses._IPV4,
        (r"(?a)(?:(?<![\w.])|(?<=\\[nrt])|(?<=\x1b\[\dm)|(?<=\x1b\[\d\dm))(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})"
        r"(?!\w|\.\w|[-+~](?!\d+\.\d+\.)\w)"),
    ),
    "ipv4 and port": (
        addresses._IPV4_AND_PORT,
        r"(?a)(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?=\.(?:\d{1,5}|[a-z][a-z-]{1,15})(?![\w.]))",
    ),
    "hex": (hex_strings._HEX, WORD_EDGE + r"(?<!_)(?:0x)?[0-9A-Fa-f]{40,}+(?![0-9A-Za-z_])"),
    "json web token": (
        tokens._JWT,
        WORD_EDGE + r"eyJ[A-Za-z0-9_-]{8,8192}+\.[A-Za-z0-9_-]{4,65536}+(?:\.[A-Za-z0-9_-]{0,8192}+){0,3}+",
    ),
    "twilio": (tokens._TWILIO, r"(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![A-Za-z0-9])"),
    "aws": (tokens._AWS, r"(?<![A-Z0-9])A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Z0-9])"),
    "ssn": (
        numbers._SSN,
        rf"(?a)(?:(?<![\w.])|(?<=\\[nrt]))(?<!\w-)(\d{{3}}){_DASH}(\d{{2}}){_DASH}(\d{{4}})(?!\w|[.-]\w)",
    ),
    "card": (
        numbers._CARD,
        r"(?a)(?:(?<![\w.])|(?<=\\[nrt]))(?<!\w-)\d(?:[ \u00a0-]?\d){12,24}+(?!\w|[.-]\w)",
    ),
    "international": (
        phones._INTERNATIONAL,
        (r"(?a)(?:(?<![\w.+)\]-])|(?<=\\[nrt]))\+(?:\(?[1-9]\d{0,3}\)?)"
        rf"(?:{_GAP}?\(?\d{{1,8}}\)?){{1,6}}+(?!\w|[.:-]\w)"),
    ),
    "north american": (
        phones._NORTH_AMERICAN,
        (rf"(?a)(?:(?<![\w.+-])|(?<=\\[nrt])|(?<=[^\w.]-)|(?<=^-))(?<!\d )(?:\+?1{_GAP})?"
        rf"(?:\([2-9]\d{{2}}\){_GAP}?|[2-9]\d{{2}}{_GAP})\d{{3}}{_GAP}\d{{4}}(?!\w|[.:/-]\w|[ -]\d)"),
    ),
    "folder": (paths._MARK, r"(?:[/\\]|%2[Ff])(?:Users|home|users|Documents and Settings)(?=[/\\%])"),
}  # fmt: skip
FOUND = [
    *("%2FUsers%2Fana", "%2fhome%2fana", "/Users/ana", "\\Users\\ana", "/Documents and Settings/ana", " -415-555-0132"),
    *("ana\\\\\\\\u0040foldline.io", "a%40foldline.io", "ana@foldline.io", "\\n2001:db8::9", "x@2001:db8::9:1"),
    *("\x1b[1m203.0.113.9", "10.0.12.7.443", "0x" + "a1" * 20, "SK" + "0a" * 16, "^-415-555-0132", "+1 (415) 555-0132"),
]
BEGINS = {paths._WINDOWS: r"(?=[A-Za-z]:|\\)", paths._POSIX: r"(?=[/\\%])"}
HALVES = [
    *(
        "ana",
        "@",
        "%40",
        "%",
        "40",
        "\\",
        "\\\\",
        "u0040",
        "\\u0040",
        "foldline.io",
        "_",
        ".",
        "-",
        "+",
        " ",
        "\n",
        "\\n",
    ),
    *("a", "f", "0", "1", "9", ":", "::", "1:", "fe80::1", "2001:db8::9", "2001:db8:0:0:0:0:0:1", "::ffff:203.0.113.9"),
    *("203.0.113.9", "203.0.113", "113.9", "\x1b[1m", "\x1b[32m", "10.0.12.7.443", "10.0.12.7.https", "..", "1.1.1."),
    *("0x", "a" * 40, "0" * 39, "deadbeef" * 5, "x", "eyJ", "eyJhbGciOiJI", ".eyJz.x", "SK", "0a" * 16, "A", "AKIA"),
    *("AKIAIOSFODNN7EXAMPLE", "536", "536-22-8714", "-22-8714", "22-8714", "\u2011", "\u00a0", "\t", "(", ")", "/"),
    *(
        "4111",
        "4111111111111111",
        "4111 1111 1111 1111",
        "378282246310005",
        "+1",
        "+1 ",
        "1 ",
        "1-",
        "+41 44 668 18 00",
    ),
    *(
        "415-555-0132",
        "(303) 555-0125",
        "(303)",
        "555",
        "0132",
        "\\r",
        "\\t",
        "^",
        "/Users",
        "/home",
        "%2F",
        "%2f",
        "2F",
    ),
    *("Users", "home", "\\Users", "Documents and Settings", "ü", "ж", "名", "²", "٣", "\ud800", "token", "::1", "["),
    *PLACEHOLDERS,
]
TEXTS = st.lists(st.sampled_from(HALVES) | st.text(max_size=3), max_size=14).map("".join)
SHAPES = {gate.SSN, gate.NORTH_AMERICAN, gate.PLUS}  # of numbers; one of them is called as a keyword is


def vectors() -> list[str]:
    """Every text of the vectors."""
    lines = [line for path in sorted(VECTORS.glob("*.jsonl")) for line in path.read_text("utf-8").split("\n") if line]
    return [row["text"] for row in map(json.loads, lines) if "text" in row]


def found_by(pattern: re.Pattern[str], text: str) -> list[tuple[tuple[int, int], tuple[str, ...]]]:
    """Where a pattern finds what."""
    return [(each.span(), each.groups()) for each in pattern.finditer(text)]


@pytest.mark.parametrize("name", PLAIN)
def test_a_pattern_finds_what_it_says_in_every_vector(name: str) -> None:
    fast, plain = PLAIN[name][0], re.compile(PLAIN[name][1])
    texts = vectors()
    assert sum(bool(plain.search(text)) for text in texts) >= 1, "no vector is found by it"
    assert [found_by(fast, text) for text in texts] == [found_by(plain, text) for text in texts]


@given(TEXTS)
@settings(max_examples=1_500, deadline=None)
def test_a_pattern_finds_what_it_says_in_any_text(text: str) -> None:
    for fast, plain in PLAIN.values():
        assert found_by(fast, text) == found_by(re.compile(plain), text)


@pytest.mark.parametrize("text", FOUND)
def test_what_is_just_not_found_is_not_found_by_either(text: str) -> None:
    """One character of a text replaced by each that means something to a pattern, or left out, or one put before it."""
    assert any(fast.search(text) for fast, _ in PLAIN.values())
    patterns = [(fast, re.compile(plain)) for fast, plain in PLAIN.values()]
    for place in range(len(text) + 1):
        for length in (0, 1):
            for each in ("", *"aFxn_@%\\/:.-+~()[]^ \n\t\x1b019é名²٣"):
                edited = text[:place] + each + text[place + length :]
                for fast, plain in patterns:
                    assert found_by(fast, edited) == found_by(plain, edited)


def plainly(text: str) -> set[str]:
    """What a gate finds, each asked for by itself."""
    lower = "".join(each.lower() if each.isascii() else each for each in text)
    raw = lower.encode("utf-8", "surrogatepass")
    separators = rb"[ \-.\t\xa0\x90\x91\x92\x93\xaf()/\xc2\xe2\x80]*"
    looks = {
        gate.AT: rb"@",
        gate.ENCODED_AT: rb"%40|\\u0040",
        gate.COLONS: rb"::|(?::[0-9a-f]*){6}:",
        gate.HEX_32: rb"[0-9a-f]{32}",
        gate.DOTTED: rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        gate.DIGITS: separators.join([rb"[0-9]"] * 7),
        gate.CARD: rb"[ \-.\t\xa0\x90\x91\x92\x93\xaf\xc2\xe2\x80]*".join([rb"[0-9]"] * 13),
    }
    return {name for name, look in looks.items() if re.search(look, raw)} | {
        each for each in keywords.ALL if each.encode() in raw and each not in SHAPES
    }


@given(TEXTS)
@settings(max_examples=1_500, deadline=None)
def test_a_gate_finds_each_of_what_it_looks_for(text: str) -> None:
    assert gate.looked_at(text) - SHAPES == plainly(text)


def test_a_gate_finds_in_every_vector_what_it_looks_for() -> None:
    for text in vectors():
        assert gate.looked_at(text) - SHAPES == plainly(text)


@given(TEXTS)
@settings(deadline=None)
def test_placeholders_are_hidden_one_as_the_other(text: str) -> None:
    hidden = text
    for each in PLACEHOLDERS:
        hidden = hidden.replace(each, "\0" * len(each))
    assert scrubber._without_placeholders(text) == hidden


@given(st.lists(st.sampled_from(["/Users/ana", "C:/", ":", "a://", *HALVES]), max_size=14).map("".join))
@settings(max_examples=600, deadline=None)
def test_a_path_is_found_where_its_pattern_finds_it(text: str) -> None:
    for mark in paths._MARK.finditer(text):
        for pattern in (paths._WINDOWS, paths._WSL, paths._POSIX):
            plain = re.compile(pattern.pattern.removeprefix(BEGINS.get(pattern, "")), pattern.flags)
            found = plain.search(text, max(0, mark.start() - 24), mark.end() + 200)
            if found is None and paths._REMOTE.search(text, max(0, mark.start() - 150), mark.start()):
                found = paths._POSIX_OF_REMOTE.match(text, mark.start())
            fast = paths._found_by(pattern, text, mark, 0)
            assert (fast and fast.span()) == (found and found.span())


@pytest.mark.parametrize(
    "text",
    [
        "call back, TÉL : 0612345678",
        "call MÓVIL 612 345 678 90",
        "Call ТЕЛ.: 0951234567",
        "recall: \u017fms 5551234567",
    ],
)
def test_a_word_that_the_gate_passes_by_is_seen_beside_one_that_it_knows(text: str) -> None:
    """The gate lowers ASCII alone; the pattern behind it lowers all."""
    assert "[PHONE]" in scrubber.PIIScrubber().scrub(text)
    assert "[PHONE]" in scrubber.PIIScrubber.for_trajectories().scrub(text)
