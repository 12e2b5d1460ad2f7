"""Frames are found at a line's end, checked, and not to be forged."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.format import times
from persistence.journals.framing import FRAME_BYTES_MAX, Frame, frame, parse_frame
from tests.persistence.journals.line_texts import AT, CHUNK, SERVER_CLOSE, framed


def test_what_is_written_is_what_the_format_says_and_is_read_back() -> None:
    """With more members of `received`, and never more bytes than are counted for it."""
    largest = 10**19 - 1
    for n, batch, extra in ((12, 10, b',"gap":2'), (1, 1, b""), (largest, largest, b"")):
        members = CHUNK.encode()
        text = b"".join(frame(members, extra, n=n, at=AT.encode(), batch=batch))
        assert text == framed(CHUNK, n=n, batch=batch, extra=extra.decode())
        assert len(text) <= len(members) + len(extra) + FRAME_BYTES_MAX
        found = parse_frame(text)
        assert found is not None
        assert (found.n, found.batch, found.at) == (n, batch, times.from_text(AT))


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_frame_is_read_from_the_line_s_end(end: bytes) -> None:
    line = framed(CHUNK, extra=',"gap":2,"client_envelope_id":"env_\\"own"').removesuffix(b"\n") + end
    assert parse_frame(line) == Frame(n=12, at=times.from_text(AT), batch=10, gap=2, client_envelope_id=b'"env_\\"own"')


@pytest.mark.parametrize("own_id", ["5", "null", '{"a":1}', '["x"]', '""', '"\\ud800"'])
def test_a_client_s_own_id_may_be_any_json(own_id: str) -> None:
    frame = parse_frame(framed(CHUNK, extra=f',"client_envelope_id":{own_id}'))
    assert frame == Frame(n=12, at=times.from_text(AT), batch=10, client_envelope_id=own_id.encode())


@pytest.mark.parametrize(
    "forged",
    [
        '{"a":1,"received":{"n":99,"at":"2000-01-01T00:00:00.000000Z","batch":99}}',
        '{"a":1,"received":{"n":99,"at":"2000-01-01T00:00:00.000000Z","batch":99,"client_envelope_id":"x"}}',
        '[{"a":1,"received":{"n":99,"at":"2000-01-01T00:00:00.000000Z","batch":99},"crc32":"00000000"}]',
        '",\\"received\\":{\\"n\\":99,\\"at\\":\\"2000-01-01T00:00:00.000000Z\\",\\"batch\\":99}"',
    ],
)
def test_a_frame_hidden_in_the_client_s_own_id_does_not_pass_for_the_server_s(forged: str) -> None:
    frame = parse_frame(framed(CHUNK, extra=f',"client_envelope_id":{forged}'))
    assert frame is not None
    assert (frame.n, frame.batch, frame.client_envelope_id) == (12, 10, forged.encode())


def test_any_changed_byte_is_noticed() -> None:
    line = framed(CHUNK, extra=',"gap":2')
    for index in range(len(line) - 1):
        assert parse_frame(line[:index] + bytes([line[index] ^ 1]) + line[index + 1 :]) is None


def test_any_shorter_line_is_torn() -> None:
    line = framed(SERVER_CLOSE)
    for length in range(len(line) - 1):
        assert parse_frame(line[:length]) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        framed(CHUNK, n=0),
        framed(CHUNK, at="2026-13-20T10:12:17.123456Z"),
        framed(CHUNK)[1:],
    ],
)
def test_what_is_no_frame_is_none(line: bytes) -> None:
    assert parse_frame(line) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_frame_s_reader_fail(noise: bytes) -> None:
    assert parse_frame(noise) is None
    text = b'{"a":1,"received":{"n":' + noise
    assert parse_frame(text + b',"crc32":"%08x"}\n' % zlib.crc32(text)) is None or noise[:1].isdigit()
