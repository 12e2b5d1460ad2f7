"""Requests made from the description, good ones and broken ones: the running server answers all of them as described.

Schemathesis makes the requests and checks the answers. They are the same in every run, so that nothing fails by chance.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

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
from central_command.http.description.openapi import openapi_document
from central_command.http.requests.first_bytes import SESSION_ID
from central_command.http.requests.replies import NDJSON_TYPE
from central_command.http.settings import HttpSettings
from tests.server_process import INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps

LOADED_S_MAX = 60.0
NOW_S = 1_800_000_000.0
SCHEMA = SchemaSettings()
DOCUMENT = openapi_document(HttpSettings(), SCHEMA)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
KEY = SigningClient("sess_1").public_key
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
def results_of(_: object, response: Any) -> str:
    """A batch's answer, found to be results, a line each."""
    text: str = response.content.decode()
    for line in text.splitlines():
        RESULT.validate(json.loads(line))
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with its model loaded: without one, each good request for an embedding would be a 503."""
    root = tmp_path_factory.mktemp("described") / "data"
    with ServerProcess(root, settings={"CENTRAL_COMMAND__EMBEDDING__ENABLED": "true"}) as running:
        deadline = time.monotonic() + LOADED_S_MAX
        while running.get("/ready").members["checks"]["embedding"] != "ok":
            assert time.monotonic() < deadline, running.said
        yield running
        assert running.terminate() == 0


@pytest.fixture(scope="module")
def description(server: ServerProcess) -> Any:
    """The description that the server serves, found to be OpenAPI."""
    found = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found.validate()
    return found


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_request_is_answered_as_described(path: str, method: str, mode: GenerationMode, description: Any) -> None:
    """No fault of the server, and a status, headers and body that the description has; what is broken is refused."""
    operation = description[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and not operation.body and not operation.query:
        return  # nothing can be broken in what has neither body nor parameters

    @always_the_same(20 if operation.body else 10)
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if path == OPEN and mode is GenerationMode.POSITIVE:
            case.body["public_key"] = KEY  # that a point is on the curve is more than a schema can say
        case.call_and_validate(checks=[*CHECKS, *_checks_of(path, case, mode)])

    send()


def _checks_of(path: str, case: Any, mode: GenerationMode) -> list[Any]:
    """What is good is taken and what is broken is refused, wherever the status says so."""
    if mode is GenerationMode.NEGATIVE:
        # Envelopes are refused with a 200 and `accepted: false`.
        return [] if path.startswith(INGEST) else [negative_data_rejection]
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
