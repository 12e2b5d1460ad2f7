"""Whose envelope it is, by its first bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.http.requests.first_bytes import FIRST_BYTES, session_in
from tests.signing_client import SigningClient


def test_every_kind_of_envelope_that_clients_send_tells_its_session() -> None:
    """Signed as published clients do it, whatever its size."""
    client = SigningClient("sess_1")
    for body in (client.chunk(), client.chunk(400), client.close(), client.feedback()):
        assert session_in(body) == "sess_1"
        assert session_in(body[:FIRST_BYTES]) == "sess_1"


@pytest.mark.parametrize(
    ("body", "session_id"),
    [
        (b'{"session_id":"a.b:c-d_9"}', "a.b:c-d_9"),
        (b' \n{ "session_id" : "a" , "b" : 1 }', "a"),
        (b'{"x":null,"y":-1.5e+3,"z":"\\"session_id\\":\\"b\\"","session_id":"a"', "a"),
        (b'{"session_id":"a', None),
        (b'{"session_id":"' + b"a" * 129 + b'"}', None),
        (b'{"session_id":"a b"}', None),
        (b'{"session_id":7}', None),
        (b'{"session_id":7,"session_id":"a"}', None),
        (b'{"x":{"session_id":"b"},"session_id":"a"}', None),
        (b'[{"session_id":"a"}]', None),
        (b'{"x":"' + b"y" * FIRST_BYTES + b'","session_id":"a"}', None),
        (b"", None),
        (b"\xff" * 2_000, None),
    ],
)
def test_only_a_name_at_the_top_level_before_anything_nested_counts(body: bytes, session_id: str | None) -> None:
    """Where it cannot be told at once, nothing is guessed."""
    assert session_in(body) == session_id


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(max_size=20), SCALARS | st.lists(SCALARS, max_size=3), max_size=6))
def test_what_is_told_is_what_reading_finds(members: dict[str, object]) -> None:
    """Whatever stands before and behind it."""
    body = json.dumps({**members, "session_id": "sess_1"}).encode()
    assert session_in(body) in {"sess_1", None}
    assert session_in(json.dumps(members).encode()) in {members.get("session_id"), None}
