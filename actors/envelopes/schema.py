"""The schema of envelopes: from an authentic body to what the index needs, or one sentence saying what is wrong.

The schema is the table of rules below (contract, "shared/envelope-schema.js"; decisions, "Schema"). A body is decoded
once, into the members that have rules; the rest is passed over, kept and never refused.

A chunk of which every member is known is checked while it is read (`chunk_reading`).

Where contract and decisions are silent, what real clients send decides, and doubt goes to the client, because a
refused envelope is lost training data: members that only describe may be absent or null; what is stitched, scored or
indexed may not. An integer must be written as one: `5.0` is refused (JavaScript writes `5`). Hexadecimal digits may
be of either case. Characters are Unicode code points.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.rules import (
    ANY_TEXT,
    BOOLEAN,
    NUMBER,
    SHARE,
    Path,
    Rule,
    fault_at,
    hexadecimal,
    integer,
    list_of,
    object_of,
    one_of,
    or_null,
    path_of,
    quoted,
    text_of,
)
from actors.envelopes.settings import SchemaSettings
from persistence.format import json_text
from persistence.format.records import EnvelopeKind

STEP_TYPES = (
    *("thought", "action", "observation", "correction", "resolution", "error", "coordination", "edit"),
    *("instruction", "clarification", "approval", "delegate", "yield"),
)
COMPLEXITIES = ("light", "medium", "heavy")
QUALITY_TIERS = ("TIER_A", "TIER_B", "TIER_C")
OUTCOME_STATUSES = ("SUCCESS", "CRASH", "KILLED", "SHUTDOWN")
FEEDBACK_SIGNALS = ("accepted", "modified", "rejected", "iterated")
RESERVED_MEMBERS = ("received", "crc32")
"""Members of a journal line that the server itself writes after the client's."""

TIME_SHIFT_S_MAX = 10**10
"""By how much a client may have moved a session's times, in seconds: three hundred years."""

COUNT_MAX = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

MILLISECONDS_FROM = 10**12
"""A timestamp of at least this is in milliseconds, a smaller one in seconds."""

_KINDS = {
    None: EnvelopeKind.CHUNK,
    "CHUNK": EnvelopeKind.CHUNK,
    "SESSION_CLOSE": EnvelopeKind.SESSION_CLOSE,
    "USER_FEEDBACK": EnvelopeKind.USER_FEEDBACK,
}


class ChunkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the index needs of a chunk; `steps` is their count."""

    kind: ClassVar[EnvelopeKind] = EnvelopeKind.CHUNK
    chunk_sequence: int
    contributor_id: str
    provider: str
    model: str
    steps: int


class CloseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the index needs of a SESSION_CLOSE."""

    kind: ClassVar[EnvelopeKind] = EnvelopeKind.SESSION_CLOSE
    provider: str
    model: str


class FeedbackFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the index needs of a USER_FEEDBACK."""

    kind: ClassVar[EnvelopeKind] = EnvelopeKind.USER_FEEDBACK
    signal: str


Facts = ChunkFacts | CloseFacts | FeedbackFacts


def envelope_kind(envelope_type: str | None) -> EnvelopeKind | None:
    """The kind that a client's top-level `type` means: none at all means a chunk; None when there is no such kind."""
    return _KINDS.get(envelope_type)


def check(envelope: Envelope, settings: SchemaSettings, now_s: float) -> Facts | Refusal:
    """Check an envelope against the schema; `now_s` is seconds since the epoch, for the age of timestamps.

    Refuses with `UNKNOWN_TYPE`, `RESERVED_MEMBER` or `SCHEMA`, naming the first fault's path, what was found (at most
    60 characters of it) and what is allowed. Raises for no body.
    """
    if isinstance(envelope.facts, ChunkFacts):
        return envelope.facts
    kind = envelope_kind(envelope.type)
    if kind is None:
        found = quoted(str(envelope.type))
        return Refusal(RefusalCode.UNKNOWN_TYPE, f"type is {found}; it must be SESSION_CLOSE, USER_FEEDBACK or absent.")
    for member in envelope.member_names():
        if member in RESERVED_MEMBERS:
            reason = f"{member} is a member that the server writes itself; the envelope must not hold it."
            return Refusal(RefusalCode.RESERVED_MEMBER, reason)
    rule, decoder = _schema(settings)[kind]
    try:
        decoded = json_text.decode(decoder, envelope.body)
    except msgspec.ValidationError as error:
        return Refusal(RefusalCode.SCHEMA, fault_at(path_of(str(error)), envelope.body, rule))
    except msgspec.DecodeError:
        # Reading has refused such a body already: this is for the one that it took and this decoder does not.
        return Refusal(
            RefusalCode.SCHEMA, "The envelope cannot be decoded; it must be JSON in UTF-8, not nested deeply."
        )
    late = _untimely(kind, decoded, settings, now_s)
    if late is not None:
        return Refusal(RefusalCode.SCHEMA, fault_at(late, envelope.body, rule))
    return _facts(kind, decoded)


def _untimely(kind: EnvelopeKind, decoded: Any, settings: SchemaSettings, now_s: float) -> Path | None:  # noqa: ANN401 - its type is made by `_schema`
    """The path of the first timestamp that is too old or too far ahead."""
    oldest_s, latest_s = now_s - settings.timestamp_age_s_max, now_s + settings.timestamp_ahead_s_max
    match kind:
        case EnvelopeKind.CHUNK:
            if not is_timely(decoded.trajectory_log, settings, now_s):
                for index, step in enumerate(decoded.trajectory_log):
                    if not oldest_s <= seconds_of(step.timestamp) <= latest_s:
                        return ("trajectory_log", index, "timestamp")
        case EnvelopeKind.USER_FEEDBACK:
            if not oldest_s <= seconds_of(decoded.feedback.timestamp) <= latest_s:
                return ("feedback", "timestamp")
        case _:
            pass
    return None


def is_timely(steps: Sequence[Any], settings: SchemaSettings, now_s: float) -> bool:
    """Whether all of the decoded steps were taken in the time that the settings allow; `now_s` is since the epoch."""
    if not steps:
        return True
    times: list[float] = [step.timestamp for step in steps]
    first, last = min(times), max(times)
    if last >= MILLISECONDS_FROM:
        in_seconds = [*map(seconds_of, times)]
        first, last = min(in_seconds), max(in_seconds)
    return now_s - settings.timestamp_age_s_max <= first and last <= now_s + settings.timestamp_ahead_s_max


def _facts(kind: EnvelopeKind, decoded: Any) -> Facts:  # noqa: ANN401 - its type is made by `_schema`
    match kind:
        case EnvelopeKind.CHUNK:
            return ChunkFacts(
                chunk_sequence=decoded.chunk_sequence,
                contributor_id=decoded.contributor_id.lower(),
                provider=decoded.metadata.provider,
                model=decoded.metadata.model_engine,
                steps=len(decoded.trajectory_log),
            )
        case EnvelopeKind.SESSION_CLOSE:
            return CloseFacts(provider=decoded.metadata.provider, model=decoded.metadata.model_engine)
        case _:
            return FeedbackFacts(signal=decoded.feedback.signal)


def seconds_of(timestamp: float) -> float:
    """A timestamp in seconds: from 10^12 on it is in milliseconds."""
    return timestamp / 1000 if timestamp >= MILLISECONDS_FROM else timestamp


# The table.

_COUNT = integer(0, COUNT_MAX)


@lru_cache(maxsize=4)
def _schema(settings: SchemaSettings) -> dict[EnvelopeKind, tuple[Rule, msgspec.json.Decoder[Any]]]:
    """The rule and the decoder of each kind of envelope that clients send, built once for each settings."""
    attestation = _attestation(settings)
    metadata = _metadata(settings)
    rules = {
        EnvelopeKind.CHUNK: _chunk(settings),
        EnvelopeKind.SESSION_CLOSE: object_of(
            "Close", {"attestation": attestation, "metadata": metadata, "outcome": outcome_rule()}, {}
        ),
        EnvelopeKind.USER_FEEDBACK: object_of(
            "FeedbackEnvelope", {"attestation": attestation, "feedback": _feedback(settings)}, {}
        ),
    }
    return {kind: (rule, msgspec.json.Decoder(rule.type)) for kind, rule in rules.items()}


_SCALAR = str | int | float | bool | None
_LEVELS_OF_ARGUMENTS = 5  # in the envelope, its log and the step: together the least that `nesting_max` can be


def _nested_at_most(levels: int) -> Any:  # noqa: ANN401 - a type made here
    """The type of any JSON value with at most so many objects and lists in each other.

    A type bounds each value that is decoded, a decoded value only the last of those that came under one name.
    """
    found: Any = _SCALAR
    for _ in range(levels):
        found = _SCALAR | GenericAlias(list, (found,)) | GenericAlias(dict, (str, found))
    return found


_KNOWN_IN_STEP = {
    "tool": _SCALAR,
    "arguments": _nested_at_most(_LEVELS_OF_ARGUMENTS),
    "call_id": _SCALAR,
    "intent": _SCALAR,
    "is_error": _SCALAR,
    "source": _SCALAR,
    "usage": _nested_at_most(1),
    "model": _SCALAR,
    "agent": _SCALAR,
}
"""What clients send and the schema has no rule for; `arguments` is what a tool was called with."""

_KNOWN_IN_METADATA = {
    "scrubbed": _SCALAR,
    "scrub_rules": _SCALAR,
    "time_shift_s": _SCALAR,
    "lineage": _nested_at_most(1),
    "continues_session": _SCALAR,
}
"""The same of a chunk's metadata."""


def _timestamp(settings: SchemaSettings) -> Rule:
    return Rule(
        float,
        "a time in seconds, or in milliseconds from 10^12, "
        f"at most {settings.timestamp_age_s_max:g} s ago and {settings.timestamp_ahead_s_max:g} s ahead",
    )


def _chunk(settings: SchemaSettings) -> Rule:
    return object_of(
        "Chunk",
        {
            "chunk_sequence": _COUNT,
            "contributor_id": hexadecimal(32),
            "attestation": _attestation(settings),
            "metadata": _metadata(settings),
            "trajectory_log": _log(settings),
        },
        {},
    )


def chunk_metadata(settings: SchemaSettings) -> Rule:
    """A chunk's metadata with known members alone."""
    return _metadata(settings, closed=True)


def chunk_log(settings: SchemaSettings) -> Rule:
    """A chunk's log, of steps with known members alone."""
    return _log(settings, closed=True)


def _log(settings: SchemaSettings, *, closed: bool = False) -> Rule:
    return list_of(
        _step(settings, closed=closed),
        f"a list of at most {settings.steps_max} steps",
        length_max=settings.steps_max,
    )


def _attestation(settings: SchemaSettings) -> Rule:
    return object_of(
        "Attestation",
        {
            "session_hmac": hexadecimal(64),
            "sequence": integer(0, settings.sequence_max),
            "app_version_hash": hexadecimal(64),
        },
        {},
    )


def _step(settings: SchemaSettings, *, closed: bool = False) -> Rule:
    token_count = integer(0, settings.token_count_max)
    return object_of(
        "Step",
        {"step": integer(1, settings.step_number_max), "type": one_of(STEP_TYPES), "timestamp": _timestamp(settings)},
        {
            "content": or_null(text_of(settings.step_content_chars_max)),
            "token_count": token_count,
            "original_token_count": token_count,
            "truncated": BOOLEAN,
        },
        only=_KNOWN_IN_STEP if closed else None,
    )


def _metadata(settings: SchemaSettings, *, closed: bool = False) -> Rule:
    only: Mapping[str, Any] | None = {} if closed else None
    # The model becomes a key of the statistics: characters that cannot be stored or seen as they were sent are
    # refused. U+FFFD stands for a lone surrogate here (`json_text`); a name that holds one is broken.
    model_engine = Rule(
        Annotated[
            str, Meta(max_length=settings.model_engine_chars_max, pattern="^[^\\x00-\\x1f\\x7f-\\x9f\ufffd]+\\Z")
        ],
        f"a text of 1 to {settings.model_engine_chars_max} characters without control characters, lone surrogates "
        "and U+FFFD",
    )
    tag = or_null(object_of("DomainTag", {"domain": ANY_TEXT, "confidence": SHARE}, {}, only=only))
    embedding = object_of(
        "SessionEmbedding",
        {
            "model": ANY_TEXT,
            "vector": list_of(NUMBER, "a list of at least one finite number", length_min=1),
            "source_text": ANY_TEXT,
        },
        {},
        only=only,
    )
    routing = object_of(
        "Routing",
        {"leaf_id": ANY_TEXT, "routing_confidence": SHARE, "fallback_used": BOOLEAN},
        {"leaf_lifecycle_stage": or_null(ANY_TEXT), "parent_leaf_id": or_null(ANY_TEXT)},
        only=only,
    )
    leaf_context = object_of(
        "LeafContext",
        {
            "leaf_id": ANY_TEXT,
            "leaf_version": Rule(str | float, "a text or a number"),
            "confidence_at_route": SHARE,
            "chassis_model": ANY_TEXT,
        },
        {},
        only=only,
    )
    return object_of(
        "Metadata",
        {"provider": one_of(settings.providers), "model_engine": model_engine},
        {
            "agent_role": or_null(text_of(settings.agent_role_chars_max)),
            "agent_id": or_null(text_of(settings.agent_id_chars_max)),
            "team_size": or_null(integer(1, settings.team_size_max)),
            "task_complexity": or_null(one_of(COMPLEXITIES)),
            "groove_version": or_null(text_of(settings.groove_version_chars_max)),
            "session_quality": or_null(NUMBER),
            "domain_tags": or_null(
                object_of("DomainTags", {}, dict.fromkeys(("primary", "secondary", "tertiary"), tag), only=only)
            ),
            "session_embedding": or_null(embedding),
            "routing": or_null(routing),
            "leaf_context": or_null(leaf_context),
            # The times as they were are those of the steps less this.
            "time_shift_s": or_null(
                Rule(
                    Annotated[float, Meta(ge=-TIME_SHIFT_S_MAX, le=TIME_SHIFT_S_MAX)],
                    f"a number of seconds from -{TIME_SHIFT_S_MAX} to {TIME_SHIFT_S_MAX}",
                )
            ),
        },
        only=_KNOWN_IN_METADATA if closed else None,
    )


def outcome_rule() -> Rule:
    """All of it is the client's own report, kept for reading and never trusted; so all but three may be absent."""
    counts = (
        *("user_interventions", "total_tokens", "files_modified"),
        *("errors_encountered", "errors_recovered", "coordination_events"),
    )
    return object_of(
        "Outcome",
        {"status": one_of(OUTCOME_STATUSES), "total_steps": _COUNT, "total_chunks": _COUNT},
        {
            **dict.fromkeys(counts, or_null(_COUNT)),
            # A duration is measured, not counted: a fraction of a second is no fault.
            "duration_seconds": or_null(
                Rule(Annotated[float, Meta(ge=0, le=COUNT_MAX)], f"a number from 0 to {COUNT_MAX}")
            ),
            "session_quality": or_null(NUMBER),
            "quality_tier": or_null(one_of(QUALITY_TIERS)),
            "quality_tier_reason": or_null(ANY_TEXT),
            "training_eligible": or_null(BOOLEAN),
            "training_exclusion_reason": or_null(ANY_TEXT),
        },
    )


def _feedback(settings: SchemaSettings) -> Rule:
    # `target_step` is the number of steps so far, so 0 for a session without any.
    return object_of(
        "Feedback",
        {"signal": one_of(FEEDBACK_SIGNALS), "timestamp": _timestamp(settings)},
        {
            "context": or_null(ANY_TEXT),
            "target_step": or_null(integer(0, settings.step_number_max)),
            "revision_rounds": or_null(_COUNT),
            "delta_summary": or_null(ANY_TEXT),
        },
    )
