"""What is read as a request's head, however its bytes came."""

import h11
import pytest

from central_command.http.connections.received import Received

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def heads_of(pieces: list[bytes], bytes_max: int = 100) -> tuple[list[bytes], bytes, int | None]:
    """The heads found after each piece, what is left, and the status of the refusal."""
    received = Received(bytes_max)
    found = []
    try:
        for piece in pieces:
            received.put(piece)
            while (head := received.take_head()) is not None:
                found.append(head)
        received.end()
        received.take_head()
    except h11.RemoteProtocolError as problem:
        return found, received.take(), problem.error_status_hint
    return found, received.take(), None


@pytest.mark.parametrize(
    ("data", "found", "status"),
    [
        (HEAD, [HEAD], None),
        (HEAD * 3, [HEAD] * 3, None),
        (b"\r\n" + HEAD, [HEAD], None),
        (b"\r\n\n\r\n" + HEAD + b"\r\n" * 8 + HEAD, [HEAD, HEAD], None),
        (HEAD + b"\r\n", [HEAD], None),
        (b"\r\n" * 9 + HEAD, [], 400),
        (b"\n" * 1_000, [], 400),
        (HEAD + b"\r", [HEAD], 400),
        (b"\r" + HEAD, [], 400),
        (b" " + HEAD, [], 400),
        (b"\x16\x03\x01" + HEAD, [], 400),
        (HEAD[:-1], [], 400),
        (HEAD.replace(b"\r\n", b"\n"), [HEAD.replace(b"\r\n", b"\n")], None),
        (HEAD.replace(b"x\r\n\r\n", b"x\r\n\n") + HEAD, [HEAD.replace(b"x\r\n\r\n", b"x\r\n\n"), HEAD], None),
        (HEAD.replace(b"x", b"x" * 68), [HEAD.replace(b"x", b"x" * 68)], None),
        (HEAD.replace(b"x", b"x" * 69), [], 431),
        (HEAD.replace(b"x", b"x" * 500), [], 431),
    ],
)
def test_a_head_is_the_same_in_one_piece_and_byte_by_byte(data: bytes, found: list[bytes], status: int | None) -> None:
    whole = heads_of([data])
    assert (whole[0], whole[2]) == (found, status)
    bytewise = heads_of([bytes([byte]) for byte in data])
    assert (bytewise[0], bytewise[2]) == (found, status)
    for at in range(1, len(data)):
        pieces = heads_of([data[:at], data[at:]])
        assert (pieces[0], pieces[2]) == (found, status)


def test_what_is_no_head_yet_can_be_taken_as_it_is() -> None:
    """A body is not looked at for heads, and what is given back is searched anew."""
    received = Received(100)
    received.put(HEAD[:10])
    assert received.take_head() is None
    taken = received.take()
    assert taken == HEAD[:10]
    assert not received
    received.put(taken + HEAD[10:] + b"body")
    assert received.take_head() == HEAD
    assert received.take() == b"body"
