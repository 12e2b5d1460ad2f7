"""Strict reading beside Node.js: what is accepted, and what its members mean, is the same for both."""

import json
from collections import Counter
from typing import Any

import msgspec

from actors.envelopes import schema
from actors.envelopes.canonical_json import canonicalise
from actors.envelopes.reading import SEQUENCE_MAX, Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings
from actors.trajectories.lines import HeldLines
from actors.trajectories.stitching import stitch
from persistence.format import json_text
from persistence.format.records import ClosedBy, EnvelopeKind
from tests.actors.envelopes.envelope_texts import NOW_S, EnvelopeTexts, fields_of
from tests.actors.envelopes.node_json import Verdict, needs_node, verdicts, without_lone_surrogates

SETTINGS = SchemaSettings()


def doubles(text: bytes) -> Any:
    """The value of a text, every number a double."""
    return json.loads(text, parse_int=float)


class Pairs(tuple[tuple[str, Any], ...]):
    """An object's members as they are written, names that occur twice included."""

    __slots__ = ()


def written(body: bytes) -> Any:
    """The value of a text, with all that JSON.parse leaves out."""
    return json.loads(body, object_pairs_hook=Pairs, parse_int=float)


def depth_of(value: Any) -> int:
    """How deep objects and arrays stand in each other."""
    if isinstance(value, Pairs):
        return 1 + max((depth_of(each) for _, each in value), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


NOT_JSON = {
    RefusalCode.BYTE_ORDER_MARK,
    RefusalCode.INVALID_UTF8,
    RefusalCode.NOT_A_NUMBER,
    RefusalCode.INVALID_JSON,
}


def codes_for(body: bytes, verdict: Verdict) -> set[RefusalCode]:
    """The codes that a body may be refused with, going by what Node.js says of it; none when it must be read."""
    if not verdict.is_valid:
        return NOT_JSON
    if not verdict.is_object:
        # What nests far too deeply is not looked at to its end.
        return {RefusalCode.NOT_AN_OBJECT} | ({RefusalCode.NESTING_TOO_DEEP} if verdict.depth > 500 else set())
    members = written(body)
    if depth_of(members) > SETTINGS.nesting_max:
        return {RefusalCode.NESTING_TOO_DEEP}
    names = [name for name, _ in members]
    found = set()
    if len(set(names)) > SETTINGS.members_max:
        found.add(RefusalCode.TOO_MANY_MEMBERS)
    if len(set(names)) < len(names):
        found.add(RefusalCode.DUPLICATE_MEMBER)
    session_id = verdict.value.get("session_id")
    if not found and not (isinstance(session_id, str) and session_id):
        found.add(RefusalCode.MISSING_SESSION_ID)
    return found


def check_members(envelope: Envelope, value: dict[str, Any]) -> None:
    """What reading says of an envelope is what Node.js finds in it."""
    assert envelope.session_id == without_lone_surrogates(value["session_id"])
    if isinstance(value.get("type"), str):
        assert envelope.type == without_lone_surrogates(value["type"])
    else:
        assert envelope.type is None or schema.envelope_kind(envelope.type) is None
        assert (envelope.type is None) == ("type" not in value)
    names = {without_lone_surrogates(name): name for name in value}
    assert len(envelope.members) == len(value)
    assert set(envelope.member_names()) == set(names)
    if len(names) == len(value):
        for name in envelope.member_names():
            text = envelope.member(name)
            assert text is not None
            assert doubles(text) == value[names[name]]
    assert doubles(b"".join(envelope.signed_parts())) == {
        name: each for name, each in value.items() if name != "attestation"
    }
    stored = doubles(b"{" + envelope.stored_members() + b"}")
    sent = {name: each for name, each in value.items() if name != "envelope_id"}
    assert stored == sent | stored_attestation(envelope)
    check_attestation(envelope, value)


def stored_attestation(envelope: Envelope) -> dict[str, Any]:
    """What is stored of an attestation that can be read: its three members, and nothing else that stood in it."""
    if envelope.attestation is None:
        return {}
    members = {
        "session_hmac": envelope.attestation.session_hmac,
        "sequence": float(envelope.attestation.sequence),
        "app_version_hash": envelope.attestation.app_version_hash,
    }
    return {"attestation": {name: each for name, each in members.items() if each is not None}}


def check_attestation(envelope: Envelope, value: dict[str, Any]) -> None:
    """An attestation is there exactly if Node.js finds one whose sequence is written as a whole number."""
    found = value.get("attestation")
    text = envelope.member("attestation")
    sequence = json.loads(text).get("sequence") if isinstance(found, dict) and text is not None else None
    is_one = (
        isinstance(found, dict)
        and isinstance(found.get("session_hmac"), str)
        and type(sequence) is int
        and 0 <= sequence <= SEQUENCE_MAX
    )
    if envelope.attestation is None:
        assert not is_one or sequence == 0  # minus zero, which no client writes
        return
    assert is_one
    assert isinstance(found, dict)
    assert envelope.attestation.sequence == found["sequence"]
    assert envelope.attestation.session_hmac == without_lone_surrogates(found["session_hmac"])
    app_hash = found.get("app_version_hash")
    assert envelope.attestation.app_version_hash == (
        without_lone_surrogates(app_hash) if isinstance(app_hash, str) else None
    )


@needs_node
def test_reading_accepts_what_node_parses_and_nothing_else() -> None:
    """Of texts damaged in every way, those are read that JSON.parse takes, but for what has a code of its own."""
    source = EnvelopeTexts(seed=4)
    bodies = [source.mutated() for _ in range(10_000)]
    seen: Counter[str] = Counter()
    for body, verdict in zip(bodies, verdicts(bodies), strict=True):
        codes = codes_for(body, verdict)
        outcome = read_envelope(body, nesting_max=SETTINGS.nesting_max, members_max=SETTINGS.members_max)
        if isinstance(outcome, Refusal):
            assert outcome.code in codes, (body, outcome)
            seen[outcome.code] += 1
        else:
            assert not codes, (body, codes)
            check_members(outcome, verdict.value)
            seen["read"] += 1
    answers = {
        *("read", RefusalCode.INVALID_JSON, RefusalCode.NOT_AN_OBJECT, RefusalCode.DUPLICATE_MEMBER),
        *(RefusalCode.NESTING_TOO_DEEP, RefusalCode.TOO_MANY_MEMBERS, RefusalCode.MISSING_SESSION_ID),
    }
    assert min(seen[answer] for answer in answers) >= 30, f"the texts must put every answer to the test: {seen}"


@needs_node
def test_the_schema_sees_the_values_that_node_has() -> None:
    """Each field that the schema decodes, and each fact drawn from it, is the value that JSON.parse gives."""
    source = EnvelopeTexts(seed=5)
    texts = [source.envelope() for _ in range(5_000)]
    seen: Counter[str] = Counter()
    for (body, is_plain), verdict in zip(texts, verdicts(body for body, _ in texts), strict=True):
        envelope = read_envelope(body, nesting_max=SETTINGS.nesting_max, members_max=SETTINGS.members_max)
        if isinstance(envelope, Refusal):
            assert envelope.code in codes_for(body, verdict), body
            continue
        facts = schema.check(envelope, SETTINGS, NOW_S)
        rewritten = read_envelope(canonicalise(body), nesting_max=SETTINGS.nesting_max)
        assert isinstance(rewritten, Envelope)
        facts_rewritten = schema.check(rewritten, SETTINGS, NOW_S)
        if isinstance(facts, Refusal):
            # What only its spelling condemns (5.0, 1e400, a name twice) may pass once it is rewritten; nothing else.
            assert isinstance(facts_rewritten, Refusal) or not is_plain, (body, facts)
            seen["refused"] += 1
            continue
        assert facts == facts_rewritten, body
        check_fields(envelope, verdict.value)
        if isinstance(facts, schema.ChunkFacts):
            check_trajectory(body, verdict.value)
        seen[facts.kind] += 1
    assert all(seen[kind] >= 300 for kind in ("CHUNK", "SESSION_CLOSE", "USER_FEEDBACK", "refused")), seen


def check_fields(envelope: Envelope, value: dict[str, Any]) -> None:
    """Every field that the schema's decoder filled holds what Node.js has there."""
    kind = schema.envelope_kind(envelope.type)
    assert kind is not None
    _, decoder = schema._schema(SETTINGS)[kind]
    decoded = msgspec.to_builtins(json_text.decode(decoder, envelope.body))
    assert decoded == fields_of(without_lone_surrogates(value), decoded), envelope.body


def check_trajectory(body: bytes, value: dict[str, Any]) -> None:
    """What is stitched, counted and credited from a chunk is drawn from the values that Node.js has."""
    # As its journal line, which is what a close reads back.
    line = b'{"received":{"n":1},' + body.strip()[1:]
    lines = HeldLines([EnvelopeKind.CHUNK], [line])
    trajectory = stitch("sess_1", lines, gaps=[], closed_by=ClosedBy.HTTP_CLOSE)
    assert trajectory is not None
    log = sorted(value["trajectory_log"], key=lambda step: step["step"])
    assert [doubles(line[span.start : span.end]) for span in trajectory.steps] == log
    assert trajectory.total_tokens == sum(step.get("token_count", 0) for step in log)
    assert trajectory.step_type_counts == Counter(step["type"] for step in log)
    tools = {step["tool"] for step in log if isinstance(step.get("tool"), str) and step["tool"]}
    assert trajectory.tools == tuple(sorted({without_lone_surrogates(tool) for tool in tools}))
    metadata = value["metadata"]
    assert (trajectory.provider, trajectory.model) == (metadata["provider"], metadata["model_engine"])
    assert trajectory.task_complexity == metadata.get("task_complexity")
    assert trajectory.contributor_id == value["contributor_id"].lower()
