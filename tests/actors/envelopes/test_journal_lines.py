"""The members of journal lines: the client's own bytes, the server's own words."""

import json

import pytest

from actors.envelopes import journal_lines
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from persistence.format.records import ClosedBy


def read(body: str) -> Envelope:
    envelope = read_envelope(body.encode(), nesting_max=64)
    assert isinstance(envelope, Envelope)
    return envelope


def test_an_envelope_keeps_its_bytes_behind_the_servers_id() -> None:
    """Numbers and escapes stay as they were written; only the client's own id goes."""
    envelope = read('{"envelope_id":"mine","session_id":"s","x":1.50,"y":"\\u00e9"}')
    members = journal_lines.envelope_members("env_1", envelope)
    assert members == b'"envelope_id":"env_1","session_id":"s","x":1.50,"y":"\\u00e9"'


@pytest.mark.parametrize(
    ("body", "gap", "received"),
    [
        ('{"session_id":"s"}', 0, b""),
        ('{"session_id":"s"}', 2, b',"gap":2'),
        ('{"envelope_id":"mine","session_id":"s"}', 0, b',"client_envelope_id":"mine"'),
        ('{"envelope_id":"mine","session_id":"s"}', 3, b',"gap":3,"client_envelope_id":"mine"'),
        ('{"envelope_id":{"a":1},"session_id":"s"}', 0, b""),
        ('{"envelope_id":"%s","session_id":"s"}' % ("x" * 2_000), 1, b',"gap":1'),
    ],
)
def test_received_notes_the_gap_and_the_clients_own_id_unless_it_is_no_text_or_too_long(
    body: str, gap: int, received: bytes
) -> None:
    assert journal_lines.envelope_received(read(body), gap) == received


def test_a_server_close_says_who_closed() -> None:
    members = journal_lines.server_close_members("env_1", 'quote"d', ClosedBy.ABANDONED)
    assert json.loads(b"{%s}" % members) == {
        "envelope_id": "env_1",
        "session_id": 'quote"d',
        "type": "SERVER_CLOSE",
        "closed_by": "abandoned",
    }


@pytest.mark.parametrize(
    "body",
    [
        '{"session_id":"s","attestation":{"session_hmac":"ab","sequence":5},"x":"\\ud83d é 🚀 \\" \\\\"}',
        '{\n  "session_id": "s",\r\n\t"attestation": {"session_hmac": "ab", "sequence": 5}\n}',
    ],
)
def test_a_dead_letter_holds_the_body_character_for_character_on_one_line(body: str) -> None:
    refusal = Refusal(RefusalCode.SCHEMA, 'metadata is "x".')
    members = journal_lines.refusal_members("env_1", read(body), 5, refusal)
    assert b"\n" not in members
    line = json.loads(b"{%s}" % members)
    assert line == {
        "envelope_id": "env_1",
        "session_id": "s",
        "type": "CHUNK",
        "sequence": 5,
        "session_hmac": "ab",
        "refused": {"code": "schema", "reason": 'metadata is "x".'},
        "body": body,
    }


def test_a_claimed_type_is_kept_only_so_far() -> None:
    assert journal_lines.claimed_type(read('{"session_id":"s"}')) == "CHUNK"
    assert journal_lines.claimed_type(read('{"session_id":"s","type":"%s"}' % ("T" * 1_000))) == "T" * 64
