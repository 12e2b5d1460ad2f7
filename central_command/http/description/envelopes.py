"""Envelopes as JSON Schema, for the OpenAPI description: the rules of `actors.envelopes.schema`, as far as it goes.

What it cannot say (how old a time may be, that 5.0 is no integer) is said in words.
"""

from actors.envelopes.schema import (
    COMPLEXITIES,
    COUNT_MAX,
    FEEDBACK_SIGNALS,
    MILLISECONDS_FROM,
    OUTCOME_STATUSES,
    QUALITY_TIERS,
    RESERVED_MEMBERS,
    STEP_TYPES,
    TIME_SHIFT_S_MAX,
)
from actors.envelopes.settings import SchemaSettings
from central_command.http.description.json_schema import (
    BOOLEAN,
    COUNT,
    NUMBER,
    SESSION_ID_SCHEMA,
    SHARE,
    TEXT,
    Schema,
    all_or_null,
    hexadecimal,
    integer,
    object_of,
    one_of,
    or_null,
    reference,
    text_of,
)


def _told(description: str, example: object) -> Schema:
    """A member that the server knows and no rule bounds: whatever stands there is kept as it is."""
    return {"description": description, "examples": [example]}


_TOLD_OF_STEPS: dict[str, Schema] = {
    "tool": _told("Of an action and its result: the tool's name.", "Bash"),
    "arguments": _told("Of an action: what the tool was called with, an object.", {"command": "make"}),
    "call_id": _told("Joins an action with the observation or error that answers it: a text.", "toolu_01"),
    "source": _told(
        "Where a text came from when its type alone does not say it: thinking, user, agent, program, command, queue, "
        "notification, attachment, hook, api, system or compaction.",
        "thinking",
    ),
    "intent": _told(
        "interruption where the user stopped the agent, compaction where its context was shortened.", "interruption"
    ),
    "is_error": _told("Of a result: whether the tool failed.", example=True),
    "usage": _told(
        "What the agent reported of its model's message, once for each: input_tokens (with what was read from and "
        "written to a cache), output_tokens, cache_read_tokens, cache_write_tokens.",
        {"input_tokens": 15_200, "output_tokens": 310, "cache_read_tokens": 14_000},
    ),
    "model": _told("Who took this step, where it is another model than the metadata's.", "claude-haiku-4-5"),
    "agent": _told("Who took this step, where it is another agent.", "reviewer"),
    "timestamp_adjusted": _told(
        "Whether the step's own time was wrong, and this one was put between its neighbours'.", example=True
    ),
}

_TOLD_OF_SESSIONS: dict[str, Schema] = {
    "scrubbed": _told("Whether personal data and secrets were taken out before signing.", example=True),
    "scrub_rules": _told("With scrubbed: the number of the rules' version.", 3),
    "lineage": _told(
        "What joins a session with its sub-agents' sessions: id, and in theirs the same text as parent_id; texts of "
        "the client's choice, compared within a contributor.",
        {"id": "9f2c", "parent_id": "77aa"},
    ),
    "continues_session": _told("The session_id of the session that this one goes on from.", "sess_6f1c"),
    "time_scale": _told("By how much the distances of the steps' times were shortened.", 0.5),
}


def envelope_schemas(schema: SchemaSettings) -> dict[str, Schema]:
    """The schemas of envelopes and of what they hold, by name, bounded as `schema` says."""
    attestation = object_of(
        {
            "session_hmac": hexadecimal(64),
            "sequence": integer(0, schema.sequence_max),
            "app_version_hash": hexadecimal(64),
        }
    )
    common = {"session_id": SESSION_ID_SCHEMA, "attestation": reference("Attestation")}
    own_id: dict[str, Schema] = {"envelope_id": {"description": "The client's own id; noted, not trusted."}}
    none_of = {"not": {"anyOf": [{"required": [name]} for name in RESERVED_MEMBERS]}}
    words = "Integers are written without a point: 5.0 is refused. Members that are not named are kept as they are."
    described = {**none_of, "description": words, "maxProperties": schema.members_max}
    return {
        "Attestation": attestation,
        "Chunk": object_of(
            {
                **common,
                "chunk_sequence": COUNT,
                "contributor_id": hexadecimal(32),
                "metadata": reference("Metadata"),
                "trajectory_log": {"type": "array", "items": reference("Step"), "maxItems": schema.steps_max},
            },
            {**own_id, "type": {"const": "CHUNK"}},
            **described,
        ),
        "SessionClose": object_of(
            {
                **common,
                "type": {"const": "SESSION_CLOSE"},
                "metadata": reference("Metadata"),
                "outcome": reference("Outcome"),
            },
            own_id,
            **described,
        ),
        "UserFeedback": object_of(
            {**common, "type": {"const": "USER_FEEDBACK"}, "feedback": reference("Feedback")}, own_id, **described
        ),
        "Step": _step(schema),
        "Metadata": _metadata(schema),
        "Outcome": _outcome(),
        "Feedback": object_of(
            {"signal": one_of(FEEDBACK_SIGNALS), "timestamp": _timestamp(schema)},
            all_or_null(
                {
                    "context": TEXT,
                    "target_step": integer(0, schema.step_number_max),
                    "revision_rounds": COUNT,
                    "delta_summary": TEXT,
                }
            ),
        ),
    }


def _timestamp(schema: SchemaSettings) -> Schema:
    return {
        "type": "number",
        "description": f"Seconds since 1970, or milliseconds from {MILLISECONDS_FROM}; "
        f"at most {schema.timestamp_age_s_max:g} s ago and {schema.timestamp_ahead_s_max:g} s ahead.",
    }


def _step(schema: SchemaSettings) -> Schema:
    token_count = integer(0, schema.token_count_max)
    return object_of(
        {"step": integer(1, schema.step_number_max), "type": one_of(STEP_TYPES), "timestamp": _timestamp(schema)},
        {
            "content": or_null(text_of(schema.step_content_chars_max)),
            "token_count": token_count,
            "original_token_count": token_count,
            "truncated": BOOLEAN,
            **_TOLD_OF_STEPS,
        },
    )


def _metadata(schema: SchemaSettings) -> Schema:
    tag = or_null(object_of({"domain": TEXT, "confidence": SHARE}))
    vector = {"type": "array", "items": NUMBER, "minItems": 1}
    return object_of(
        {
            "provider": one_of(schema.providers),
            "model_engine": text_of(
                schema.model_engine_chars_max, chars_min=1, description="Without control characters and U+FFFD."
            ),
        },
        all_or_null(
            {
                "agent_role": text_of(schema.agent_role_chars_max),
                "agent_id": text_of(schema.agent_id_chars_max),
                "team_size": integer(1, schema.team_size_max),
                "task_complexity": one_of(COMPLEXITIES),
                "groove_version": text_of(schema.groove_version_chars_max),
                "session_quality": NUMBER,
                "domain_tags": object_of({}, dict.fromkeys(("primary", "secondary", "tertiary"), tag)),
                "session_embedding": object_of({"model": TEXT, "vector": vector, "source_text": TEXT}),
                "routing": object_of(
                    {"leaf_id": TEXT, "routing_confidence": SHARE, "fallback_used": BOOLEAN},
                    all_or_null({"leaf_lifecycle_stage": TEXT, "parent_leaf_id": TEXT}),
                ),
                "leaf_context": object_of(
                    {
                        "leaf_id": TEXT,
                        "leaf_version": {"type": ["string", "number"]},
                        "confidence_at_route": SHARE,
                        "chassis_model": TEXT,
                    }
                ),
                "time_shift_s": {
                    "type": "number",
                    "minimum": -TIME_SHIFT_S_MAX,
                    "maximum": TIME_SHIFT_S_MAX,
                    "description": "Seconds by which the steps' times were moved; the real ones are theirs less this.",
                },
            }
        )
        | _TOLD_OF_SESSIONS,
    )


def _outcome() -> Schema:
    counts = (
        *("user_interventions", "total_tokens", "files_modified"),
        *("errors_encountered", "errors_recovered", "coordination_events"),
    )
    return object_of(
        {"status": one_of(OUTCOME_STATUSES), "total_steps": COUNT, "total_chunks": COUNT},
        all_or_null(
            {
                **dict.fromkeys(counts, COUNT),
                "duration_seconds": {"type": "number", "minimum": 0, "maximum": COUNT_MAX},
                "session_quality": NUMBER,
                "quality_tier": one_of(QUALITY_TIERS),
                "quality_tier_reason": TEXT,
                "training_eligible": BOOLEAN,
                "training_exclusion_reason": TEXT,
            }
        ),
    )
