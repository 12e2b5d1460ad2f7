"""The description at `/openapi.json` says what the endpoints do: all of them, and all that they answer."""

import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from actors.envelopes.refusals import InvalidPublicKey, Refusal, RefusalCode
from actors.envelopes.schema import _KNOWN_IN_METADATA, _KNOWN_IN_STEP
from actors.envelopes.settings import SchemaSettings
from actors.sessions.outcomes import (
    Accepted,
    ActorFailed,
    Busy,
    BusyReason,
    Closed,
    Credit,
    FullReason,
    KeyConflict,
    MachineLimit,
    Opened,
    StorageFull,
    UnknownSession,
)
from central_command.http.description.openapi import OPENAPI_PATH, openapi_document
from central_command.http.gateway import Readiness
from central_command.http.requests.direct import UNSUPPORTED_ENCODING, body_too_large, body_too_slow
from central_command.http.requests.exchange import PROBE_PATHS
from central_command.http.requests.replies import (
    BATCH_PATH,
    INGEST_PATH,
    HttpProblem,
    Replies,
    Reply,
    problem,
    result_line,
)
from central_command.http.settings import HttpSettings
from tests.bad_input.corpus import all_cases
from tests.bad_input.recipes import bytes_to_send, template
from tests.signing_client import SigningClient

SETTINGS = HttpSettings()
REPLIES = Replies(SETTINGS)
DOCUMENT = openapi_document(SETTINGS, SchemaSettings())
KEY = SigningClient("sess_1").public_key
UNABLE = [
    *(Busy(reason) for reason in BusyReason),
    *(StorageFull(reason) for reason in FullReason),
    ActorFailed(),
]
ENVELOPE_ID = "env_0d3e4f5a-0000-4000-8000-000000000000"
PROBLEMS = [
    UNSUPPORTED_ENCODING,
    body_too_large(SETTINGS),
    body_too_slow(SETTINGS),
    REPLIES.bodies_full(),
    REPLIES.overloaded("overloaded", "Too much."),
    HttpProblem(429, "rate_limited", "Too many.", retry_after_s=3),
    HttpProblem(500, "internal_error", "Failed."),
    HttpProblem(505, "http_version", "Not this one."),
]
BEYOND_JSON_SCHEMA = {
    "envelopes/model-engine-with-a-nul",
    "envelopes/model-engine-a-lone-surrogate",
    *(f"envelopes/step-timestamp-{which}" for which in ("too-old", "too-far-ahead", "too-old-in-milliseconds")),
    *(f"envelopes/step-timestamp-{which}" for which in ("zero", "negative")),
    "envelopes/feedback-timestamp-too-old",
    # A number that JSON Schema counts among the integers.
    *("envelopes/chunk-sequence-a-float", "envelopes/team-size-a-float", "envelopes/step-number-a-float"),
    "envelopes/close-total-steps-a-float",
}
"""What the schema refuses and a JSON Schema cannot, or only in words."""


def faults(schema: dict[str, Any], value: object) -> list[str]:
    """What is wrong with a value, by the description."""
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    return [error.message for error in validator.iter_errors(value)]


def check_described(method: str, path: str, reply: Reply) -> None:
    """The answer's status, body and headers are those of the description."""
    described = DOCUMENT["paths"][path][method]["responses"][str(reply.status)]
    assert faults(described["content"]["application/json"]["schema"], json.loads(reply.body)) == []
    on_every_answer = {"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "X-Request-Id"}
    assert on_every_answer <= set(described["headers"])
    own = set(described["headers"]) - on_every_answer
    assert own == {name for name, _ in reply.headers}


async def test_it_has_every_route_and_no_other(make_app: Any) -> None:
    """Paths and methods are those of the application; HEAD and OPTIONS are told once for all."""
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule)), method)
        for rule in make_app().url_map.iter_rules()
        for method in rule.methods
        if method not in {"HEAD", "OPTIONS"}
    }
    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == routes


async def test_it_is_served(client: Any) -> None:
    """As JSON, with the bounds of the settings."""
    answer = await client.get(OPENAPI_PATH)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert await answer.get_json() == json.loads(msgspec.json.encode(DOCUMENT))


def test_it_follows_the_settings() -> None:
    """Another bound is another description."""
    document = openapi_document(HttpSettings(daily_days_max=9), SchemaSettings(steps_max=8, providers=("own",)))
    [days] = document["paths"]["/v1/stats/daily"]["get"]["parameters"]
    schemas = document["components"]["schemas"]
    assert days["schema"]["maximum"] == 9
    assert schemas["Chunk"]["properties"]["trajectory_log"]["maxItems"] == 8
    assert schemas["Metadata"]["properties"]["provider"]["enum"] == ["own"]


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(ENVELOPE_ID),
        Accepted(ENVELOPE_ID, duplicate=True),
        *(Refusal(code, "No.") for code in RefusalCode),
        *UNABLE,
    ],
    ids=repr,
)
def test_every_answer_to_an_envelope_is_described(outcome: Any) -> None:
    """Each outcome's status, with its code among those of that status."""
    reply = REPLIES.ingested(outcome)
    check_described("post", INGEST_PATH, reply)
    assert faults({"$ref": "#/components/schemas/BatchResult"}, json.loads(result_line(reply))) == []


@pytest.mark.parametrize(
    "outcome",
    [Opened(KEY), KeyConflict(), InvalidPublicKey("No."), MachineLimit(7), *UNABLE],
    ids=lambda outcome: repr(outcome).replace(KEY, "key"),
)
def test_every_answer_to_an_opening_is_described(outcome: Any) -> None:
    """Each outcome's status and body."""
    check_described("post", "/v1/sessions/open", REPLIES.opened(outcome))


@pytest.mark.parametrize(
    "outcome",
    [
        Closed(already_closed=False, credit=None),
        Closed(already_closed=True, credit=Credit(total_points=1.5, total_steps=2)),
        Closed(
            already_closed=True,
            credit=Credit(total_points=0, total_steps=2, copied_steps=2, copied_from="sess_1", has_model_tier=False),
        ),
        UnknownSession(),
        *UNABLE,
    ],
    ids=repr,
)
def test_every_answer_to_a_close_is_described(outcome: Any) -> None:
    """Each outcome's status and body."""
    check_described("post", "/v1/sessions/close", REPLIES.closed(outcome))


@pytest.mark.parametrize("found", PROBLEMS, ids=lambda found: found.code)
@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_what_is_wrong_as_http_is_described_on_every_path(path: str, found: HttpProblem) -> None:
    """Bodies only where there are any; probes are neither limited nor refused."""
    for method in DOCUMENT["paths"][path]:
        is_possible = (method == "post" or found.status not in {408, 413, 415}) and (
            path not in PROBE_PATHS or found.status not in {429, 503}
        )
        if is_possible:
            check_described(method, path, problem(path, found))


@pytest.mark.parametrize("code", ["empty_batch", "too_many_lines"])
def test_what_is_no_batch_is_described(code: str) -> None:
    """Both ways in which a body holds no batch."""
    check_described("post", BATCH_PATH, problem(BATCH_PATH, HttpProblem(400, code, "No.")))


def test_readiness_is_described() -> None:
    """Both ways."""
    for ready in (True, False):
        check_described("get", "/ready", REPLIES.ready(Readiness(ready=ready, checks={"disk": "ok"})))


@pytest.mark.parametrize(
    ("kind", "name"), [("chunk", "Chunk"), ("close", "SessionClose"), ("feedback", "UserFeedback")]
)
def test_what_clients_send_is_described(kind: str, name: str) -> None:
    """Each kind fits its own schema and no other."""
    envelope = template(kind, SigningClient("sess_1"))
    envelope["attestation"] = {"session_hmac": "a" * 64, "sequence": 0, "app_version_hash": "b" * 64}
    for each in ("Chunk", "SessionClose", "UserFeedback"):
        found = faults({"$ref": f"#/components/schemas/{each}"}, envelope)
        assert (found == []) is (each == name), found


def test_members_that_the_server_knows_and_does_not_bound_are_named() -> None:
    """With a word of each, and no type: whatever stands there is taken, as it was."""
    schemas = DOCUMENT["components"]["schemas"]
    for schema, known in (("Step", _KNOWN_IN_STEP), ("Metadata", _KNOWN_IN_METADATA)):
        described = schemas[schema]["properties"]
        assert set(known) <= set(described)
        for name in set(known) - {"time_shift_s"}:
            assert described[name].keys() == {"description", "examples"}, name


def test_what_the_schema_refuses_is_not_described() -> None:
    """Each authentic envelope of the corpus that is refused does not fit the description either."""
    body = DOCUMENT["paths"][INGEST_PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    taken = set()
    for name, case in all_cases().items():
        if name.startswith("envelopes/"):
            client = SigningClient("sess_1")
            client.secret = b"k" * 32
            sent = bytes_to_send(name, case, {name: client}).body
            assert sent is not None
            if not faults(body, json.loads(sent)):
                taken.add(name)
    assert taken == BEYOND_JSON_SCHEMA
