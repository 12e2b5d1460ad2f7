"""What makes two steps the same, and what a run's fingerprint depends on."""

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.format import json_text
from persistence.format.step_runs import HASHED_BYTES, JOINING, StepDigests, StepTexts, fingerprints_of

DECODER = msgspec.json.Decoder(StepTexts)
STEP = {"step": 1, "type": "action", "timestamp": 1.0, "tool": "Bash", "content": "List the files"}
CALL = {**STEP, "arguments": {"command": "ls -l", "call_id": "call_1"}}


def prints(*steps: dict[str, Any] | str) -> list[int]:
    """The fingerprints of steps, given as values or as JSON texts."""
    texts = [step if isinstance(step, str) else json.dumps(step, ensure_ascii=False) for step in steps]
    return list(fingerprints_of([json_text.decode(DECODER, text.encode()) for text in texts]))


@pytest.mark.parametrize(
    "other",
    [
        {**CALL, "step": 7},
        {**CALL, "timestamp": 2e9},
        {**CALL, "token_count": 99, "original_token_count": 100, "truncated": True},
        {**CALL, "call_id": "call_2", "is_error": False, "source": "model"},
        {**CALL, "content": " List\r\n\tthe   files\n"},
        {**CALL, "content": "List\u00a0the\u2003files"},
        {**CALL, "arguments": {"call_id": "call_2", "command": "ls -l"}},
        {**CALL, "arguments": {"command": "ls -l"}},
        {**CALL, "arguments": {"tool_use_id": "toolu_1", "command": "ls\n-l"}},
        json.dumps(CALL).replace("files", "f\\u0069les"),
        json.dumps(CALL, indent=2),
    ],
)
def test_a_step_is_what_it_says(other: dict[str, Any] | str) -> None:
    """Not its number, its times, its counts, its ids, or how its text is broken into lines."""
    assert prints(other) == prints(CALL)


@pytest.mark.parametrize(
    "other",
    [
        {**CALL, "type": "observation"},
        {**CALL, "tool": "Read"},
        {**CALL, "tool": None},
        {**CALL, "content": "List the Files"},
        {**CALL, "content": None},
        {**CALL, "arguments": {"command": "ls -a"}},
        {**CALL, "arguments": {"command": "ls -l", "id": "1"}},
        {**CALL, "arguments": None},
        {**STEP, "content": "List the files", "tool": "Bashl"},
    ],
)
def test_what_it_says_makes_another_step(other: dict[str, Any]) -> None:
    assert prints(other) != prints(CALL)


def test_composed_and_decomposed_letters_are_the_same() -> None:
    assert prints({**STEP, "content": "cafe\u0301 🚀"}) == prints({**STEP, "content": "café 🚀"})
    assert prints({**CALL, "arguments": {"a": "e\u0301"}}) == prints({**CALL, "arguments": {"a": "é"}})


LEFT_OUT = (
    "\x00\x1b\x1c\x7f\x85\xa0\xad\u034f\u115f"
    "\u1680\u180e\u2003\u200b\u200d\u2028\u202e\u202f\u205f\u2060\u3000\ufe0f\ufeff"
)


@given(st.lists(st.text(st.sampled_from("aé—🚀 \n" + LEFT_OUT + "\U000e0041"), max_size=9)))
def test_what_nobody_sees_is_left_out(texts: Sequence[str]) -> None:
    """White space, controls and invisible characters; in each text alone, however many are looked at together."""
    hidden = str.maketrans(dict.fromkeys(LEFT_OUT + "\U000e0041"))
    bare = ["".join(text.translate(hidden).split()) for text in texts]
    said, left = [prints(*({**STEP, "content": text} for text in each)) for each in (texts, bare)]
    assert said == left
    steps = [msgspec.Raw(json.dumps(text).encode()) for text in texts]
    digests = StepDigests()
    digests.add([StepTexts(type="thought", content=step) for step in steps])
    for place, text in enumerate(bare):
        assert digests.have_chars(place, place, len(text))
        assert not digests.have_chars(place, place, len(text) + 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't wait… it's ﬁne: \uff12 or ½", "Don't wait... it's fine: 2 or 1\u20442"),
        ("⚠️ care\u00adful, \u200bword\u2060less\ufeff", "⚠ careful, wordless"),
        ("\x1b[1mbold\x1b[0m\x07", "[1mbold[0m"),
        ("e\u200d\u0301", "é"),
        ("\ufdfa and \ufdfb", "and"),
        ("\u00a8", "\u0308"),
    ],
)
def test_texts_that_look_the_same_are_the_same(one: str, other: str) -> None:
    """As contents, as names and within arguments; also among others, whatever those hold."""
    assert prints({**STEP, "content": one}) == prints({**STEP, "content": other})
    assert prints({**STEP, "tool": one}) == prints({**STEP, "tool": other})
    for member in ({"a": [one]}, [{one: 1}], one):
        same = {"a": [other]} if isinstance(member, dict) else [{other: 1}] if isinstance(member, list) else other
        assert prints({**CALL, "arguments": member}) == prints({**CALL, "arguments": same})
        beside = [{**CALL, "arguments": {"b": "c\u0301…"}}, {**STEP, "content": "K\u0327\u0301"}]
        assert prints(*beside, {**CALL, "arguments": member}) == prints(*beside, {**CALL, "arguments": same})


@given(
    st.lists(
        st.text(
            st.sampled_from("ae\u0301\u0323 é…ﬁ한\u1112\u1161\u11ab\u200d\xa0カ\u3099\u05d1\u05b0\u05bc\u0627\u0655"),
            max_size=300,
        ),
        max_size=3,
    )
)
def test_a_text_is_compared_as_it_would_be_alone(texts: Sequence[str]) -> None:
    """In Unicode's NFKC, whatever stands before and behind it; the long ones with marks in a row as well."""
    steps = [{**STEP, "content": text} for text in texts]
    digests, alone = StepDigests(), []
    raw = [json_text.decode(DECODER, json.dumps(step).encode()) for step in steps]
    digests.add(raw)
    for each in raw:
        alone.append(StepDigests())
        alone[-1].add([each])
    assert [digests.digest(place) for place in range(len(raw))] == [each.digest(0) for each in alone]
    for text, step in zip(texts, alone, strict=True):
        bare = text.replace("\u200d", "").replace("\xa0", "")
        if len(bare) <= 128:
            said = unicodedata.normalize("NFKC", bare)
            same = StepDigests()
            same.add([json_text.decode(DECODER, json.dumps({**STEP, "content": said}).encode())])
            assert step.digest(0) == same.digest(0)


def test_what_joins_ascii_characters_is_known() -> None:
    """Of all characters of this interpreter's Unicode: others by themselves show whether a text is normalised."""
    pairs = [unicodedata.decomposition(chr(code)).split() for code in range(sys.maxunicode + 1)]
    joining = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and pair[0] < "0080" and pair[0][0] != "<"}
    assert "\u0301" in joining
    assert [mark for mark in joining if not JOINING.fullmatch(mark)] == []


def test_marks_without_end_are_put_in_order_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the square of their number: 25 s for a content of 100,000 characters, and hours for an argument."""
    lengths: list[int] = []
    normalize = unicodedata.normalize

    def noted(form: Literal["NFKC"], text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", noted)
    marks = "\u0301\u0323" * 50_000
    assert prints({**STEP, "content": marks}) != prints({**STEP, "content": marks[:-1]})
    assert prints({**CALL, "arguments": {"a": marks}}) != prints({**CALL, "arguments": {"a": marks[:-1]}})
    assert sum(lengths) >= 4 * 99_999
    assert max(lengths) <= 256


def test_values_past_a_mebibyte_are_compared_as_they_stand_there() -> None:
    """Read, they might take twenty times as much; white space between them is still left out."""
    long = "x" * 1_048_576
    for member in ("tool", "arguments"):
        assert prints({**STEP, member: f"{long}…"}) != prints({**STEP, member: f"{long}..."})
        assert prints({**STEP, member: f"{long} "}) == prints({**STEP, member: long})
    values = ",".join(["[]"] * 400_000)
    one, other = [f'{{"type":"action","arguments":{{"a":[{values}],"call_id":"{name}"}}}}' for name in ("a", "b")]
    assert prints(one) == prints(one.replace(",", ", "))
    assert prints(one) != prints(other)


def test_a_digit_in_a_text_is_part_of_the_text() -> None:
    """Numbers that are left out are those of the step, not those that it speaks of."""
    assert prints({**STEP, "content": "Step 3"}) != prints({**STEP, "content": "Step 4"})


@pytest.mark.parametrize("value", ["1e400", "123456789012345678901234567890", '"\\ud83d"', "[1,{}]", '{"a":1e400}'])
def test_members_of_any_value_have_a_digest(value: str) -> None:
    """The schema does not name them, so clients may write what few readers can hold."""
    step = f'{{"type":"action","tool":{value},"arguments":{value},"content":"x"}}'
    assert prints(step) == prints(step.replace(":", ": "))
    assert prints(step) != prints('{"type":"action","content":"x"}')


@given(st.lists(st.sampled_from("abcd"), max_size=8))
def test_each_three_steps_in_a_row_have_a_fingerprint(texts: Sequence[str]) -> None:
    """Wherever they stand; and so have the last two and the last one, which is that of no three."""
    found = prints(*({**STEP, "content": text} for text in texts))
    runs = [tuple(texts[at : at + 3]) for at in range(len(texts))]
    assert len(found) == len(runs)
    assert [found.index(each) for each in found] == [runs.index(each) for each in runs]


@given(st.lists(st.sampled_from("abcd"), max_size=4), st.lists(st.sampled_from("abcd"), min_size=1, max_size=2))
def test_what_a_trajectory_ends_with_has_the_fingerprint_of_one_that_consists_of_it(
    before: Sequence[str], last: Sequence[str]
) -> None:
    """Of one step or two, wherever they stand in another."""
    alone, behind, around = [StepDigests(), StepDigests(), StepDigests()]
    for digests, texts in ((alone, last), (behind, [*before, *last]), (around, [*last, *before])):
        digests.add([StepTexts(content=msgspec.Raw(b'"%s"' % text.encode())) for text in texts])
    assert behind.fingerprints()[len(before)] == alone.fingerprints()[0]
    assert around.fingerprint(0, len(last) - 1) == alone.fingerprints()[0]


def test_fingerprints_are_those_of_the_format() -> None:
    """docs/format.md, "Fingerprints": whoever changes them adds a migration of ledger.db."""
    steps = [CALL, {**STEP, "content": "café", "tool": None}, {**STEP, "type": "thought", "content": None}]
    assert prints(*steps) == [88045383471399186, 4352207470687204161, 8724577970303704994]


@pytest.mark.parametrize("at", [0, HASHED_BYTES - 1, HASHED_BYTES, 2 * HASHED_BYTES, 3 * HASHED_BYTES - 1])
def test_every_character_of_a_long_text_counts(at: int) -> None:
    """It is hashed in pieces."""
    text = "x" * 3 * HASHED_BYTES
    assert prints({**STEP, "content": text}) != prints({**STEP, "content": f"{text[:at]}y{text[at + 1 :]}"})


NOT_SEEN = re.compile(
    "[\x80-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ufdfa\ufdfb]"
)
CONTROLS = re.compile("[\x00-\x20\x7f]")
CHARACTERS = st.sampled_from(
    'aB7 \n\t\r\b\x0c\x00\x1b\x7f"\\/nu{é…ﬁ→①e\u0301\u0323한\u1112\u1161🚀\u200b\ufeff\xad\x85\ufdfa'
)
ANY_TEXT = st.text(CHARACTERS | st.characters(exclude_categories=["Cs"]), max_size=40)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT | st.sampled_from(["call_id", "b"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def digest_of_the_format(write: Callable[[object], str], type_: str, tool: object, *rest: object) -> bytes:
    """A step's digest, word by word as docs/format.md has it; for texts with no 128 others in a row."""

    def compared(text: str) -> str:
        return CONTROLS.sub("", unicodedata.normalize("NFKC", NOT_SEEN.sub("", text)))

    def value(given: object) -> str:
        if isinstance(given, str):
            return compared(given)
        return "" if given is None else CONTROLS.sub("", write(given))

    content, arguments = rest
    asked = value(arguments)
    if isinstance(arguments, dict | list):
        ids = ("call_id", "callId", "tool_call_id", "toolCallId", "tool_use_id", "toolUseId")
        left = {k: v for k, v in arguments.items() if k not in ids} if isinstance(arguments, dict) else arguments
        written = json.dumps(left, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        asked = compared(re.sub(r"\\(?:[bfnrt]|u00[01][0-9a-f])", "", written))
    lines = "\n".join((type_, value(tool), value(content), asked))
    return blake2b(lines.encode(), digest_size=8).digest()


@given(
    st.lists(st.tuples(st.sampled_from(["action", "thought"]), ANY_VALUE, st.none() | ANY_TEXT, ANY_VALUE), max_size=4),
    st.sampled_from(["escaped", "raw"]),
)
def test_digests_are_those_of_the_format_whatever_is_written(
    steps: Sequence[tuple[str, object, str | None, object]], written: str
) -> None:
    """Word by word, without any of the ways that are faster."""
    write = partial(json.dumps, ensure_ascii=written == "escaped")
    texts = [write(dict(zip(("type", "tool", "content", "arguments"), step, strict=True))) for step in steps]
    digests = StepDigests()
    digests.add([json_text.decode(DECODER, text.encode()) for text in texts])
    assert [digests.digest(place) for place in range(len(steps))] == [
        digest_of_the_format(write, *step) for step in steps
    ]
