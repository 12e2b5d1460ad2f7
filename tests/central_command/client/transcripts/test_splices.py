"""Damaged lines: every whole record on them is read, wherever the others were cut; in time that grows with the line."""

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.transcripts import bounds, splices
from central_command.client.transcripts.reader import LINE_BYTES_MAX, JsonLines
from central_command.client.transcripts.splices import CUTS_MAX, pieces_of

A: dict[str, Any] = {
    "type": "user",
    "uuid": "u1",
    "timestamp": "t",
    "message": {
        "role": "user",
        "content": [
            {"type": "text", "text": 'é {"a":1} \\ "q" \u2028 end'},
            {"type": "x", "v": [1.5, -3, True, None, {"k": "v"}, [], {}]},
        ],
    },
    "n": 12,
}
B: dict[str, Any] = {"parentUuid": "u1", "type": "assistant", "uuid": "u2", "message": {"content": "b"}}
ROLLOUT: dict[str, Any] = {"timestamp": "t", "type": "response_item", "payload": {"type": "message", "role": "user"}}


def text_of(record: dict[str, Any], *, escaped: bool = False) -> bytes:
    return json.dumps(record, ensure_ascii=escaped, separators=(",", ":")).encode()


def read(text: bytes) -> tuple[list[dict[str, Any]], int, bool]:
    lines = JsonLines(io.BytesIO(text))
    return list(lines), lines.unreadable, lines.is_incomplete


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("nuls", [b"", b"\0" * 7])
@pytest.mark.parametrize("whole", [B, ROLLOUT])
def test_a_record_that_was_cut_off_anywhere_costs_itself_alone(
    whole: dict[str, Any], nuls: bytes, *, escaped: bool
) -> None:
    """At every byte of it: in text, an escape, half a character, a number, right behind a colon or a bracket."""
    cut, kept = text_of(A, escaped=escaped), text_of(whole)
    for length in range(1, len(cut)):
        assert read(cut[:length] + nuls + kept + b"\n" + kept + b"\n") == ([whole, whole], 1, False), cut[:length]


def test_several_writers_at_once_lose_what_was_cut_and_no_more() -> None:
    """A whole record before a cut one, and one after it; two cuts in a row."""
    a, b = text_of(A), text_of(B)
    for length in range(1, len(a)):
        assert read(b + a[:length] + b + b"\n")[:2] == ([B, B], 1)
    for length in range(2, len(a)):
        records, unreadable, _ = read(a[:length] + a[: length // 2 + 2] + b + b"\n")
        assert records == [B], a[:length]
        assert unreadable in {1, 2}


def test_a_record_within_another_is_read_and_its_rest_is_not() -> None:
    """One writer's record in the middle of another's, of which no part has what only records have."""
    a, b = text_of(A), text_of(B)
    for length in range(1, a.index(b"[1.5")):
        records, unreadable, _ = read(a[:length] + b + a[length:] + b"\n" + b + b"\n")
        assert [record for record in records if "uuid" in record] == [B, B], a[:length]
        assert unreadable in {1, 2}


def test_records_without_ends_of_lines_and_behind_nuls_lose_nothing() -> None:
    """As many as there are; NULs before, between and behind them, more than a line may have, too."""
    a, b = text_of(A), text_of(B)
    assert read(a + b + b"\n") == ([A, B], 0, False)
    assert read((a + b) * 500 + b"\n") == ([A, B] * 500, 0, False)
    assert read(b"\0" * 4096 + a + b"\0\0" + b + b"\0\n" + b) == ([A, B, B], 0, False)
    assert read(b"\0" * (2 * LINE_BYTES_MAX + 5) + a + b"\n" + b) == ([A, B], 0, False)


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        (b"no json", 1),
        (b"42", 1),
        (b"[]", 1),
        (b'{"type":"user","mess', 1),
        (b"[" * 100_000, 1),
        (b'# a note with {"type":"user","uuid":"u"} in it', 1),
        (b'{"type":"user","message":{"role":"user"}', 1),
        (b'{"type":"user","message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}', 1),
        (b"\0\0\0", 1),
    ],
)
def test_a_line_without_a_whole_record_is_one_that_is_lost(line: bytes, lost: int) -> None:
    """Parts of a record are none, also where they end with the line."""
    assert read(line + b"\n" + text_of(B) + b"\n") == ([B], lost, False)


@pytest.mark.parametrize("before", [b"\x1b[?1004l", b"(node:12) Warning: {x} ", b"\r\x1b[K\x1b]0;title\x07"])
def test_a_record_behind_what_a_terminal_was_told_is_read(before: bytes) -> None:
    """Streams are printed, and saved with what else was printed."""
    b = text_of(B)
    assert read(before + b + b"\n" + b) == ([B, B], 1, False)
    assert read(b + b"\n" + before + b[:-1]) == ([B], 0, True)


@given(st.data())
def test_what_was_read_of_a_growing_file_stays(data: st.DataObject) -> None:
    """A last line that is damaged, and still being written, gives what will be given of it in the end."""
    a, b = text_of(A), text_of(B)
    cut = data.draw(st.integers(1, len(a) - 1))
    text = a[:cut] + b + a + b + a[:cut] + b + b"\n" + b
    whole = read(text)[0]
    end = data.draw(st.integers(0, len(text)))
    records, _, is_incomplete = read(text[:end])
    assert records == whole[: len(records)]
    assert is_incomplete or text[:end].endswith((b"}", b"\n")) or not end


def test_a_half_record_behind_a_whole_one_is_still_being_written() -> None:
    """Not counted as lost, until its line has an end."""
    a, b = text_of(A), text_of(B)
    for length in range(1, len(a)):
        assert read(b + a[:length]) == ([B], 0, True), a[:length]
        assert read(b + a[:length] + b"\n") == ([B], 1, False)


PIECES = [b'{"a":', b'{"a":x', b'}{"', b':{"id":', b'{"a":1}x', b'{"', b'{"a":[{},']


@pytest.mark.parametrize("piece", PIECES)
def test_the_time_grows_with_the_line(piece: bytes) -> None:
    """Whatever stands in it; if it grew with the line's square, this would take minutes."""

    def seconds(size: int) -> float:
        line = (piece * (size // len(piece) + 1))[:size]
        started = time.process_time()
        pieces_of(line, is_ended=True)
        return time.process_time() - started

    small = min(seconds(50_000) for _ in range(3))
    assert min(seconds(800_000) for _ in range(2)) < 5 * 16 * small + 1


@pytest.mark.parametrize("piece", PIECES)
def test_a_line_with_too_many_values_is_looked_through_a_few_times(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece of it is counted before it is read, and only so many are."""
    looked: list[int] = []

    def has_values_over(text: bytes, values_max: int) -> bool:
        looked.append(len(text))
        return bounds.has_values_over(text, values_max)

    monkeypatch.setattr(splices, "VALUES_MAX", 1_000)
    monkeypatch.setattr(splices, "has_values_over", has_values_over)
    line = piece * 10_000
    pieces_of(line, is_ended=True)
    assert sum(looked) <= 24 * len(line)


def test_a_line_of_nothing_but_cuts_is_given_up() -> None:
    """What stands behind so many is one more that is lost."""
    cut = b'{"a":x'
    assert pieces_of(cut * (CUTS_MAX * 2), is_ended=True).lost == CUTS_MAX + 1
