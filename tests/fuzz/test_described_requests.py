"""Requests made from the description, good ones and broken ones: the running server answers all of them as described.

Schemathesis makes the requests and checks the answers. They are the same in every run, so that nothing fails by chance.
"""

import json
import re
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from actors.envelopes.canonical_json import canonicalise
from actors.envelopes.reading import read_envelope
from actors.envelopes.refusals import Refusal
from actors.envelopes.schema import check
from actors.envelopes.settings import SchemaSettings
from central_command.access.labels import is_label
from central_command.http.description.openapi import openapi_document
from central_command.http.endpoints.access import TOKENS_PATH
from central_command.http.endpoints.bans import BANS_PATH
from central_command.http.endpoints.corpus import CORPUS_RECORDS_PATH, CORPUS_TRAJECTORIES_PATH
from central_command.http.endpoints.exports import EXPORTS_PATH
from central_command.http.endpoints.intake import RECORDS_PATH, USER_CONSENT_PATH
from central_command.http.endpoints.search import SEARCH_PATH
from central_command.http.requests.first_bytes import SESSION_ID
from central_command.http.requests.replies import BATCH_PATH, NDJSON_TYPE
from central_command.http.settings import HttpSettings
from tests.actors.curation.trajectory_lines import prompt
from tests.corpus_maker import session
from tests.indexed import put
from tests.server_process import INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps
from tests.submitted_texts import leave_token

LOADED_S_MAX = 60.0
BUDGETS = ("ACCESS", "METRICS", "INTAKE", "EXPORT", "SEARCH", "JOBS", "OBSERVER")
"""Sections with the budget of one token."""
NOW_S = 1_800_000_000.0
SCHEMA = SchemaSettings()
DOCUMENT = openapi_document(HttpSettings(), SCHEMA)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
KEY = SigningClient("sess_1").public_key
ASKING_THE_CORPUS = (SEARCH_PATH, CORPUS_TRAJECTORIES_PATH, CORPUS_RECORDS_PATH)
RESULT = jsonschema_rs.Draft202012Validator(
    {"$ref": "#/components/schemas/BatchResult", "components": DOCUMENT["components"]}
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer(NDJSON_TYPE)  # type: ignore[untyped-decorator,unused-ignore]
def lines_of(_: object, value: Any) -> bytes:
    """A batch's body: any text is one, whatever its lines hold."""
    return (value if isinstance(value, str) else dumps(value)).encode("utf-8", "replace")


@schemathesis.deserializer(NDJSON_TYPE)
def results_of(context: Any, response: Any) -> str:
    """Lines of JSON, each an object; those of a batch's answer are found to be results."""
    text: str = response.content.decode()
    for line in map(json.loads, text.splitlines()):
        assert isinstance(line, dict)
        if context.operation.path == BATCH_PATH:
            RESULT.validate(line)
    return text


def always_the_same(examples: int) -> settings:
    """So many examples, the same ones in every run, without a limit of time."""
    return settings(
        derandomize=True,
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class Served(NamedTuple):
    """A server, and the headers of whoever may ask it for everything."""

    process: ServerProcess
    headers: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with all that it offers: without its model, or an index to search, good requests would be a 503."""
    root = tmp_path_factory.mktemp("described") / "data"
    put(root, session(0, [prompt("look for a torn journal")]))
    token, _ = leave_token(root, "read", "intake", "export", "admin", now=time.time())
    budgets = {f"CENTRAL_COMMAND__{section}__REQUESTS_PER_MINUTE": "100000" for section in BUDGETS}
    with ServerProcess(root, settings={"CENTRAL_COMMAND__EMBEDDING__ENABLED": "true", **budgets}) as running:
        deadline = time.monotonic() + LOADED_S_MAX
        while running.get("/ready").members["checks"]["embedding"] != "ok":
            assert time.monotonic() < deadline, running.said
        yield Served(running, {"Authorization": f"Bearer {token}"})
        assert running.terminate() == 0


@pytest.fixture(scope="module")
def description(served: Served) -> Any:
    """The description that the server serves, found to be OpenAPI."""
    found = schemathesis.openapi.from_url(f"{served.process.url}/openapi.json")
    found.validate()
    found.config.generation.update(with_security_parameters=False)  # the token is given; what is wrong is elsewhere
    refused = found.config.checks.negative_data_rejection
    refused.expected_statuses = [*refused.expected_statuses, "413"]  # what is too long may be so for the whole body
    return found


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_request_is_answered_as_described(
    path: str, method: str, mode: GenerationMode, description: Any, served: Served
) -> None:
    """No fault of the server, and a status, headers and body that the description has; what is broken is refused.

    Whoever must have a token has one that may do everything: else all that is asked of these endpoints is a 401.
    """
    operation = description[path][method.upper()]
    headers = served.headers if "security" in DOCUMENT["paths"][path][method] else {}
    if mode is GenerationMode.NEGATIVE and not operation.body and not operation.query:
        return  # nothing can be broken in what has neither body nor parameters

    makes_export = (path, mode) == (EXPORTS_PATH, GenerationMode.POSITIVE)  # each takes a process some seconds

    @always_the_same(1 if makes_export else 20 if operation.body else 10)
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            _complete(path, case)
        if path == SEARCH_PATH and case.query and case.query.get("mode") != "text":
            case.query.pop("mode", None)  # by meaning needs vectors, and is a 501 without
        answer = case.call_and_validate(headers=headers, checks=[*CHECKS, *_checks_of(path, case, mode)])
        assert answer.status_code != HTTPStatus.UNAUTHORIZED

    send()


def _complete(path: str, case: Any) -> None:
    """Put in what is more than a schema can say: a point on the curve, an address, texts that can be printed."""
    if path in ASKING_THE_CORPUS and case.query is not None:
        _complete_question(path, case.query)
    if path == SEARCH_PATH:
        case.query["q"] = "torn"
    if not isinstance(case.body, dict):
        return
    if path == OPEN:
        case.body["public_key"] = KEY
    if path == BANS_PATH and "address" in case.body:
        case.body["address"] = "192.0.2.1"
    if path == EXPORTS_PATH:
        case.body = {"formats": ["messages"]}
    if path == USER_CONSENT_PATH:
        case.body.pop("purposes", None)  # of the notice, in words
    if path in {BANS_PATH, TOKENS_PATH}:
        for name in {"name", "reason"} & case.body.keys():
            case.body[name] = "".join(each for each in case.body[name] if is_label(each, 1))


def _complete_question(path: str, query: dict[str, Any]) -> None:
    """The same of what is asked of the corpus: cursors that were given, times, agents that the server takes."""
    query.pop("cursor", None)
    query |= dict.fromkeys({"after", "before"} & query.keys(), "2026-11-20")
    if path == CORPUS_TRAJECTORIES_PATH and "provider" in query:
        query["provider"] = ["codex"]


def _checks_of(path: str, case: Any, mode: GenerationMode) -> list[Any]:
    """What is good is taken and what is broken is refused, wherever the status says so."""
    if mode is GenerationMode.NEGATIVE:
        # Envelopes are refused with a 200 and `accepted: false`, and records of the intake each by itself.
        return [] if path.startswith(INGEST) or path == RECORDS_PATH else [negative_data_rejection]
    texts = [] if path != OPEN else [case.body[name] for name in ("provider", "model", "groove_version")]
    is_printable = all(text.isprintable() and "\ufffd" not in text for text in texts)
    return [positive_data_acceptance] if is_printable else []


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_the_envelopes_described_are_those_that_are_taken(mode: GenerationMode) -> None:
    """An envelope passes the server's own checks exactly if it fits the description, but for what is said in words."""
    operation: Any = schemathesis.openapi.from_dict(DOCUMENT)[INGEST]["POST"]
    body = DOCUMENT["paths"][INGEST]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator({**body, "components": DOCUMENT["components"]})

    @always_the_same(60)
    @given(operation.as_strategy(generation_mode=mode))
    def compare(case: Any) -> None:
        if not isinstance(case.body, dict | list | str | int | float | None):
            return  # a body that is no JSON, or none at all: the corpus of bad input has those
        envelope = _with_what_is_only_said(case.body)
        assert _is_taken(envelope) == validator.is_valid(envelope)

    compare()


def _with_what_is_only_said(envelope: Any) -> Any:
    """The envelope with times of now, and a model without the characters that only words exclude."""
    if not isinstance(envelope, dict):
        return envelope
    steps = envelope.get("trajectory_log")
    for timed in [*(steps if isinstance(steps, list) else []), envelope.get("feedback")]:
        if isinstance(timed, dict) and isinstance(timed.get("timestamp"), int | float):
            timed["timestamp"] = NOW_S
    metadata = envelope.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("model_engine"), str):
        metadata["model_engine"] = re.sub("[\x00-\x1f\x7f-\x9f\ufffd]", "m", metadata["model_engine"])
    return envelope


def _is_taken(value: Any) -> bool:
    """Whether an authentic body would be stored."""
    body = canonicalise(dumps(value).encode("utf-8", "surrogatepass"))
    envelope = read_envelope(body, nesting_max=SCHEMA.nesting_max, members_max=SCHEMA.members_max)
    if isinstance(envelope, Refusal) or SESSION_ID.fullmatch(envelope.session_id) is None:
        return False
    return envelope.attestation is not None and not isinstance(check(envelope, SCHEMA, NOW_S), Refusal)
