"""`GET /openapi.json`: a description of every endpoint, made from what the endpoints themselves are made of.

Every answer that an endpoint can give is there, those that the server gives before an endpoint is asked included:
a client made from the description meets nothing that it does not know. docs/protocol.md says what each means.
"""

from functools import cache, partial
from typing import Any

import msgspec
from quart import Blueprint, Response

from actors.envelopes.settings import SchemaSettings
from actors.intake.settings import IntakeSettings
from actors.jobs.settings import JobsSettings
from actors.sessions.outcomes import BusyReason, FullReason
from central_command.http.description.access import access_operations
from central_command.http.description.consent import CONTRIBUTOR_PARAMETERS, SIGNATURE_WORDS
from central_command.http.description.exports import (
    EXPORT_PARAMETERS,
    EXPORT_SECURITY,
    FILE_PARAMETERS,
    records_parameters,
    trajectories_parameters,
)
from central_command.http.description.intake import SECURITY, SECURITY_SCHEMES, USER_PARAMETERS
from central_command.http.description.jobs import ADMIN_SECURITY, JOB_PARAMETERS, QUEUE_PARAMETERS, page_parameters
from central_command.http.description.json_schema import Schema, reference
from central_command.http.description.live_sessions import live_session_operations
from central_command.http.description.monitoring import METRICS_SECURITY, VERBOSE_PARAMETERS
from central_command.http.description.observer import observer_operations
from central_command.http.description.operations import ERROR as _ERROR
from central_command.http.description.operations import HEADERS as _HEADERS
from central_command.http.description.operations import OF_BODIES as _OF_BODIES
from central_command.http.description.operations import OF_LIMITED as _OF_LIMITED
from central_command.http.description.operations import Answers
from central_command.http.description.operations import answer as _answer
from central_command.http.description.operations import body as _body
from central_command.http.description.operations import errors as _errors
from central_command.http.description.operations import operation as _operation
from central_command.http.description.operations import template as _template
from central_command.http.description.refused import refused_operations
from central_command.http.description.schemas import all_schemas, refusal
from central_command.http.description.search import READ_SECURITY, search_parameters
from central_command.http.endpoints.consent import CONSENT_PATH, WELL_KNOWN_PATH
from central_command.http.endpoints.corpus import CORPUS_RECORDS_PATH, CORPUS_TRAJECTORIES_PATH
from central_command.http.endpoints.embeddings import EMBED_PATH
from central_command.http.endpoints.erasures import CONTRIBUTORS_PATH, ERASURES_PATH
from central_command.http.endpoints.exports import EXPORT_PATH, EXPORTS_PATH, FILE_PATH
from central_command.http.endpoints.health import LIVEZ_PATH, READYZ_PATH
from central_command.http.endpoints.intake import RECORDS_PATH, USER_CONSENT_PATH, USER_PATH
from central_command.http.endpoints.jobs import (
    CANCEL_PATH,
    JOB_PATH,
    JOBS_PATH,
    PAUSE_PATH,
    PROMOTE_PATH,
    QUEUES_PATH,
    RESUME_PATH,
    RETRY_PATH,
    RUN_PATH,
)
from central_command.http.endpoints.metrics import METRICS_PATH
from central_command.http.endpoints.search import SEARCH_PATH
from central_command.http.requests.replies import (
    BATCH_PATH,
    EMBEDDINGS_PATH,
    INGEST_PATH,
    MODELS_PATH,
    NDJSON_TYPE,
    Reply,
)
from central_command.http.settings import HttpSettings
from persistence.format.consent_events import CURRENT_CONSENT_VERSION
from persistence.settings.search import SearchSettings

OPENAPI_PATH = "/openapi.json"

_EMPTY_NEVER = "Every answer has a JSON body, but for HEAD and OPTIONS, which work on every path as usual."
_OPENAI_ERROR = reference("OpenAiError")


class PageBounds(msgspec.Struct, frozen=True):
    """How many jobs, hits, and records of the corpus a page has at most."""

    jobs: int = JobsSettings().page_max
    hits: int = SearchSettings().hits_max
    records: int = 500  # the default of export.page_records_max, which this room may not ask


def openapi_document(
    settings: HttpSettings,
    schema: SchemaSettings,
    current_version: str = CURRENT_CONSENT_VERSION,
    intake: IntakeSettings | None = None,
    pages: PageBounds | None = None,
) -> dict[str, Any]:
    """The description, with the bounds that these settings set; `current_version` is that of the terms of consent."""
    taking, pages = intake or IntakeSettings(), pages or PageBounds()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Central Command",
            "version": "1",
            "summary": "Takes in training trajectories from AI coding agents.",
            "description": f"{_EMPTY_NEVER} Answers may gain members.",
        },
        "paths": {
            "/v1/sessions/open": {"post": _open()},
            "/v1/sessions/close": {"post": _close()},
            INGEST_PATH: {"post": _ingest(settings)},
            BATCH_PATH: {"post": _batch(settings)},
            EMBED_PATH: {"post": _embed("embed", "Embed texts")},
            EMBEDDINGS_PATH: {"post": _embeddings()},
            **_models(),
            **_statistics(settings),
            **_consent(),
            **_erasures(),
            **_intake(settings, taking),
            **_exports(),
            **_corpus(pages.records),
            **access_operations(),
            SEARCH_PATH: {"get": _search(pages.hits)},
            **live_session_operations(),
            **_jobs(pages.jobs),
            **refused_operations(),
            **observer_operations(),
            "/health": {"get": _health()},
            "/ready": {"get": _ready()},
            **_monitoring(),
            OPENAPI_PATH: {"get": _description()},
        },
        "components": {
            "schemas": all_schemas(schema, current_version, taking.records_max),
            "headers": _HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def openapi_routes(
    settings: HttpSettings,
    schema: SchemaSettings,
    current_version: str,
    intake: IntakeSettings | None,
    pages: PageBounds,
) -> Blueprint:
    """The endpoint; its text is written once, when it is first asked for."""
    routes = Blueprint("openapi", __name__)

    @cache
    def reply() -> Reply:
        return Reply(200, msgspec.json.encode(openapi_document(settings, schema, current_version, intake, pages)))

    @routes.get(OPENAPI_PATH)
    async def openapi() -> Response:
        return reply().response()

    return routes


_IN_INGEST_FORM = {
    **_errors(408, schema=refusal(["body_timeout"])),
    **_errors(413, schema=refusal(["body_too_large"])),
    **_errors(415, schema=refusal(["unsupported_encoding"])),
    **_errors(429, schema=reference("Limited")),
    **_errors(500, schema=refusal(["internal_error"])),
    **_errors(503, schema=refusal(["overloaded"])),
    **_errors(505, schema={"anyOf": [refusal(["http_version"]), _ERROR]}),
}


# The endpoints


def _open() -> dict[str, Any]:
    answers = {
        "200": _answer("The session is open, now or before with the same key.", "Opened"),
        **_OF_LIMITED,
        **_OF_BODIES,
        "403": _answer(
            "Who asks is banned, or names a contributor who has registered a key, and it is not signed with that.",
            {"anyOf": [reference("Banned"), reference("NotSigned")]},
        ),
        **_errors(409, 507),
    }
    return _operation("openSession", "Agree on a key", answers, requestBody=_body(reference("OpenSession")))


def _close() -> dict[str, Any]:
    answers = {
        "200": _answer("The session is closed, now or before.", "Closed"),
        **_OF_LIMITED,
        **_OF_BODIES,
        **_errors(404, 507),
    }
    return _operation("closeSession", "End a session", answers, requestBody=_body(reference("CloseSession")))


def _ingest(settings: HttpSettings) -> dict[str, Any]:
    kinds = {"anyOf": [reference("Chunk"), reference("SessionClose"), reference("UserFeedback")]}
    either = {"anyOf": [reference("Accepted"), reference("Refused")]}
    answers = {
        **_IN_INGEST_FORM,
        "200": _answer("Stored, or refused for good: `accepted` says which.", either),
        **_errors(400, schema={"anyOf": [reference("Unreadable"), _ERROR]}),
        **_errors(503, schema=refusal((*BusyReason, "overloaded"))),
        **_errors(507, schema=refusal(FullReason)),
    }
    words = (
        "The signature is over the body's own bytes without the member `attestation`. "
        f"At most {settings.body_bytes_max} bytes, or {settings.body_bytes_hard_max} from an open session; "
        "an answer of 200 is final."
    )
    return _operation("ingest", "Hand in an envelope", answers, description=words, requestBody=_body(kinds))


def _batch(settings: HttpSettings) -> dict[str, Any]:
    words = (
        f"Up to {settings.batch_lines_max} envelopes, a line each; at most {settings.body_bytes_max} bytes together. "
        "Each is treated as if it had come alone, and answered by a line of its own (`BatchResult`), in order."
    )
    answers = {
        **_IN_INGEST_FORM,
        "200": _answer("The results, a line each.", {"type": "string"}, content_type=NDJSON_TYPE),
        **_errors(400, schema={"anyOf": [refusal(["empty_batch", "too_many_lines"]), _ERROR]}),
    }
    body = {"required": True, "content": {NDJSON_TYPE: {"schema": {"type": "string", "minLength": 1}}}}
    return _operation("ingestBatch", "Hand in many envelopes", answers, description=words, requestBody=body)


def _embed(name: str, summary: str) -> dict[str, Any]:
    answers = {"200": _answer("The embeddings, in order.", "Embeddings"), **_OF_LIMITED, **_OF_BODIES}
    return _operation(name, summary, answers, requestBody=_body(reference("EmbeddingRequest")))


def _embeddings() -> dict[str, Any]:
    answers = {
        "200": _answer("The embeddings, in order.", "Embeddings"),
        **_errors(408, 413, 415, 429, 503, schema=_OPENAI_ERROR),
    }
    summary = "Embed texts, under the name that OpenAI's clients use"
    body = _body(reference("OpenAiEmbeddingRequest"))
    return _operation("embeddings", summary, answers, _OPENAI_ERROR, requestBody=body)


def _models() -> dict[str, Any]:
    def models(name: str, summary: str, schema: str, *more: int, **members: Any) -> dict[str, Any]:
        answers = {"200": _answer("What there is.", schema), **_errors(429, 503, *more, schema=_OPENAI_ERROR)}
        return {"get": _operation(name, summary, answers, _OPENAI_ERROR, **members)}

    named = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {
        MODELS_PATH: models("models", "The model that embeds", "Models"),
        f"{MODELS_PATH}/{{model}}": models("model", "The same by its name", "Model", 404, parameters=[named]),
    }


def _statistics(settings: HttpSettings) -> dict[str, Any]:
    def statistics(name: str, summary: str, schema: Schema, **more: Any) -> dict[str, Any]:
        answers = {"200": _answer("The figures, behind what was acknowledged by fractions of a second.", schema)}
        return {"get": _operation(name, summary, {**answers, **_OF_LIMITED}, **more)}

    def number(name: str, default: int, maximum: int) -> list[dict[str, Any]]:
        schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
        return [{"name": name, "in": "query", "required": False, "schema": schema}]

    def by_name(schema: str) -> Schema:
        return {"type": "object", "additionalProperties": reference(schema)}

    def list_of(schema: str) -> Schema:
        return {"type": "array", "items": reference(schema)}

    days = number("days", settings.daily_days_default, settings.daily_days_max)
    limit = number("limit", settings.leaderboard_limit_default, settings.leaderboard_limit_max)
    return {
        "/v1/stats/summary": statistics("summary", "Totals", reference("Summary")),
        "/v1/stats/daily": statistics("daily", "By UTC day, today last", list_of("DayReport"), parameters=days),
        "/v1/stats/models": statistics("models", "By model", by_name("ModelReport")),
        "/v1/stats/providers": statistics("providers", "By provider", by_name("ProviderReport")),
        "/v1/stats/leaderboard": statistics(
            "leaderboard", "The contributors with the most points", list_of("LeaderboardEntry"), parameters=limit
        ),
    }


def _consent() -> dict[str, Any]:
    path = CONSENT_PATH.replace("<", "{").replace(">", "}")

    def asked(name: str, summary: str, answers: Answers, **more: Any) -> dict[str, Any]:
        answers = {**_OF_LIMITED, **_errors(403, schema=reference("NotSigned")), **_errors(404), **answers}
        return _operation(
            name, summary, answers, parameters=CONTRIBUTOR_PARAMETERS, description=SIGNATURE_WORDS, **more
        )

    said = {
        "200": _answer("It is recorded, now or before.", "ConsentSaid"),
        **_OF_BODIES,
        **_errors(507),
        **_errors(409, schema=reference("NotLatest")),
    }
    receipt = {"200": _answer("A signed receipt.", "Receipt")}
    keys = {"200": _answer("The keys of receipts, and the terms.", "WellKnown"), **_OF_LIMITED, **_errors(404)}
    return {
        path: {
            "get": asked("consent", "What a contributor has said", {"200": _answer("All of it.", "Consent")}),
            "post": asked("sayConsent", "Give or withdraw consent", said, requestBody=_body(reference("SayConsent"))),
        },
        f"{path}/receipt": {"get": asked("receipt", "A receipt of it", receipt)},
        WELL_KNOWN_PATH: {"get": _operation("wellKnown", "What receipts are verified with", keys)},
    }


def _erasures() -> dict[str, Any]:
    asked = _answer("It is on disk, and nothing of the contributor is taken any more.", "Erasure")
    erase = _operation(
        "eraseContributor",
        "Erase all that a contributor has sent",
        {"202": asked, **_errors(403, schema=reference("NotSigned")), **_errors(507), **_OF_LIMITED},
        parameters=CONTRIBUTOR_PARAMETERS,
        description=SIGNATURE_WORDS,
    )
    report = _operation(
        "erasure",
        "Whether it is done",
        {"200": _answer("How it stands.", "Erasure"), **_errors(404), **_OF_LIMITED},
        parameters=[
            {
                "name": "request",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": "^er_[0-9a-f]{16}$"},
            }
        ],
    )
    return {
        f"{CONTRIBUTORS_PATH}/{{contributor_id}}": {"delete": erase},
        f"{ERASURES_PATH}/{{request}}": {"get": report},
    }


def _intake(settings: HttpSettings, intake: IntakeSettings) -> dict[str, Any]:
    answers = {
        **_OF_LIMITED,
        **_OF_BODIES,
        **_errors(401, 404, 507),
        "403": _answer("The token has another scope.", _ERROR, "WWW-Authenticate"),
    }
    words = (
        f"Up to {intake.records_max} records (`IntakeRecord`), a line each, of at most {intake.record_bytes_max} "
        f"bytes; at most {settings.body_bytes_max} bytes together. Each is taken or refused by itself."
    )
    records = {"required": True, "content": {NDJSON_TYPE: {"schema": {"type": "string", "minLength": 1}}}}
    taken = {**answers, "200": _answer("What became of each record, in order.", "IntakeResults")}
    said = {**answers, "200": _answer("It is recorded, now or before.", "ConsentSaid"), **_errors(409)}
    return {
        RECORDS_PATH: {
            "post": _operation(
                "submitRecords",
                "Hand over texts of an application's users",
                taken,
                description=words,
                security=SECURITY,
                requestBody=records,
            )
        },
        _template(USER_PATH): {
            "delete": _operation(
                "eraseUser",
                "Withdraw for a user, and erase all that was handed over of theirs",
                {
                    **_OF_LIMITED,
                    **_errors(401, 404, 409, 507),
                    "202": _answer("It is on disk, and nothing of the user is taken any more.", "Erasure"),
                    "403": _answer("The token has another scope.", _ERROR, "WWW-Authenticate"),
                },
                security=SECURITY,
                parameters=USER_PARAMETERS,
            )
        },
        USER_CONSENT_PATH: {
            "post": _operation(
                "sayUserConsent",
                "Record what a user says of consent",
                said,
                security=SECURITY,
                requestBody=_body(reference("SayUserConsent")),
            )
        },
    }


def _exports() -> dict[str, Any]:
    answers = {
        **_OF_LIMITED,
        **_errors(401, 404),
        "403": _answer("The token has another scope.", _ERROR, "WWW-Authenticate"),
    }
    one = {**answers, "200": _answer("How it stands.", "Export")}
    file = {"description": "The file.", "content": {"application/octet-stream": {}}}
    return {
        EXPORTS_PATH: {
            "post": _operation(
                "askExport",
                "Have an export made",
                {**answers, **_OF_BODIES, **_errors(507), "202": _answer("It is on disk, and will be made.", "Export")},
                description="One is made at a time. docs/exports.md has the options; names have `_` for `-`.",
                security=EXPORT_SECURITY,
                requestBody=_body(reference("AskExport")),
            ),
            "get": _operation(
                "exports",
                "All exports that were asked for",
                {**answers, "200": _answer("The earliest first.", "Exports")},
                security=EXPORT_SECURITY,
            ),
        },
        _template(EXPORT_PATH): {
            "get": _operation(
                "export", "How an export stands", one, security=EXPORT_SECURITY, parameters=EXPORT_PARAMETERS
            ),
            "delete": _operation(
                "deleteExport",
                "Cancel an export, and remove all of it",
                {**one, **_errors(507)},
                security=EXPORT_SECURITY,
                parameters=EXPORT_PARAMETERS,
            ),
        },
        _template(FILE_PATH).replace("path:", ""): {
            "get": _operation(
                "exportFile",
                "A file of an export that is done",
                {**answers, "200": file},
                security=EXPORT_SECURITY,
                parameters=FILE_PARAMETERS,
            )
        },
    }


def _corpus(page_max: int) -> dict[str, Any]:
    answers = {
        **_OF_LIMITED,
        **_errors(400, 401, 404, 503),
        "403": _answer("The token has another scope.", _ERROR, "WWW-Authenticate"),
        "200": _answer(
            "A `CorpusLine` each line, the last of which is `end`.", {"type": "string"}, content_type=NDJSON_TYPE
        ),
    }
    of_kind = partial(
        _operation, answers=answers, description="docs/protocol.md says what is on a line.", security=EXPORT_SECURITY
    )
    return {
        CORPUS_TRAJECTORIES_PATH: {
            "get": of_kind("trajectories", "A page of the corpus", parameters=trajectories_parameters(page_max))
        },
        CORPUS_RECORDS_PATH: {
            "get": of_kind("records", "A page of the intake's records", parameters=records_parameters(page_max))
        },
    }


def _search(hits_max: int) -> dict[str, Any]:
    answers = {
        **_OF_LIMITED,
        **_errors(400, 401, 404, 501, 503),
        "403": _answer("The token has another scope.", _ERROR, "WWW-Authenticate"),
        "200": _answer("A page of hits.", "Hits"),
    }
    return _operation(
        "search",
        "Search the corpus",
        answers,
        description="docs/search.md says how words are read, and how hits are ordered.",
        security=READ_SECURITY,
        parameters=search_parameters(hits_max),
    )


def _jobs(page_max: int) -> dict[str, Any]:
    answers = {**_OF_LIMITED, **_errors(401, 403)}

    def operation(name: str, summary: str, schema: str, words: str, *statuses: int, **more: Any) -> dict[str, Any]:
        own = {
            **answers,
            **(_OF_BODIES if schema == "JobChanged" else {}),
            **_errors(404, *statuses),
            "200": _answer(words, schema),
        }
        return _operation(name, summary, own, security=ADMIN_SECURITY, **more)

    def change(name: str, summary: str, *statuses: int, of: Any = JOB_PARAMETERS) -> dict[str, Any]:  # noqa: ANN401
        return operation(name, summary, "JobChanged", "It is done.", 507, *statuses, parameters=of)

    return {
        JOBS_PATH: {
            "get": operation("jobs", "Jobs, the latest first", "Jobs", "A page.", parameters=page_parameters(page_max))
        },
        QUEUES_PATH: {"get": operation("jobQueues", "The queues and what they hold", "Queues", "All of them.")},
        _template(PAUSE_PATH): {"post": change("pauseQueue", "Start no job of a queue", 409, of=QUEUE_PARAMETERS)},
        _template(RESUME_PATH): {"post": change("resumeQueue", "Start jobs of it again", 409, of=QUEUE_PARAMETERS)},
        _template(RUN_PATH): {"post": change("runJob", "Do now what is repeated", 409, of=QUEUE_PARAMETERS)},
        _template(JOB_PATH): {
            "get": operation(
                "job", "One job, its events and its log", "JobHistory", "The job.", parameters=JOB_PARAMETERS
            ),
            "delete": change("removeJob", "Remove a job that is not active", 409),
        },
        _template(RETRY_PATH): {"post": change("retryJob", "Let a failed job wait again", 409)},
        _template(CANCEL_PATH): {"post": change("cancelJob", "Let an unfinished job fail", 409)},
        _template(PROMOTE_PATH): {"post": change("promoteJob", "Let a delayed job wait no longer", 409)},
    }


def _health() -> dict[str, Any]:
    return _operation("health", "Whether the process lives", {"200": _answer("It does.", "Health")})


def _ready() -> dict[str, Any]:
    answers = {
        "200": _answer("Envelopes can be taken in.", "Ready"),
        **_errors(503, schema=reference("NotReady")),
    }
    return _operation("ready", "Whether envelopes can be taken in", answers)


def _monitoring() -> dict[str, Any]:
    live = {
        "200": _answer("It does, and its journals' writers move.", "Live"),
        **_errors(503, schema=reference("NotLive")),
    }
    ready = {
        "200": _answer("Envelopes can be taken in.", "ReadyByCheck"),
        **_errors(503, schema=reference("NotReadyByCheck")),
    }
    metrics = {
        **_OF_LIMITED,
        **_errors(401, 404),
        "200": _answer(
            "All figures, as text or, if `Accept` would rather have it, as OpenMetrics.",
            {"type": "string"},
            content_type="text/plain",
        ),
        "403": _answer("The token has another scope.", _ERROR, "WWW-Authenticate"),
    }
    return {
        LIVEZ_PATH: {"get": _operation("live", "Whether the process lives", live)},
        READYZ_PATH: {
            "get": _operation("readyByCheck", "Whether envelopes can be taken in", ready, parameters=VERBOSE_PARAMETERS)
        },
        METRICS_PATH: {"get": _operation("metrics", "All figures", metrics, security=METRICS_SECURITY)},
    }


def _description() -> dict[str, Any]:
    answers = {"200": _answer("This description.", {"type": "object"}), **_OF_LIMITED}
    return _operation("openapi", "This description", answers)
