"""What becomes of an envelope, from values alone: every outcome, the order of the checks, and what is asked for."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.envelopes import attestation
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import ChunkFacts, CloseFacts, Facts, FeedbackFacts
from actors.envelopes.settings import SchemaSettings
from actors.sessions.deciding import Answer, Decision, Found, Inquiry, Keep, KeepRefused, decide
from actors.sessions.lifecycle import State
from actors.sessions.outcomes import Accepted
from actors.sessions.prospect import Standing
from actors.sessions.settings import SequenceGaps, SessionSettings

SECRET = b"s" * 32
ALL_LARGE = {"inline_bytes_max": 1}
"""Every body is a large one: all that takes long is asked for."""

CHUNK = ChunkFacts(chunk_sequence=0, contributor_id="c", provider="codex", model="m", steps=1)
CLOSE = CloseFacts(provider="codex", model="m")
FEEDBACK = FeedbackFacts(signal="accepted")
FAULT = Refusal(RefusalCode.SCHEMA, "steps is 5; it must be a list.")
REFUSED_BEFORE = Refusal(RefusalCode.SCHEMA, "signal is 5; it must be a text.")

ATTESTED = '"attestation":{"session_hmac":"ab","sequence":4}'
PLAIN = f'{{"session_id":"s",{ATTESTED}}}'
TYPED = '{"session_id":"s","type":"%s",' + ATTESTED + "}"
FEEDBACK_BODY, CLOSE_BODY, UNKNOWN_BODY = (TYPED % kind for kind in ("USER_FEEDBACK", "SESSION_CLOSE", "GREETING"))
UNATTESTED = '{"session_id":"s"}'
UNSIGNED = '{"session_id":"s","attestation":{"session_hmac":"","sequence":4}}'

ACTIVE = Standing(
    lifecycle=State.ACTIVE, secret=SECRET, earlier=None, envelope_count=3, expected_sequence=4, bytes_total=0
)
RECEIVED = {"signed_as_received": True}
CANONICAL = {"signed_as_received": False, "signed_as_canonical": True}
FORGED = {"signed_as_received": False, "signed_as_canonical": False}
GAPS = {"sequence_gaps": SequenceGaps.ACCEPT}
NO_GAPS = {"sequence_gaps": SequenceGaps.REFUSE}
DUPLICATE = Accepted("env_1", duplicate=True)


def envelope_of(body: str) -> Envelope:
    envelope = read_envelope(body.encode(), nesting_max=8)
    assert isinstance(envelope, Envelope)
    return envelope


def decided(
    body: str = PLAIN,
    standing: dict[str, Any] | None = None,
    found: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> Decision | Inquiry:
    return decide(
        envelope_of(body),
        msgspec.structs.replace(ACTIVE, **standing or {}),
        Found(**found or {}),
        SessionSettings(**ALL_LARGE | (settings or {})),
        SchemaSettings(sequence_max=10),
        now_s=0.0,
    )


def refused(code: RefusalCode, reason: str) -> Answer:
    return Answer(Refusal(code, reason))


UNKNOWN = refused(RefusalCode.UNKNOWN_SESSION, "The session is not known.")
ENDED = refused(RefusalCode.SESSION_CLOSED, "The session is closed and takes no more envelopes of this kind.")
MISSING = refused(
    RefusalCode.MISSING_ATTESTATION, "The envelope has no attestation with a text session_hmac and an integer sequence."
)
EMPTY = refused(RefusalCode.MISSING_ATTESTATION, "The attestation's session_hmac is empty.")
LIMIT = refused(RefusalCode.ENVELOPE_LIMIT, "The session has sent 3 envelopes, which is its limit.")
INVALID = refused(RefusalCode.INVALID_HMAC, "The HMAC does not match the envelope, its sequence and the session's key.")
TOO_LARGE = Refusal(RefusalCode.SESSION_TOO_LARGE, "The session has reached its limit of 70 bytes.")


def mismatch(expected: int) -> Answer:
    reason = f"The envelope has sequence 4, but {expected} is the next one."
    return refused(RefusalCode.SEQUENCE_MISMATCH, reason)


AS_RECEIVED, AS_CANONICAL, OF_SCHEMA = Inquiry.SIGNED_AS_RECEIVED, Inquiry.SIGNED_AS_CANONICAL, Inquiry.SCHEMA

# What the envelope is, how its session stands to it, what was found, the settings, and what is to be done.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], Decision | Inquiry]] = {
    # A resend
    "a resend is verified first": (PLAIN, {"earlier": DUPLICATE}, {}, {}, AS_RECEIVED),
    "a resend is verified the other way": (
        PLAIN,
        {"earlier": DUPLICATE},
        {"signed_as_received": False},
        {},
        AS_CANONICAL,
    ),
    "a resend": (PLAIN, {"earlier": DUPLICATE}, RECEIVED, {}, Answer(DUPLICATE)),
    "a resend, printed anew": (PLAIN, {"earlier": DUPLICATE}, CANONICAL, {}, Answer(DUPLICATE)),
    "a forged resend": (PLAIN, {"earlier": DUPLICATE}, FORGED, {}, INVALID),
    "a forged resend of the close": (
        CLOSE_BODY,
        {"earlier": DUPLICATE, "lifecycle": State.CLOSED},
        FORGED,
        {},
        ENDED,
    ),
    "a resend after the close": (
        CLOSE_BODY,
        {"earlier": DUPLICATE, "lifecycle": State.CLOSED},
        RECEIVED,
        {},
        Answer(DUPLICATE),
    ),
    "a resend while it is closing": (
        PLAIN,
        {"earlier": DUPLICATE, "lifecycle": State.CLOSING},
        RECEIVED,
        {},
        Answer(DUPLICATE),
    ),
    "a resend at the limit": (PLAIN, {"earlier": DUPLICATE}, RECEIVED, {"envelopes_max": 3}, Answer(DUPLICATE)),
    "a resend of refused feedback": (FEEDBACK_BODY, {"earlier": REFUSED_BEFORE}, RECEIVED, {}, Answer(REFUSED_BEFORE)),
    "a resend without keys": (PLAIN, {"earlier": DUPLICATE, "secret": b""}, {}, {}, UNKNOWN),
    # The status
    "no such session": (PLAIN, {"lifecycle": State.ABSENT, "secret": b""}, {}, {}, UNKNOWN),
    "feedback, no such session": (FEEDBACK_BODY, {"lifecycle": State.ABSENT, "secret": b""}, {}, {}, UNKNOWN),
    "its keys are lost": (PLAIN, {"secret": b""}, {}, {}, UNKNOWN),
    "a chunk while it is closing": (PLAIN, {"lifecycle": State.CLOSING}, {}, {}, ENDED),
    "a chunk after the close": (PLAIN, {"lifecycle": State.CLOSED}, {}, {}, ENDED),
    "a second close": (CLOSE_BODY, {"lifecycle": State.CLOSED}, {}, {}, ENDED),
    "an unknown type after the close": (UNKNOWN_BODY, {"lifecycle": State.CLOSED}, {}, {}, ENDED),
    "feedback after the close": (FEEDBACK_BODY, {"lifecycle": State.CLOSED}, {}, {}, AS_RECEIVED),
    # The attestation, and the limit
    "no attestation": (UNATTESTED, {}, {}, {}, MISSING),
    "an empty HMAC": (UNSIGNED, {}, {}, {}, EMPTY),
    "at the limit": (PLAIN, {}, {}, {"envelopes_max": 3}, LIMIT),
    "feedback at the limit": (FEEDBACK_BODY, {}, {}, {"envelopes_max": 3}, LIMIT),
    "the last below the limit": (PLAIN, {}, {}, {"envelopes_max": 4}, AS_RECEIVED),
    # The HMAC
    "as received": (PLAIN, {}, {}, {}, AS_RECEIVED),
    "as canonical": (PLAIN, {}, {"signed_as_received": False}, {}, AS_CANONICAL),
    "forged": (PLAIN, {}, FORGED, {}, INVALID),
    "forged and checked": (PLAIN, {}, FORGED | {"schema": CHUNK}, {}, INVALID),
    # The sequence
    "a lower number": (PLAIN, {"expected_sequence": 5}, RECEIVED, {}, mismatch(5)),
    "a lower number, gaps": (PLAIN, {"expected_sequence": 5}, RECEIVED, GAPS, mismatch(5)),
    "a higher number": (PLAIN, {"expected_sequence": 3}, RECEIVED, NO_GAPS, mismatch(3)),
    "a higher number, gaps": (PLAIN, {"expected_sequence": 3}, RECEIVED, GAPS, OF_SCHEMA),
    "feedback of any number": (FEEDBACK_BODY, {"expected_sequence": 9}, RECEIVED, {}, OF_SCHEMA),
    # Authentic and in order
    "too large": (
        PLAIN,
        {"bytes_total": 71 - len(PLAIN)},
        RECEIVED,
        {"session_bytes_max": 70},
        KeepRefused(TOO_LARGE, sequence=4, gap=0),
    ),
    "feedback too large": (
        FEEDBACK_BODY,
        {},
        RECEIVED,
        {"session_bytes_max": 70},
        KeepRefused(TOO_LARGE, sequence=None, gap=0),
    ),
    "just not too large": (PLAIN, {"bytes_total": 70 - len(PLAIN)}, RECEIVED, {"session_bytes_max": 70}, OF_SCHEMA),
    "a fault": (PLAIN, {}, RECEIVED | {"schema": FAULT}, {}, KeepRefused(FAULT, sequence=4, gap=0)),
    "a fault, printed anew": (PLAIN, {}, CANONICAL | {"schema": FAULT}, {}, Answer(FAULT)),
    "too large, printed anew": (
        PLAIN,
        {"bytes_total": 70 - len(PLAIN) + 1},
        CANONICAL,
        {"session_bytes_max": 70},
        Answer(TOO_LARGE),
    ),
    "a fault after a gap": (
        PLAIN,
        {"expected_sequence": 1},
        RECEIVED | {"schema": FAULT},
        GAPS,
        KeepRefused(FAULT, sequence=4, gap=3),
    ),
    "a fault in feedback": (
        FEEDBACK_BODY,
        {"expected_sequence": 1},
        RECEIVED | {"schema": FAULT},
        GAPS,
        KeepRefused(FAULT, sequence=None, gap=0),
    ),
    "a chunk": (PLAIN, {}, RECEIVED | {"schema": CHUNK}, {}, Keep(CHUNK, gap=0)),
    "a chunk, printed anew": (PLAIN, {}, CANONICAL | {"schema": CHUNK}, {}, Keep(CHUNK, gap=0)),
    "a chunk after a gap": (PLAIN, {"expected_sequence": 2}, RECEIVED | {"schema": CHUNK}, GAPS, Keep(CHUNK, gap=2)),
    "a close": (CLOSE_BODY, {}, RECEIVED | {"schema": CLOSE}, {}, Keep(CLOSE, gap=0)),
    "feedback": (FEEDBACK_BODY, {"expected_sequence": 0}, RECEIVED | {"schema": FEEDBACK}, {}, Keep(FEEDBACK, gap=0)),
    "late feedback": (
        FEEDBACK_BODY,
        {"lifecycle": State.CLOSED},
        RECEIVED | {"schema": FEEDBACK},
        {},
        Keep(FEEDBACK, gap=0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_envelope_is_decided_on(case: str) -> None:
    body, standing, found, settings, expected = CASES[case]
    assert decided(body, standing, found, settings) == expected


def test_a_number_above_the_highest_is_refused_also_where_gaps_are_accepted() -> None:
    body = PLAIN.replace('"sequence":4', '"sequence":11')
    reason = "The envelope has sequence 11, but 4 is the next one."
    assert decided(body, {}, RECEIVED, GAPS) == refused(RefusalCode.SEQUENCE_MISMATCH, reason)
    # The expected one is left to the schema, which refuses it and uses it up.
    assert decided(body, {"expected_sequence": 11}, RECEIVED, GAPS) is Inquiry.SCHEMA


def test_the_table_reaches_every_kind_of_outcome() -> None:
    """Every question, every decision, and every code that a session's envelope can be refused with by `decide`."""
    expected = [case[-1] for case in CASES.values()]
    assert {each for each in expected if isinstance(each, Inquiry)} == set(Inquiry)
    assert {type(each) for each in expected} == {Inquiry, Answer, Keep, KeepRefused}
    refusals = [each.outcome for each in expected if isinstance(each, Answer)]
    refusals += [each.refusal for each in expected if isinstance(each, KeepRefused)]
    assert {each.code for each in refusals if isinstance(each, Refusal)} == {
        RefusalCode.UNKNOWN_SESSION,
        RefusalCode.SESSION_CLOSED,
        RefusalCode.MISSING_ATTESTATION,
        RefusalCode.ENVELOPE_LIMIT,
        RefusalCode.INVALID_HMAC,
        RefusalCode.SEQUENCE_MISMATCH,
        RefusalCode.SESSION_TOO_LARGE,
        RefusalCode.SCHEMA,
    }


# The order of the checks: everything is wrong with an envelope, and is mended from the first check to the last.

MENDED: list[tuple[dict[str, Any], Decision | Inquiry]] = [
    ({}, UNKNOWN),
    ({"standing": {"lifecycle": State.CLOSED, "secret": SECRET}}, ENDED),
    ({"standing": {"lifecycle": State.ACTIVE}}, MISSING),
    ({"body": UNSIGNED}, EMPTY),
    ({"body": PLAIN}, LIMIT),
    ({"settings": {"envelopes_max": 200}}, INVALID),
    ({"found": {"signed_as_canonical": True}}, mismatch(7)),
    ({"standing": {"expected_sequence": 4}}, Answer(TOO_LARGE)),
    ({"found": {"signed_as_received": True}}, KeepRefused(TOO_LARGE, sequence=4, gap=0)),
    ({"settings": {"session_bytes_max": 1_000}}, KeepRefused(FAULT, sequence=4, gap=0)),
    ({"found": {"schema": CHUNK}}, Keep(CHUNK, gap=0)),
    ({"standing": {"earlier": DUPLICATE, "lifecycle": State.CLOSED, "envelope_count": 500}}, Answer(DUPLICATE)),
]


def test_the_checks_come_in_the_order_of_the_decisions() -> None:
    body = UNATTESTED
    standing: dict[str, Any] = {"lifecycle": State.ABSENT, "secret": b"", "expected_sequence": 7, "bytes_total": 69}
    found: dict[str, Any] = FORGED | {"schema": FAULT}
    settings: dict[str, Any] = {"envelopes_max": 3, "session_bytes_max": 70}
    seen = []
    for mended, _ in MENDED:
        body = mended.get("body", body)
        standing |= mended.get("standing", {})
        found |= mended.get("found", {})
        settings |= mended.get("settings", {})
        seen.append(decided(body, standing, found, settings))
    assert seen == [expected for _, expected in MENDED]


# What is asked for

FIELDS = {
    Inquiry.SIGNED_AS_RECEIVED: "signed_as_received",
    Inquiry.SIGNED_AS_CANONICAL: "signed_as_canonical",
    Inquiry.SCHEMA: "schema",
}


@given(
    body=st.sampled_from([PLAIN, FEEDBACK_BODY, CLOSE_BODY, UNKNOWN_BODY, UNATTESTED, UNSIGNED]),
    standing=st.fixed_dictionaries(
        {
            "lifecycle": st.sampled_from(State),
            "secret": st.sampled_from([b"", SECRET]),
            "earlier": st.sampled_from([None, DUPLICATE, REFUSED_BEFORE]),
            "envelope_count": st.integers(0, 4),
            "expected_sequence": st.integers(2, 6),
            "bytes_total": st.sampled_from([0, 2_000]),
        }
    ),
    answers=st.tuples(st.booleans(), st.booleans(), st.sampled_from([CHUNK, CLOSE, FEEDBACK, FAULT])),
    gaps=st.sampled_from(SequenceGaps),
)
def test_nothing_is_asked_twice_nor_without_need_and_what_was_found_changes_no_decision(
    body: str, standing: dict[str, Any], answers: tuple[bool, bool, Facts | Refusal], *, gaps: SequenceGaps
) -> None:
    """Asked step by step or with all found beforehand, the decision is the same; only the authentic is checked."""
    settings = {"sequence_gaps": gaps, "envelopes_max": 4, "session_bytes_max": 1_000}
    answer = dict(zip(Inquiry, answers, strict=True))
    found: dict[str, Any] = {}
    asked: list[Inquiry] = []
    while isinstance(step := decided(body, standing, found, settings), Inquiry):
        asked.append(step)
        found[FIELDS[step]] = answer[step]
    assert asked == sorted(set(asked), key=list(Inquiry).index)
    assert (Inquiry.SIGNED_AS_CANONICAL in asked) <= (answers[0] is False)
    is_authentic = answers[0] or answers[1]
    if Inquiry.SCHEMA in asked or not isinstance(step, Answer) or isinstance(step.outcome, Accepted):
        assert is_authentic
        assert standing["secret"]
    everything = {FIELDS[each]: value for each, value in answer.items()}
    assert decided(body, standing, everything, settings) == step


def signed(body: str) -> Envelope:
    """The envelope with its own HMAC under SECRET."""
    envelope = envelope_of(body)
    assert envelope.attestation is not None
    right = attestation.sign(SECRET, envelope.attestation.sequence, envelope.signed_parts())
    own = msgspec.structs.replace(envelope.attestation, session_hmac=right)
    return msgspec.structs.replace(envelope, attestation=own)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize(
    ("envelope", "asked", "is_signed", "expected"),
    [
        (signed(PLAIN), [AS_RECEIVED, OF_SCHEMA], True, KeepRefused),
        (envelope_of(PLAIN), [AS_RECEIVED, AS_CANONICAL], False, Answer),
        (msgspec.structs.replace(signed(PLAIN), facts=CHUNK), [AS_RECEIVED], True, Keep),
    ],
    ids=["with a fault", "forged", "checked while it was read"],
)
def test_of_a_small_body_only_writing_it_anew_is_asked_for(
    envelope: Envelope, asked: list[Inquiry], expected: type, *, is_signed: bool, is_large: bool
) -> None:
    """What does not take long is computed at once, noted, and comes to the same."""
    limit = len(envelope.body) - is_large
    answers = {AS_RECEIVED: is_signed, AS_CANONICAL: False, OF_SCHEMA: FAULT}
    found, seen = Found(), []
    settings = SessionSettings(inline_bytes_max=limit)
    while isinstance(step := decide(envelope, ACTIVE, found, settings, SchemaSettings(), now_s=0.0), Inquiry):
        seen.append(step)
        setattr(found, FIELDS[step], answers[step])
    assert seen == (asked if is_large else [each for each in asked if each is AS_CANONICAL])
    assert isinstance(step, expected)
    assert found.signed_as_received is is_signed


def test_what_an_envelope_is_verified_with_is_not_shown() -> None:
    assert repr(ACTIVE) == "<Standing ACTIVE expects 4>"


def test_a_decision_changes_nothing_and_is_the_same_again() -> None:
    for body, standing, found, settings, expected in CASES.values():
        envelope, now = envelope_of(body), msgspec.structs.replace(ACTIVE, **standing)
        known, rules = Found(**found), SessionSettings(**ALL_LARGE | settings)
        before = msgspec.structs.replace(known)
        for _ in itertools.repeat(None, 2):
            assert decide(envelope, now, known, rules, SchemaSettings(), now_s=0.0) == expected
        assert known == before


@pytest.mark.parametrize(
    ("keep", "is_plain"),
    [
        (Keep(CHUNK, gap=0), True),
        (Keep(CHUNK, gap=1), False),
        (Keep(CLOSE, gap=0), False),
        (Keep(FEEDBACK, gap=0), False),
    ],
)
def test_only_a_chunk_without_a_gap_shares_a_commit(keep: Keep, *, is_plain: bool) -> None:
    assert keep.is_plain_chunk is is_plain
