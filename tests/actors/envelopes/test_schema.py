"""The schema: what real clients send passes, every bound holds on both sides, and no input raises."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import STEP_TYPES, ChunkFacts, CloseFacts, FeedbackFacts, check, envelope_kind
from actors.envelopes.settings import SchemaSettings
from persistence.format.records import EnvelopeKind

NOW_S = 1_795_168_200.0
DAY_S = 86_400
SETTINGS = SchemaSettings()
VECTORS = Path(__file__).parents[2] / "vectors"

ATTESTATION = {"session_hmac": "e2" * 32, "sequence": 0, "app_version_hash": "4A" * 32}
METADATA = {
    "model_engine": "gpt-5.5",
    "provider": "codex",
    "agent_role": "frontend",
    "agent_id": "frontend-3",
    "task_complexity": "medium",
    "team_size": 3,
    "session_quality": 50,
    "groove_version": "0.27.113",
    "domain_tags": {"primary": {"domain": "react", "confidence": 0.49}, "secondary": None},
    "session_embedding": {"model": "all-MiniLM-L6-v2", "vector": [0.5, -1, 2e-3], "source_text": "frontend"},
    "routing": {"leaf_id": "leaf", "routing_confidence": 1, "fallback_used": False, "parent_leaf_id": None},
    "leaf_context": {"leaf_id": "leaf", "leaf_version": 2, "confidence_at_route": 0.5, "chassis_model": "base"},
}
CHUNK: dict[str, Any] = {
    "envelope_id": "env_1",
    "session_id": "sess_1",
    "chunk_sequence": 7,
    "contributor_id": "0123456789abcdef0123456789abcdef",
    "attestation": ATTESTATION,
    "metadata": METADATA,
    "trajectory_log": [
        {"step": 1, "type": "thought", "timestamp": NOW_S - 2.5, "content": "Look", "token_count": 45, "intent": "x"},
        {
            "step": 2,
            "type": "observation",
            "timestamp": NOW_S,
            "content": "café \ud83d",
            "truncated": True,
            "original_token_count": 4000,
            "token_count": 9,
        },
    ],
}
CLOSE: dict[str, Any] = {
    "session_id": "sess_1",
    "type": "SESSION_CLOSE",
    "attestation": ATTESTATION,
    "metadata": METADATA,
    "outcome": {
        "status": "SUCCESS",
        "session_quality": 80,
        "quality_tier": "TIER_A",
        "quality_tier_reason": "high_quality_no_errors",
        "user_interventions": 0,
        "total_steps": 45,
        "total_chunks": 2,
        "total_tokens": 32606,
        "duration_seconds": 337,
        "files_modified": 12,
        "errors_encountered": 1,
        "errors_recovered": 1,
        "coordination_events": 0,
        "training_eligible": True,
        "training_exclusion_reason": None,
    },
}
FEEDBACK: dict[str, Any] = {
    "session_id": "sess_1",
    "type": "USER_FEEDBACK",
    "attestation": ATTESTATION,
    "feedback": {
        "signal": "accepted",
        "timestamp": NOW_S,
        "context": "completed",
        "target_step": 45,
        "revision_rounds": 0,
        "delta_summary": None,
    },
}
TEMPLATES = {"chunk": CHUNK, "close": CLOSE, "feedback": FEEDBACK}
ABSENT = object()


def _checked(envelope: Any, settings: SchemaSettings = SETTINGS) -> Any:
    read = read_envelope(json.dumps(envelope).encode(), nesting_max=64)
    assert isinstance(read, Envelope)
    return check(read, settings, NOW_S)


def _changed(template: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `template` with `value` at `path`, whose parts are separated by spaces."""
    copy = deepcopy(template)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split()]
    target: Any = copy
    for part in parents:
        target = target[part]
    if value is ABSENT:
        del target[last]
    else:
        target[last] = value
    return copy


def test_the_facts_are_what_the_index_needs() -> None:
    """Each kind gives its own facts, with its kind."""
    chunk, close, feedback = _checked(CHUNK), _checked(CLOSE), _checked(FEEDBACK)
    assert chunk == ChunkFacts(
        chunk_sequence=7, contributor_id=CHUNK["contributor_id"], provider="codex", model="gpt-5.5", steps=2
    )
    assert close == CloseFacts(provider="codex", model="gpt-5.5")
    assert feedback == FeedbackFacts(signal="accepted")
    assert [facts.kind for facts in (chunk, close, feedback)] == ["CHUNK", "SESSION_CLOSE", "USER_FEEDBACK"]


def test_what_a_published_client_sent_passes() -> None:
    """Every body of the attestation vectors fits the schema at the time at which it was sent."""
    lines = (VECTORS / "attestation.jsonl").read_bytes().splitlines()
    for line in lines:
        vector = json.loads(line)
        envelope = read_envelope(vector["body"].encode(), nesting_max=64)
        assert isinstance(envelope, Envelope)
        facts = check(envelope, SETTINGS, NOW_S)
        assert not isinstance(facts, Refusal), facts
        assert facts.kind == vector["kind"]
    assert len(lines) == 9


def test_a_chunk_may_name_its_type() -> None:
    """No type and the type CHUNK mean the same; a type of the server's own is no client's."""
    assert _checked({**CHUNK, "type": "CHUNK"}) == _checked(CHUNK)
    assert envelope_kind(None) is EnvelopeKind.CHUNK
    assert envelope_kind("SERVER_CLOSE") is None


@pytest.mark.parametrize("value", ["SERVER_CLOSE", "chunk", "", None, 5, "x" * 100])
def test_another_type_is_refused(value: Any) -> None:
    """What is no type of the contract's is refused as such, with at most 60 characters of it quoted."""
    refusal = _checked({**CHUNK, "type": value})
    assert refusal.code is RefusalCode.UNKNOWN_TYPE
    assert refusal.reason.startswith("type is ")
    assert "x" * 61 not in refusal.reason


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("member", ["received", "crc32"])
def test_members_that_the_server_writes_are_reserved(template: str, member: str) -> None:
    """A client cannot bring what a journal line holds of the server's own, but may use the names further in."""
    refusal = _checked({**TEMPLATES[template], member: None})
    assert refusal.code is RefusalCode.RESERVED_MEMBER
    assert member in refusal.reason
    assert _checked(_changed(CHUNK, f"metadata {member}", 1)) == _checked(CHUNK)


ACCEPTED = [
    ("chunk", "chunk_sequence", [0, 2**53 - 1]),
    ("chunk", "contributor_id", ["F" * 32]),
    ("chunk", "trajectory_log", [[], [CHUNK["trajectory_log"][0]] * 500]),
    ("chunk", "attestation sequence", [0, 1_000_000]),
    ("chunk", "trajectory_log 0 step", [1, 50_000]),
    ("chunk", "trajectory_log 0 type", list(STEP_TYPES)),
    ("chunk", "trajectory_log 0 timestamp", [NOW_S - 7 * DAY_S, NOW_S + 3600, (NOW_S - 7 * DAY_S) * 1000, int(NOW_S)]),
    ("chunk", "trajectory_log 0 content", [ABSENT, None, "", "x" * 100_000, "\U0001f680" * 100_000]),
    ("chunk", "trajectory_log 0 token_count", [ABSENT, 0, 100_000]),
    ("chunk", "trajectory_log 1 original_token_count", [ABSENT, 0, 100_000]),
    ("chunk", "trajectory_log 1 truncated", [ABSENT, False]),
    ("chunk", "trajectory_log 1 tool", [5, None, {"a": []}]),
    ("chunk", "metadata model_engine", ["m", "m" * 100, "модель 7"]),
    ("chunk", "metadata provider", ["claude-code", "gemini"]),
    ("chunk", "metadata agent_role", [ABSENT, None, "", "r" * 50]),
    ("chunk", "metadata agent_id", [ABSENT, None, "i" * 100]),
    ("chunk", "metadata team_size", [ABSENT, None, 1, 50]),
    ("chunk", "metadata task_complexity", [ABSENT, None, "light", "medium", "heavy"]),
    ("chunk", "metadata groove_version", [ABSENT, None, "v" * 20]),
    ("chunk", "metadata session_quality", [ABSENT, None, 0, 70.5]),
    ("chunk", "metadata domain_tags", [ABSENT, None, {}]),
    ("chunk", "metadata domain_tags primary confidence", [0, 1]),
    ("chunk", "metadata session_embedding", [ABSENT, None]),
    ("chunk", "metadata routing", [ABSENT, None]),
    ("chunk", "metadata routing leaf_lifecycle_stage", ["young", None]),
    ("chunk", "metadata leaf_context", [ABSENT, None]),
    ("chunk", "metadata leaf_context leaf_version", ["1.0", 3, 2.5]),
    ("chunk", "metadata time_shift_s", [None, 0, 86_400.25, -(10**10), 10**10]),
    ("close", "metadata time_shift_s", [None, 5]),
    ("close", "outcome status", ["CRASH", "KILLED", "SHUTDOWN"]),
    ("close", "outcome quality_tier", [ABSENT, None, "TIER_B", "TIER_C"]),
    ("close", "outcome total_steps", [0, 2**53 - 1]),
    ("close", "outcome files_modified", [ABSENT, None, 2**53 - 1]),
    ("close", "outcome duration_seconds", [ABSENT, None, 0, 0.25]),
    ("close", "outcome training_eligible", [ABSENT, None, False]),
    ("close", "outcome another", [{"a": [1, 2]}]),
    ("feedback", "feedback signal", ["modified", "rejected", "iterated"]),
    ("feedback", "feedback target_step", [ABSENT, None, 0, 50_000]),
    ("feedback", "feedback revision_rounds", [ABSENT, None, 0]),
    ("feedback", "feedback context", [ABSENT, None, ""]),
]


@pytest.mark.parametrize(("template", "path", "values"), ACCEPTED, ids=[path for _, path, _ in ACCEPTED])
def test_what_is_allowed_passes(template: str, path: str, values: list[Any]) -> None:
    """Both ends of each range, and null or nothing where a member only describes."""
    for value in values:
        facts = _checked(_changed(TEMPLATES[template], path, value))
        assert not isinstance(facts, Refusal), (value, facts)


REFUSED = [
    ("chunk", "chunk_sequence", [ABSENT, None, -1, 1.5, 5.0, True, "0", 2**53]),
    ("chunk", "contributor_id", [ABSENT, None, "", "g" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n", 5]),
    ("chunk", "attestation", [ABSENT, None, "x", []]),
    ("chunk", "attestation session_hmac", [ABSENT, "e" * 63, "z" * 64]),
    ("chunk", "attestation sequence", [ABSENT, -1, 1_000_001, "0", 0.5]),
    ("chunk", "attestation app_version_hash", [ABSENT, None, "b" * 63, "z" * 64]),
    ("chunk", "metadata", [ABSENT, None, [], "x"]),
    ("chunk", "trajectory_log", [ABSENT, None, {}, [CHUNK["trajectory_log"][0]] * 501]),
    ("chunk", "trajectory_log 1", [None, 5, []]),
    ("chunk", "trajectory_log 1 step", [ABSENT, None, 0, -1, 50_001, 1.5, "1", 10**30]),
    ("chunk", "trajectory_log 1 type", [ABSENT, None, "Thought", "banana", "x" * 5000, 5]),
    (
        "chunk",
        "trajectory_log 1 timestamp",
        [
            *(ABSENT, None, "2026-01-01", 0, -5, 10**400),
            *(NOW_S - 7 * DAY_S - 1, NOW_S + 3601, (NOW_S - 7 * DAY_S - 1) * 1000, (NOW_S + 3601) * 1000),
        ],
    ),
    ("chunk", "trajectory_log 1 content", ["x" * 100_001, 5, ["x"]]),
    ("chunk", "trajectory_log 1 token_count", [None, -1, 100_001, 1.5, "5"]),
    ("chunk", "trajectory_log 1 original_token_count", [None, -1, 100_001]),
    ("chunk", "trajectory_log 1 truncated", [None, 0, "no"]),
    (
        "chunk",
        "metadata model_engine",
        [ABSENT, None, "", "m" * 101, 5, "a\u0000b", "a\n", "a\x7f", "a\x85", "a\ud83d", "a\ufffd"],
    ),
    ("chunk", "metadata provider", [ABSENT, None, "", "openai", 5]),
    ("chunk", "metadata agent_role", ["r" * 51, 5]),
    ("chunk", "metadata agent_id", ["i" * 101, []]),
    ("chunk", "metadata team_size", [0, 51, "3", 2.5]),
    ("chunk", "metadata task_complexity", ["", "Heavy", 5]),
    ("chunk", "metadata groove_version", ["v" * 21, 27]),
    ("chunk", "metadata session_quality", ["80", [], 10**400]),
    ("chunk", "metadata domain_tags", [[], "x"]),
    ("chunk", "metadata domain_tags primary", ["x", {}]),
    ("chunk", "metadata domain_tags primary domain", [ABSENT, None, 5]),
    ("chunk", "metadata domain_tags primary confidence", [ABSENT, None, -0.1, 1.1, "1"]),
    ("chunk", "metadata session_embedding", [[], {}]),
    ("chunk", "metadata session_embedding model", [ABSENT, None]),
    ("chunk", "metadata session_embedding vector", [ABSENT, None, [], ["x"], [None], [10**400]]),
    ("chunk", "metadata session_embedding source_text", [ABSENT, None]),
    ("chunk", "metadata routing leaf_id", [ABSENT, None, 5]),
    ("chunk", "metadata routing routing_confidence", [ABSENT, -1, 2]),
    ("chunk", "metadata routing fallback_used", [ABSENT, None, 0]),
    ("chunk", "metadata routing leaf_lifecycle_stage", [5]),
    ("chunk", "metadata routing parent_leaf_id", [5]),
    ("chunk", "metadata leaf_context leaf_version", [ABSENT, None, []]),
    ("chunk", "metadata time_shift_s", ["5", True, 10**10 + 1, -2e10, []]),
    ("close", "metadata time_shift_s", ["5"]),
    ("chunk", "metadata leaf_context confidence_at_route", [ABSENT, 1.5]),
    ("chunk", "metadata leaf_context chassis_model", [ABSENT, None]),
    ("close", "metadata", [ABSENT, None]),
    ("close", "metadata provider", ["openai"]),
    ("close", "outcome", [ABSENT, None, []]),
    ("close", "outcome status", [ABSENT, None, "success", "DONE"]),
    ("close", "outcome quality_tier", ["TIER_D", 1]),
    ("close", "outcome total_steps", [ABSENT, None, -1, 2**53, 1.5]),
    ("close", "outcome total_chunks", [ABSENT, None, -1, 2**53]),
    ("close", "outcome total_tokens", [-1, 2**53, 0.5]),
    ("close", "outcome user_interventions", [-1]),
    ("close", "outcome files_modified", [-1]),
    ("close", "outcome errors_encountered", [-1]),
    ("close", "outcome errors_recovered", [-1]),
    ("close", "outcome coordination_events", [-1]),
    ("close", "outcome duration_seconds", [-1, "1"]),
    ("close", "outcome training_eligible", ["yes"]),
    ("feedback", "feedback", [ABSENT, None]),
    ("feedback", "feedback signal", [ABSENT, None, "liked"]),
    ("feedback", "feedback timestamp", [ABSENT, None, NOW_S - 8 * DAY_S, NOW_S + 3601]),
    ("feedback", "feedback context", [5]),
    ("feedback", "feedback target_step", [-1, 50_001, 0.5]),
    ("feedback", "feedback revision_rounds", [-1, 0.5]),
    ("feedback", "feedback delta_summary", [{}]),
]


@pytest.mark.parametrize(("template", "path", "values"), REFUSED, ids=[path for _, path, _ in REFUSED])
def test_what_is_not_allowed_is_refused_by_its_path(template: str, path: str, values: list[Any]) -> None:
    """Just past each end of each range and of each wrong type: one sentence that begins with the member's path."""
    named = path.replace(" ", ".").replace(".0.", "[0].").replace(".1.", "[1].").replace("log.1", "log[1]")
    for value in values:
        refusal = _checked(_changed(TEMPLATES[template], path, value))
        assert isinstance(refusal, Refusal), value
        assert refusal.code is RefusalCode.SCHEMA
        assert refusal.reason.startswith(named), (value, refusal)
        assert "; it must be " in refusal.reason
        assert refusal.reason.endswith(".")
        assert len(refusal.reason) < 400
        msgspec.json.encode(refusal)  # it can be written down


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("trajectory_log 1 step", 70_000, "trajectory_log[1].step is 70000; it must be an integer from 1 to 50000."),
        (
            "trajectory_log 0 content",
            "s3cret" * 20_000,
            "trajectory_log[0].content is a text of 120000 characters; it must be a text of at most 100000 ",
        ),
        ("metadata provider", ABSENT, "metadata.provider is missing; it must be one of claude-code, codex, gemini."),
        ("metadata provider", "open\ud83dai", 'metadata.provider is "open\ufffdai"; it must be one of '),
        ("chunk_sequence", 10**70, "chunk_sequence is a number of 71 characters; it must be an integer from 0 to "),
        ("metadata", [1, 2], "metadata is a list of 2; it must be an object."),
        ("trajectory_log", {"a": "s3cret"}, "trajectory_log is an object; it must be a list of at most 500 steps."),
        (
            "trajectory_log 1 timestamp",
            5,
            "trajectory_log[1].timestamp is 5; it must be a time in seconds, or in milliseconds from 10^12, at most ",
        ),
        ("trajectory_log 0 type", "x - at `$.a[1].b`", 'trajectory_log[0].type is "x - at `$.a[1].b`"; it must be one'),
    ],
)
def test_a_refusal_says_what_was_found_and_what_is_allowed(path: str, value: Any, reason: str) -> None:
    """The sentence helps the one who reads it, and never holds more than a few words of the contents."""
    assert _checked(_changed(CHUNK, path, value)).reason.startswith(reason)


def test_a_member_that_stands_twice_has_the_meaning_of_its_last() -> None:
    """As in JavaScript; a wrong first value is refused, without a guess at what it was."""
    text = json.dumps(CHUNK).encode()

    def twice(routing: bytes) -> Any:
        read = read_envelope(text.replace(b'"routing": {', routing + b', "routing": {', 1), nesting_max=64)
        assert isinstance(read, Envelope)
        return check(read, SETTINGS, NOW_S)

    assert twice(b'"routing": null') == _checked(CHUNK)
    assert twice(b'"routing": {"leaf_id": 5}').code is RefusalCode.SCHEMA


def test_the_bounds_are_the_settings() -> None:
    """Another setting, another bound."""
    settings = SchemaSettings(steps_max=1, providers=("codex", "aider"), timestamp_age_s_max=1.0)
    assert "at most 1 steps" in _checked(CHUNK, settings).reason
    one = _changed(CHUNK, "trajectory_log", CHUNK["trajectory_log"][1:])
    assert _checked(_changed(one, "metadata provider", "aider"), settings).provider == "aider"
    assert "at most 1 s ago" in _checked(_changed(one, "trajectory_log 0 timestamp", NOW_S - 2), settings).reason


def test_a_lone_surrogate_in_what_is_not_indexed_is_no_fault() -> None:
    """Texts cut in the middle of an emoji come from real clients, in steps, in metadata and in unnamed members."""
    for path in ("trajectory_log 0 content", "metadata agent_role", "metadata session_embedding source_text", "other"):
        assert _checked(_changed(CHUNK, path, "cut \ud83d")) == _checked(CHUNK)


def test_numbers_that_no_double_holds_are_no_fault_where_nothing_is_named() -> None:
    """What is not named is passed over, not decoded."""
    text = json.dumps(_changed(CHUNK, "trajectory_log 0 arguments", "HUGE")).replace('"HUGE"', "1e400")
    read = read_envelope(text.encode(), nesting_max=64)
    assert isinstance(read, Envelope)
    assert check(read, SETTINGS, NOW_S) == _checked(CHUNK)


def _paths_of(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in _paths_of(item, (*path, key)))]


MUTABLE_PATHS = {
    name: [path for path in _paths_of(template) if path and path[0] != "session_id"]
    for name, template in TEMPLATES.items()
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
def test_no_json_makes_it_raise(data: st.DataObject) -> None:
    """Any envelope with anything put anywhere comes out as facts or as a refusal of one sentence."""
    name = data.draw(st.sampled_from(sorted(TEMPLATES)))
    envelope = deepcopy(TEMPLATES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(MUTABLE_PATHS[name]))
        target: Any = envelope
        try:
            for part in parents:
                target = target[part]
            target[last] = data.draw(JSON_VALUES)
        except (LookupError, TypeError):
            continue  # an earlier change has taken the place away
    result = _checked(envelope)
    assert isinstance(result, ChunkFacts | CloseFacts | FeedbackFacts | Refusal)
    if isinstance(result, Refusal):
        assert "\n" not in result.reason
        assert len(result.reason) < 500


def test_what_reading_would_have_refused_is_refused_here_too() -> None:
    """Nothing rests on another layer's checks: text that is no JSON, or nested deeply, gives a refusal."""
    for body in (b"{", b'{"chunk_sequence":"\xff"}', b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"):
        envelope = Envelope(body=body, session_id="sess_1", type=None, attestation=None, members=())
        refusal = check(envelope, SETTINGS, NOW_S)
        assert isinstance(refusal, Refusal)
        assert refusal.code is RefusalCode.SCHEMA
