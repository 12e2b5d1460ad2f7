"""The bodies and answers of every endpoint as JSON Schema, for the OpenAPI description.

Bounds come from the settings, lists of names from where they are checked. What JSON Schema cannot say is said in words.
"""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from actors.embedding.embedding import DIMENSIONS
from actors.embedding.settings import INPUT_TOKENS_MAX, LIST_INPUTS_MAX, OFFICIAL_TOKENS, REQUEST_INPUTS_MAX
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings
from central_command.http.description.access import access_schemas
from central_command.http.description.consent import ED25519_KEY, ED25519_SIGNATURE, consent_schemas
from central_command.http.description.envelopes import envelope_schemas
from central_command.http.description.exports import export_schemas
from central_command.http.description.intake import intake_schemas
from central_command.http.description.jobs import job_schemas
from central_command.http.description.json_schema import (
    BOOLEAN,
    COUNT,
    NUMBER,
    SESSION_ID_SCHEMA,
    TEXT,
    Schema,
    hexadecimal,
    integer,
    object_of,
    one_of,
    or_null,
    text_of,
)
from central_command.http.description.live_sessions import live_session_schemas
from central_command.http.description.monitoring import monitoring_schemas
from central_command.http.description.observer import observer_schemas
from central_command.http.description.refused import refused_schemas
from central_command.http.description.search import search_schemas
from central_command.http.endpoints.embeddings import MODEL
from central_command.http.requests.replies import Replies
from central_command.http.settings import HttpSettings
from persistence.databases.reports import DayReport, LeaderboardEntry, ModelReport, ProviderReport, Summary
from persistence.journals.erasure_register import ErasureState

_DIGEST: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9_.:-]{1,128}$"}
_PUBLIC_KEY: Schema = {
    "type": "string",
    "pattern": r"^B[A-P][A-Za-z0-9+/]{84}[AEIMQUYcgkosw048]=$",
    "description": "Base64 of an uncompressed point on P-256: 65 bytes, the first of them 4.",
}


def all_schemas(schema: SchemaSettings, current_version: str, records_max: int) -> dict[str, Schema]:
    """Every schema by its name, bounded as `schema` says; `current_version` is that of the terms of consent.

    `records_max` is how many records one request of the intake may bring.
    """
    _, reports = msgspec.json.schema_components(
        [Summary, DayReport, ModelReport, ProviderReport, LeaderboardEntry],
        ref_template="#/components/schemas/{name}",
    )
    rooms: tuple[dict[str, Schema], ...] = (
        _session_schemas(schema),
        envelope_schemas(schema),
        consent_schemas(current_version),
        intake_schemas(current_version, records_max),
        export_schemas(),
        access_schemas(),
        monitoring_schemas(),
        search_schemas(),
        job_schemas(),
        refused_schemas(),
        live_session_schemas(),
        observer_schemas(),
        _answers(),
        _embedding_schemas(),
        reports,
    )
    found: dict[str, Schema] = {}
    for schemas in rooms:
        assert found.keys().isdisjoint(schemas), f"two rooms have one name: {found.keys() & schemas.keys()}"
        found |= schemas
    return found


def _session_schemas(schema: SchemaSettings) -> dict[str, Schema]:
    printable = "Printable characters only."
    return {
        "OpenSession": object_of(
            {
                "session_id": SESSION_ID_SCHEMA,
                "public_key": _PUBLIC_KEY,
                "provider": one_of(schema.providers),
                "model": text_of(schema.model_engine_chars_max, chars_min=1, description=printable),
                "machine_fingerprint": _DIGEST,
                "app_version_hash": _DIGEST,
                "groove_version": text_of(schema.groove_version_chars_max, chars_min=1, description=printable),
            },
            {
                "contributor_id": hexadecimal(32),
                "contributor_key": ED25519_KEY,
                "contributor_signature": ED25519_SIGNATURE,
            },
            dependentRequired={
                "contributor_key": ["contributor_id", "contributor_signature"],
                "contributor_signature": ["contributor_id", "contributor_key"],
            },
        ),
        "Opened": object_of({"server_public_key": _PUBLIC_KEY}),
        "CloseSession": object_of({"session_id": {"type": "string", "minLength": 1}}),
        "Closed": object_of(
            {"closed": {"const": True}},
            {
                "already_closed": {"const": True},
                "points": {"type": "number", "minimum": 0},
                "steps": COUNT,
                "copied_steps": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Steps that an earlier session held already: they earned nothing.",
                },
                "copied_from": {"type": "string", "description": "The session that most of them were first seen in."},
                "model_tier": {"type": "null", "description": "There when the model has no factor: it counts 1."},
            },
        ),
    }


def refusal(codes: Iterable[str], **more: Schema) -> Schema:
    """A refusal on the ingest path with one of these codes."""
    return object_of(
        {
            "accepted": {"const": False},
            "reason": {"type": "string", "description": "One sentence for people; it may change."},
            "code": one_of(codes),
            **more,
        }
    )


def _codes(status: HTTPStatus) -> list[RefusalCode]:
    """The codes that an envelope is refused with under a status."""
    replies = Replies(HttpSettings())
    return [code for code in RefusalCode if replies.ingested(Refusal(code, "")).status == status]


def _answers() -> dict[str, Schema]:
    seconds = {"type": "integer", "minimum": 1, "description": "Seconds to wait."}
    required = {"required": {"type": "array", "items": TEXT, "description": "The members that the body must have."}}
    sentence = {"error": {"type": "string", "description": "One sentence for people; it may change."}}
    checks = {"type": "object", "additionalProperties": TEXT}
    return {
        "Accepted": object_of(
            {"accepted": {"const": True}, "envelope_id": {"type": "string", "pattern": "^env_[0-9a-f-]{36}$"}},
            {"duplicate": {"const": True}},
        ),
        "Refused": refusal(_codes(HTTPStatus.OK)),
        "Unreadable": refusal(_codes(HTTPStatus.BAD_REQUEST)),
        "Limited": refusal((RefusalCode.ENVELOPE_LIMIT, "rate_limited"), retryAfter=seconds),
        "BatchResult": object_of(
            {"accepted": BOOLEAN, "status": integer(200, 599)},
            {
                "envelope_id": TEXT,
                "duplicate": {"const": True},
                "reason": TEXT,
                "code": TEXT,
                "retryAfter": seconds,
                "retry_after": seconds,
            },
            description="The answer that the envelope would have had alone, its status and its `Retry-After`.",
        ),
        "Erasure": object_of(
            {
                "request": {"type": "string", "pattern": "^er_[0-9a-f]{16}$"},
                "state": one_of(ErasureState),
                "requested_at": TEXT,
            },
            {
                "done_at": TEXT,
                "erased_lines": {"type": "object", "additionalProperties": COUNT},
                "hindered": {"const": True, "description": "Something keeps it from being done; it is tried again."},
            },
        ),
        "Error": object_of(sentence, required),
        "Banned": object_of({**sentence, "code": {"const": "banned"}}),
        "NotSigned": object_of({**sentence, "code": {"const": "not_signed"}}),
        "OpenAiError": object_of(
            {
                "error": object_of(
                    {
                        "message": {"type": "string", "description": "One sentence for people; it may change."},
                        "type": one_of(("invalid_request_error", "rate_limit_error", "server_error")),
                        "param": or_null(TEXT),
                        "code": TEXT,
                    }
                )
            },
            {"retryAfter": seconds},
        ),
        "TooMany": object_of({**sentence, "retryAfter": seconds}),
        "Health": object_of(
            {
                "status": {"const": "ok"},
                "uptime": {"type": "number", "minimum": 0},
                "last_full_check": or_null({"type": "string", "format": "date-time"}),
                "curation_lag": or_null(
                    object_of(
                        {
                            "trajectories": {"type": "integer", "minimum": 0},
                            "texts": {"type": "integer", "minimum": 0},
                            "seconds": {"type": "number", "minimum": 0},
                        }
                    )
                ),
            }
        ),
        "Ready": object_of({"ready": {"const": True}, "checks": checks}),
        "NotReady": object_of({**sentence, "ready": {"const": False}, "checks": checks}),
    }


def _embedding_schemas() -> dict[str, Schema]:
    one = {"type": "string", "minLength": 1}
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": REQUEST_INPUTS_MAX}
    given = [integer(tokens.start, tokens.stop - 1) for tokens in OFFICIAL_TOKENS]
    token = {"anyOf": given, "description": "Of this model's own vocabulary."}
    tokens = {"type": "array", "items": token, "minItems": 1, "maxItems": INPUT_TOKENS_MAX}
    long_list = {"type": "array", "items": {"anyOf": [one, tokens]}, "minItems": 1, "maxItems": LIST_INPUTS_MAX}
    more = {
        "model": {"description": "Ignored."},
        "encoding_format": or_null(one_of(("float", "base64"))),
        "dimensions": {"type": ["integer", "null"], "enum": [DIMENSIONS, None]},
    }
    model = object_of({"id": {"const": MODEL}, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT})
    numbers = {"type": "array", "items": NUMBER, "minItems": DIMENSIONS, "maxItems": DIMENSIONS}
    return {
        "EmbeddingRequest": object_of({"input": {"anyOf": [one, several]}}, more),
        "OpenAiEmbeddingRequest": object_of({"input": {"anyOf": [one, tokens, long_list]}}, more),
        "Model": model,
        "Models": object_of({"object": {"const": "list"}, "data": {"type": "array", "items": model}}),
        "Embeddings": object_of(
            {
                "object": {"const": "list"},
                "data": {
                    "type": "array",
                    "items": object_of(
                        {
                            "object": {"const": "embedding"},
                            "index": integer(0, LIST_INPUTS_MAX - 1),
                            "embedding": {"anyOf": [numbers, {"type": "string", "description": "Base64."}]},
                        }
                    ),
                },
                "model": {"const": MODEL},
                "usage": object_of({"prompt_tokens": COUNT, "total_tokens": COUNT}),
            }
        ),
    }
