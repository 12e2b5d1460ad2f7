"""Lines read back give the records that were handed in; frames are found, checked and not to be forged."""

import json
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.format import times
from persistence.format.records import (
    ClosedBy,
    EnvelopeKind,
    EnvelopeRecord,
    JournalName,
    RefusalRecord,
    TrajectoryRecord,
)
from persistence.journals.lines import (
    Frame,
    LineError,
    parse_envelope_line,
    parse_frame,
    parse_line,
    parse_refusal_line,
    parse_trajectory_line,
)

AT = "2026-11-20T10:12:17.123456Z"
HMAC = "ab" * 32


def framed(members: str, *, n: int = 12, batch: int = 10, extra: str = "", at: str = AT) -> bytes:
    text = f'{{{members},"received":{{"n":{n},"at":"{at}","batch":{batch}{extra}}}'.encode()
    return text + b',"crc32":"%08x"}\n' % zlib.crc32(text)


def attestation(sequence: int = 3) -> str:
    return f'"attestation":{{"session_hmac":"{HMAC}","sequence":{sequence},"app_version_hash":"cd"}}'


CHUNK = (
    '"envelope_id":"env_1","session_id":"sess_1","chunk_sequence":2,"contributor_id":"c0ffee",'
    + attestation()
    + ',"metadata":{"provider":"codex","model_engine":"gpt-5.5","received":{"n":1}},'
    '"trajectory_log":[{"step":1,"content":"\\ud83d lone, and ,\\"received\\":{\\"n\\":7"},{"step":2}]'
)
CHUNK_RECORD = EnvelopeRecord(
    envelope_id="env_1",
    session_id="sess_1",
    kind=EnvelopeKind.CHUNK,
    sequence=3,
    session_hmac=HMAC,
    chunk_sequence=2,
    contributor_id="c0ffee",
    provider="codex",
    model="gpt-5.5",
    steps=2,
)
CLOSE = (
    '"envelope_id":"env_2","session_id":"sess_1","type":"SESSION_CLOSE",' + attestation(5) + ","
    '"metadata":{"provider":"codex","model_engine":"gpt-5.5"},"outcome":{"status":"SUCCESS"},'
    '"closed_by":7,"trajectory_log":"nobody looked at this"'
)
FEEDBACK = (
    '"envelope_id":"env_3","session_id":"sess_1","type":"USER_FEEDBACK",' + attestation(6) + ","
    '"feedback":{"signal":"accepted","timestamp":1745794500.0}'
)
SERVER_CLOSE = '"envelope_id":"env_4","session_id":"sess_1","type":"SERVER_CLOSE","closed_by":"abandoned"'


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


def test_a_chunk_s_line_gives_its_record_even_with_lone_surrogates() -> None:
    assert parse_envelope_line(framed(CHUNK)) == CHUNK_RECORD
    assert parse_envelope_line(framed(CHUNK, extra=',"gap":4')) == msgspec.structs.replace(CHUNK_RECORD, gap=4)


def test_a_chunk_may_name_its_type() -> None:
    assert parse_envelope_line(framed(CHUNK + ',"type":"CHUNK"')) == CHUNK_RECORD


def test_a_session_close_s_line_gives_its_record_and_members_of_other_kinds_are_not_looked_at() -> None:
    assert parse_envelope_line(framed(CLOSE, extra=',"gap":1')) == EnvelopeRecord(
        envelope_id="env_2",
        session_id="sess_1",
        kind=EnvelopeKind.SESSION_CLOSE,
        sequence=5,
        session_hmac=HMAC,
        gap=1,
        provider="codex",
        model="gpt-5.5",
        closed_by=ClosedBy.SESSION_CLOSE,
    )


def test_feedback_has_a_signal_and_no_sequence() -> None:
    assert parse_envelope_line(framed(FEEDBACK)) == EnvelopeRecord(
        envelope_id="env_3",
        session_id="sess_1",
        kind=EnvelopeKind.USER_FEEDBACK,
        session_hmac=HMAC,
        signal="accepted",
    )


def test_a_server_close_has_neither_hmac_nor_sequence() -> None:
    assert parse_envelope_line(framed(SERVER_CLOSE)) == EnvelopeRecord(
        envelope_id="env_4", session_id="sess_1", kind=EnvelopeKind.SERVER_CLOSE, closed_by=ClosedBy.ABANDONED
    )


def test_a_refusal_s_line_gives_its_record() -> None:
    members = json.dumps(
        {
            "envelope_id": "env_5",
            "session_id": "sess_1",
            "type": "CHUNK",
            "sequence": 5,
            "session_hmac": HMAC,
            "refused": {"code": "schema", "reason": "step 3 has no type"},
            "body": '{"session_id":"sess_1","x":"\\ud83d"}',
        }
    )[1:-1]
    assert parse_refusal_line(framed(members, extra=',"gap":2')) == RefusalRecord(
        envelope_id="env_5",
        session_id="sess_1",
        kind="CHUNK",
        sequence=5,
        session_hmac=HMAC,
        gap=2,
        code="schema",
        reason="step 3 has no type",
    )


def test_a_trajectory_s_line_gives_its_record_with_the_score_s_own_text() -> None:
    score = '{"basePoints":6,"modelMultiplier":5,"qualityBonus":3,"totalPoints":33.5}'
    members = (
        '"trajectory_id":"traj_1","session_id":"sess_1","contributor_id":"c0ffee",'
        '"metadata":{"provider":"codex","model_engine":"gpt-5.5"},"close_metadata":null,'
        '"trajectory_log":[{"step":1,"content":"\\udfff"}],"outcome":null,"total_steps":6,"total_tokens":900,'
        '"total_chunks":2,"closed_by":"http_close",'
        f'"score":{score},"enrichment":{{}}'
    )
    assert parse_trajectory_line(framed(members)) == TrajectoryRecord(
        trajectory_id="traj_1",
        session_id="sess_1",
        contributor_id="c0ffee",
        provider="codex",
        model="gpt-5.5",
        steps=6,
        tokens=900,
        chunks=2,
        base_points=6,
        total_points=33.5,
        multiplier_breakdown=score,
        closed_by=ClosedBy.HTTP_CLOSE,
    )


@pytest.mark.parametrize("journal", JournalName)
@pytest.mark.parametrize(
    "members",
    [
        '"a":1',
        '"envelope_id":"e","session_id":"s","type":"LETTER"',
        '"envelope_id":"e","session_id":"s"',
        '"envelope_id":"e","session_id":"s","type":"SERVER_CLOSE"',
        '"envelope_id":"e","session_id":"s",' + attestation() + ',"metadata":5',
        '"x":' + "[" * 3_000 + "]" * 3_000,
    ],
)
def test_a_line_that_is_not_its_journal_s_is_refused_in_a_sentence(journal: JournalName, members: str) -> None:
    with pytest.raises(LineError):
        parse_line(journal, framed(members))
