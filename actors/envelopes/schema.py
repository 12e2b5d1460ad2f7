"""The schema of envelopes: from an authentic body to what the index needs, or one sentence saying what is wrong.

The schema is the table of rules below (contract, "shared/envelope-schema.js"; decisions, "Schema"). A rule is a type
that msgspec checks while it decodes, in C, and the words that say what it allows. A body is decoded once, into the
members that have rules; the rest is passed over, kept and never refused. Only a refused body is looked at again, to
quote what was found.

A chunk of which every member is known is checked while it is read (`ChunkReader`): decoding all of a text is at the
same time the proof that it is UTF-8 and how deep it nests, and finding those out otherwise takes longer than decoding.

Where contract and decisions are silent, what real clients send decides, and doubt goes to the client, because a
refused envelope is lost training data: members that only describe may be absent or null; what is stitched, scored or
indexed may not. An integer must be written as one: `5.0` is refused (JavaScript writes `5`). Hexadecimal digits may
be of either case. Characters are Unicode code points.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal, RefusalCode
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

COUNT_MAX = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

MILLISECONDS_FROM = 10**12
"""A timestamp of at least this is in milliseconds, a smaller one in seconds."""

_QUOTED_CHARS_MAX = 60
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


def known_facts(envelope: Envelope) -> Facts | None:
    """The facts that were found while the envelope was read (`ChunkReader`); None for one that is yet to be checked."""
    return envelope.facts if isinstance(envelope.facts, ChunkFacts) else None


def check(envelope: Envelope, settings: SchemaSettings, now_s: float) -> Facts | Refusal:
    """Check an envelope against the schema; `now_s` is seconds since the epoch, for the age of timestamps.

    Refuses with `UNKNOWN_TYPE`, `RESERVED_MEMBER` or `SCHEMA`, naming the first fault's path, what was found (at most
    60 characters of it) and what is allowed. Raises for no body.
    """
    if (known := known_facts(envelope)) is not None:
        return known
    kind = envelope_kind(envelope.type)
    if kind is None:
        found = _quoted(str(envelope.type))
        return Refusal(RefusalCode.UNKNOWN_TYPE, f"type is {found}; it must be SESSION_CLOSE, USER_FEEDBACK or absent.")
    for member in envelope.member_names():
        if member in RESERVED_MEMBERS:
            reason = f"{member} is a member that the server writes itself; the envelope must not hold it."
            return Refusal(RefusalCode.RESERVED_MEMBER, reason)
    rule, decoder = _schema(settings)[kind]
    try:
        decoded = json_text.decode(decoder, envelope.body)
    except msgspec.ValidationError as error:
        return _refusal(envelope.body, rule, _path_of(str(error)))
    except msgspec.DecodeError:
        # Reading has refused such a body already: this is for the one that it took and this decoder does not.
        return Refusal(
            RefusalCode.SCHEMA, "The envelope cannot be decoded; it must be JSON in UTF-8, not nested deeply."
        )
    late = _untimely(kind, decoded, settings, now_s)
    return _facts(kind, decoded) if late is None else _refusal(envelope.body, rule, late)


def _untimely(kind: EnvelopeKind, decoded: Any, settings: SchemaSettings, now_s: float) -> "_Path | None":  # noqa: ANN401 - its type is made by `_schema`
    """The path of the first timestamp that is too old or too far ahead."""
    oldest_s, latest_s = now_s - settings.timestamp_age_s_max, now_s + settings.timestamp_ahead_s_max
    match kind:
        case EnvelopeKind.CHUNK:
            for index, step in enumerate(decoded.trajectory_log):
                if not oldest_s <= _seconds(step.timestamp) <= latest_s:
                    return ("trajectory_log", index, "timestamp")
        case EnvelopeKind.USER_FEEDBACK:
            if not oldest_s <= _seconds(decoded.feedback.timestamp) <= latest_s:
                return ("feedback", "timestamp")
        case _:
            pass
    return None


def _facts(kind: EnvelopeKind, decoded: Any) -> Facts:  # noqa: ANN401 - its type is made by `_schema`
    match kind:
        case EnvelopeKind.CHUNK:
            return ChunkFacts(
                chunk_sequence=decoded.chunk_sequence,
                contributor_id=decoded.contributor_id,
                provider=decoded.metadata.provider,
                model=decoded.metadata.model_engine,
                steps=len(decoded.trajectory_log),
            )
        case EnvelopeKind.SESSION_CLOSE:
            return CloseFacts(provider=decoded.metadata.provider, model=decoded.metadata.model_engine)
        case _:
            return FeedbackFacts(signal=decoded.feedback.signal)


def _seconds(timestamp: float) -> float:
    return timestamp / 1000 if timestamp >= MILLISECONDS_FROM else timestamp


# The rules: how a type and its words are made.


class _Rule(msgspec.Struct, frozen=True):
    """What a value may be: the type that msgspec checks, the words for it, and the rules of what it holds."""

    type: Any
    allowed: str
    members: Mapping[str, "_Rule"] = {}
    item: "_Rule | None" = None


def _object(
    name: str, required: Mapping[str, _Rule], optional: Mapping[str, _Rule], *, only: Mapping[str, Any] | None = None
) -> _Rule:
    """An object with the named members and any others; an optional one may be absent.

    With `only` there may be no others but those that it names, with their types.
    """
    fields: list[Any] = [(member, rule.type) for member, rule in required.items()]
    fields += [(member, rule.type, None) for member, rule in optional.items()]
    fields += [(member, type_, None) for member, type_ in (only or {}).items()]
    # Trees without cycles, dropped at once: the cyclic garbage collector need not track them.
    struct = msgspec.defstruct(name, fields, frozen=True, gc=False, forbid_unknown_fields=only is not None)
    return _Rule(struct, "an object", {**required, **optional})


def _list_of(item: _Rule, allowed: str, *, length_min: int = 0, length_max: int | None = None) -> _Rule:
    return _Rule(
        Annotated[GenericAlias(list, (item.type,)), Meta(min_length=length_min, max_length=length_max)],
        allowed,
        item=item,
    )


def _or_null(rule: _Rule) -> _Rule:
    return _Rule(rule.type | None, f"{rule.allowed}, or null", rule.members, rule.item)


def _integer(low: int, high: int) -> _Rule:
    return _Rule(Annotated[int, Meta(ge=low, le=high)], f"an integer from {low} to {high}")


def _text(chars_max: int) -> _Rule:
    return _Rule(Annotated[str, Meta(max_length=chars_max)], f"a text of at most {chars_max} characters")


def _hexadecimal(digits: int) -> _Rule:
    return _Rule(Annotated[str, Meta(pattern=rf"^[0-9a-fA-F]{{{digits}}}\Z")], f"{digits} hexadecimal digits")


def _one_of(values: Iterable[str]) -> _Rule:
    # One string at a time would be a new type each; a tuple as the subscript is Literal's way of several.
    return _Rule(Literal[tuple(values)], "one of " + ", ".join(values))


_COUNT = _integer(0, COUNT_MAX)
_ANY_TEXT = _Rule(str, "a text")
_NUMBER = _Rule(float, "a finite number")
_SHARE = _Rule(Annotated[float, Meta(ge=0, le=1)], "a number from 0 to 1")
_BOOLEAN = _Rule(bool, "true or false")


@lru_cache(maxsize=4)
def _schema(settings: SchemaSettings) -> dict[EnvelopeKind, tuple[_Rule, msgspec.json.Decoder[Any]]]:
    """The rule and the decoder of each kind of envelope that clients send, built once for each settings."""
    attestation = _attestation(settings)
    metadata = _metadata(settings)
    rules = {
        EnvelopeKind.CHUNK: _chunk(settings),
        EnvelopeKind.SESSION_CLOSE: _object(
            "Close", {"attestation": attestation, "metadata": metadata, "outcome": _outcome()}, {}
        ),
        EnvelopeKind.USER_FEEDBACK: _object(
            "FeedbackEnvelope", {"attestation": attestation, "feedback": _feedback(settings)}, {}
        ),
    }
    return {kind: (rule, msgspec.json.Decoder(rule.type)) for kind, rule in rules.items()}


class ChunkReader:
    """Checks chunks that have only known members, as clients send them; the rest is for reading and `check` to judge.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, settings: SchemaSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._decoder = msgspec.json.Decoder(_chunk(settings, closed=True).type)

    def __call__(self, body: bytes) -> ChunkFacts | None:
        """The facts of a chunk without a fault; then the body is UTF-8 and nests no deeper than `nesting_max`.

        None says nothing about the body. Raises for no body.
        """
        try:
            decoded = json_text.decode(self._decoder, body)
        except msgspec.DecodeError:
            return None
        if _untimely(EnvelopeKind.CHUNK, decoded, self._settings, self._clock()) is not None:
            return None
        facts = _facts(EnvelopeKind.CHUNK, decoded)
        assert isinstance(facts, ChunkFacts)
        return facts


_SCALAR = str | int | float | bool | None
_KNOWN_IN_ENVELOPE = {"envelope_id": _SCALAR, "session_id": str, "type": Literal["CHUNK"]}
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
    "is_error": _SCALAR,
    "source": _SCALAR,
}
"""What clients send and the schema has no rule for; `arguments` is what a tool was called with."""


def _timestamp(settings: SchemaSettings) -> _Rule:
    return _Rule(
        float,
        "a time in seconds, or in milliseconds from 10^12, "
        f"at most {settings.timestamp_age_s_max:g} s ago and {settings.timestamp_ahead_s_max:g} s ahead",
    )


def _chunk(settings: SchemaSettings, *, closed: bool = False) -> _Rule:
    return _object(
        "Chunk",
        {
            "chunk_sequence": _COUNT,
            "contributor_id": _hexadecimal(32),
            "attestation": _attestation(settings, closed=closed),
            "metadata": _metadata(settings, closed=closed),
            "trajectory_log": _list_of(
                _step(settings, closed=closed),
                f"a list of at most {settings.steps_max} steps",
                length_max=settings.steps_max,
            ),
        },
        {},
        only=_KNOWN_IN_ENVELOPE if closed else None,
    )


def _attestation(settings: SchemaSettings, *, closed: bool = False) -> _Rule:
    return _object(
        "Attestation",
        {
            "session_hmac": _hexadecimal(64),
            "sequence": _integer(0, settings.sequence_max),
            "app_version_hash": _hexadecimal(64),
        },
        {},
        only={} if closed else None,
    )


def _step(settings: SchemaSettings, *, closed: bool = False) -> _Rule:
    token_count = _integer(0, settings.token_count_max)
    return _object(
        "Step",
        {"step": _integer(1, settings.step_number_max), "type": _one_of(STEP_TYPES), "timestamp": _timestamp(settings)},
        {
            "content": _or_null(_text(settings.step_content_chars_max)),
            "token_count": token_count,
            "original_token_count": token_count,
            "truncated": _BOOLEAN,
        },
        only=_KNOWN_IN_STEP if closed else None,
    )


def _metadata(settings: SchemaSettings, *, closed: bool = False) -> _Rule:
    only: Mapping[str, Any] | None = {} if closed else None
    # The model becomes a key of the statistics: characters that cannot be stored or seen as they were sent are
    # refused. U+FFFD stands for a lone surrogate here (`json_text`); a name that holds one is broken.
    model_engine = _Rule(
        Annotated[
            str, Meta(max_length=settings.model_engine_chars_max, pattern="^[^\\x00-\\x1f\\x7f-\\x9f\ufffd]+\\Z")
        ],
        f"a text of 1 to {settings.model_engine_chars_max} characters without control characters, lone surrogates "
        "and U+FFFD",
    )
    tag = _or_null(_object("DomainTag", {"domain": _ANY_TEXT, "confidence": _SHARE}, {}, only=only))
    embedding = _object(
        "SessionEmbedding",
        {
            "model": _ANY_TEXT,
            "vector": _list_of(_NUMBER, "a list of at least one finite number", length_min=1),
            "source_text": _ANY_TEXT,
        },
        {},
        only=only,
    )
    routing = _object(
        "Routing",
        {"leaf_id": _ANY_TEXT, "routing_confidence": _SHARE, "fallback_used": _BOOLEAN},
        {"leaf_lifecycle_stage": _or_null(_ANY_TEXT), "parent_leaf_id": _or_null(_ANY_TEXT)},
        only=only,
    )
    leaf_context = _object(
        "LeafContext",
        {
            "leaf_id": _ANY_TEXT,
            "leaf_version": _Rule(str | float, "a text or a number"),
            "confidence_at_route": _SHARE,
            "chassis_model": _ANY_TEXT,
        },
        {},
        only=only,
    )
    return _object(
        "Metadata",
        {"provider": _one_of(settings.providers), "model_engine": model_engine},
        {
            "agent_role": _or_null(_text(settings.agent_role_chars_max)),
            "agent_id": _or_null(_text(settings.agent_id_chars_max)),
            "team_size": _or_null(_integer(1, settings.team_size_max)),
            "task_complexity": _or_null(_one_of(COMPLEXITIES)),
            "groove_version": _or_null(_text(settings.groove_version_chars_max)),
            "session_quality": _or_null(_NUMBER),
            "domain_tags": _or_null(
                _object("DomainTags", {}, dict.fromkeys(("primary", "secondary", "tertiary"), tag), only=only)
            ),
            "session_embedding": _or_null(embedding),
            "routing": _or_null(routing),
            "leaf_context": _or_null(leaf_context),
        },
        only=only,
    )


def _outcome() -> _Rule:
    """All of it is the client's own report, kept for reading and never trusted; so all but three may be absent."""
    counts = (
        *("user_interventions", "total_tokens", "files_modified"),
        *("errors_encountered", "errors_recovered", "coordination_events"),
    )
    return _object(
        "Outcome",
        {"status": _one_of(OUTCOME_STATUSES), "total_steps": _COUNT, "total_chunks": _COUNT},
        {
            **dict.fromkeys(counts, _or_null(_COUNT)),
            # A duration is measured, not counted: a fraction of a second is no fault.
            "duration_seconds": _or_null(
                _Rule(Annotated[float, Meta(ge=0, le=COUNT_MAX)], f"a number from 0 to {COUNT_MAX}")
            ),
            "session_quality": _or_null(_NUMBER),
            "quality_tier": _or_null(_one_of(QUALITY_TIERS)),
            "quality_tier_reason": _or_null(_ANY_TEXT),
            "training_eligible": _or_null(_BOOLEAN),
            "training_exclusion_reason": _or_null(_ANY_TEXT),
        },
    )


def _feedback(settings: SchemaSettings) -> _Rule:
    # `target_step` is the number of steps so far, so 0 for a session without any.
    return _object(
        "Feedback",
        {"signal": _one_of(FEEDBACK_SIGNALS), "timestamp": _timestamp(settings)},
        {
            "context": _or_null(_ANY_TEXT),
            "target_step": _or_null(_integer(0, settings.step_number_max)),
            "revision_rounds": _or_null(_COUNT),
            "delta_summary": _or_null(_ANY_TEXT),
        },
    )


# A refused body: where the fault is, what is there and what may be there.

_Path = tuple[str | int, ...]
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_ERROR_PATH = re.compile(r" - at `\$([^`]*)`\Z")
_ERROR_MISSING = re.compile(r"\AObject missing required field `(\w+)`")
_PATH_PART = re.compile(r"\.(\w+)|\[(\d+)\]")


def _path_of(error: str) -> _Path:
    """The path in msgspec's message, such as "Expected `int` - at `$.trajectory_log[3].step`"."""
    path: list[str | int] = []
    if at := _ERROR_PATH.search(error):
        path += [int(index) if index else name for name, index in _PATH_PART.findall(at[1])]
    if missing := _ERROR_MISSING.search(error):
        path.append(missing[1])
    return tuple(path)


def _refusal(body: bytes, rule: _Rule, path: _Path) -> Refusal:
    for part in path:
        inner = rule.item if isinstance(part, int) else rule.members.get(part)
        assert inner is not None, "msgspec names only members and items that have rules"
        rule = inner
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return Refusal(RefusalCode.SCHEMA, f"{named or 'The envelope'} is {_found(body, path)}; it must be {rule.allowed}.")


def _found(body: bytes, path: _Path) -> str:
    """What stands at `path`, in a few words; of a member that occurs twice, the last."""
    value = body
    try:
        for part in path:
            if isinstance(part, int):
                value = bytes(json_text.decode(_RAW_ITEMS, value)[part])
            else:
                members = json_text.decode(_RAW_MEMBERS, value)
                if part not in members:
                    return "missing"
                value = bytes(members[part])
        return _described(value)
    except (msgspec.DecodeError, IndexError):
        # Only a member that occurs twice leads here: the fault is in its first value, which JSON's readers ignore.
        return "there twice"


def _described(value: bytes) -> str:
    """A JSON value in a few words, at most 60 characters of them its own."""
    match value[:1]:
        case b"{":
            return "an object"
        case b"[":
            return f"a list of {len(json_text.decode(_RAW_ITEMS, value))}"
        case b'"':
            return _quoted(json_text.decode(_TEXT, value))
        case _ if len(value) > _QUOTED_CHARS_MAX:
            return f"a number of {len(value)} characters"
        case _:
            return value.decode()


def _quoted(text: str) -> str:
    quoted = msgspec.json.encode(text.encode(errors="replace").decode()).decode()
    return quoted if len(quoted) <= _QUOTED_CHARS_MAX else f"a text of {len(text)} characters"
