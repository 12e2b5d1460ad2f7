"""Lines read back give the records that were handed in."""

import json

import msgspec
import pytest

from persistence.format.records import (
    ClosedBy,
    EnvelopeKind,
    EnvelopeRecord,
    JournalName,
    RefusalRecord,
    TrajectoryRecord,
)
from persistence.format.step_runs import StepTexts, fingerprints_of
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_envelope_line, parse_line, parse_refusal_line, parse_trajectory_line
from tests.persistence.journals.line_texts import CHUNK, HMAC, SERVER_CLOSE, attestation, framed

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
        fingerprints=fingerprints_of([StepTexts(content=msgspec.Raw(b'"\\ufffd"'))]),
    )


def test_a_trajectory_s_line_says_what_of_it_stood_in_earlier_ones() -> None:
    """The session that most of it comes from, and how many steps that were in all."""
    runs = [(1, 3, "sess_a"), (4, 8, "sess_b"), (20, 21, "sess_a")]
    copied = ",".join(
        f'{{"from_step":{first},"to_step":{last},"session_id":"{source}","trajectory_id":"traj"}}'
        for first, last, source in runs
    )
    record = parse_trajectory_line(
        framed(
            '"trajectory_id":"traj_1","session_id":"sess_1","contributor_id":"c0ffee",'
            '"metadata":{"provider":"codex","model_engine":"gpt-5.5"},"trajectory_log":[],"total_steps":30,'
            f'"copied_from":[{copied}],"total_tokens":0,"total_chunks":2,"closed_by":"http_close",'
            '"score":{"basePoints":20,"totalPoints":20}'
        )
    )
    assert (record.copied_steps, record.copied_from, list(record.fingerprints)) == (10, "sess_a", [])


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


@pytest.mark.parametrize("number", [2**63, -1, 10**40])
@pytest.mark.parametrize("member", [b'"total_steps":1', b'"total_chunks":1', b'"basePoints":1'])
def test_a_number_that_no_database_holds_is_not_taken(member: bytes, number: int) -> None:
    """No server wrote it; taken, it would end a start with a traceback."""
    line = (
        b'{"trajectory_id":"t","session_id":"s","contributor_id":"c","metadata":{"provider":"p","model_engine":"m"},'
        b'"total_steps":1,"total_tokens":1,"total_chunks":1,"closed_by":"abandoned",'
        b'"score":{"basePoints":1,"totalPoints":5}}'
    )
    assert parse_trajectory_line(line).steps == 1
    with pytest.raises(LineError, match="cannot be read"):
        parse_trajectory_line(line.replace(member, member[:-1] + b"%d" % number))
