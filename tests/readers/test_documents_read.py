"""Documents read by the models of whoever defined them: `atif` and harbor, the protobuf of OTLP, OpenAI's types.

harbor's own wheel asks for a newer Python; its models do not, and are read from the unpacked wheel.
"""

import base64
import json
from typing import Any

import msgspec
import pytest
from atif import Trajectory as Atif
from google.protobuf.json_format import ParseDict
from harbor.models.trajectories import Trajectory as Harbor
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from pydantic import TypeAdapter

from central_command.corpus.trajectory import Embedded, Trajectory
from central_command.exporting.formats import atif, openai, otel
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Shape
from tests.central_command.exporting.sessions import asked, call, done, result, trajectory, whole_session
from tests.readers.marked import generated, sessions

SESSIONS = sessions()
EACH = pytest.mark.parametrize("session", SESSIONS.values(), ids=SESSIONS)
MESSAGE: TypeAdapter[Any] = TypeAdapter(ChatCompletionMessageParam)
TOOL: TypeAdapter[Any] = TypeAdapter(ChatCompletionToolParam)


def with_subagents() -> Trajectory:
    """A session with a sub-agent that has one of its own; the second one of the same id is there once."""
    deepest = trajectory(asked("deepest"), done(), trajectory_id="traj_3", agent_role="subagent")
    child = trajectory(
        asked("child"),
        call("a", "Task", prompt="deepest"),
        result("a"),
        trajectory_id="traj_2",
        agent_role="subagent",
        subagents=[msgspec.to_builtins(Embedded(deepest, 1))],
    )
    other = msgspec.structs.replace(deepest, trajectory_id="traj_4")
    embedded = [Embedded(child, 1), Embedded(child, 1), Embedded(other)]
    return trajectory(
        asked("parent"),
        call("a", "Task", prompt="child"),
        result("a"),
        done(),
        subagents=[msgspec.to_builtins(each) for each in embedded],
    )


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


@EACH
@pytest.mark.parametrize("model", [Atif, Harbor])
def test_atif_is_valid(session: Trajectory, model: Any) -> None:
    (document,) = atif.rows(session, Shape())
    read = model.model_validate(plain(document))
    assert read.schema_version == "ATIF-v1.7"
    assert read.to_json_dict() == plain(document), "every member is one of theirs, and has a value"


@pytest.mark.parametrize("model", [Atif, Harbor])
def test_atif_refers_to_its_subagents(model: Any) -> None:
    (document,) = atif.rows(with_subagents(), Shape())
    read = model.model_validate(plain(document))
    assert [each.trajectory_id for each in read.subagent_trajectories] == ["traj_2", "traj_4"]
    (child, _) = read.subagent_trajectories
    assert [each.trajectory_id for each in child.subagent_trajectories] == ["traj_3"]
    for parent, reference in ((read, "traj_2"), (child, "traj_3")):
        (found,) = parent.steps[1].observation.results
        assert found.source_call_id == "a"
        assert found.content == "1 passed"
        assert [each.trajectory_id for each in found.subagent_trajectory_ref][:1] == [reference]


@EACH
def test_otlp_is_what_its_protobuf_says(session: Trajectory) -> None:
    (trace,) = otel.rows(session, Shape())
    read = ParseDict(_with_base64_ids(trace), TracesData())
    found = read.resource_spans[0].scope_spans[0].spans
    ids = {span.span_id for span in found}
    assert len(ids) == len(found)
    assert {len(span.trace_id) for span in found} == {16}
    assert {len(each) for each in ids} == {8}
    assert all(not span.parent_span_id or span.parent_span_id in ids for span in found)
    assert all(0 <= span.start_time_unix_nano <= span.end_time_unix_nano for span in found)


def _with_base64_ids(trace: Any) -> Any:
    """The same as ProtoJSON has bytes: OTLP's own rule is hexadecimal."""
    row = plain(trace)
    for span in row["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return row


def test_sub_agents_are_within_the_call_that_began_them() -> None:
    (trace,) = otel.rows(with_subagents(), Shape())
    spans = plain(trace)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    by_id = {span["spanId"]: span for span in spans}
    agents = [span for span in spans if span["name"].startswith("invoke_agent")]
    above = [by_id[span["parentSpanId"]]["name"] for span in agents if "parentSpanId" in span]
    assert above == ["execute_tool Task", "execute_tool Task", "invoke_agent claude-code"]


@EACH
def test_rows_of_openai_have_its_types(session: Trajectory) -> None:
    try:
        (row,) = openai.rows(session, Shape())
    except LeftOut:
        return
    read = plain(row)
    assert set(read) <= {"messages", "tools", "parallel_tool_calls"}
    waiting: set[str] = set()
    for message in read["messages"]:
        weight = message.pop("weight", None)
        assert (message["role"] == "assistant") == (weight in {0, 1})
        MESSAGE.validate_python(message)
        assert (message["role"] == "tool") == bool(waiting), "results stand right behind their calls"
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        waiting |= {each["id"] for each in message.get("tool_calls", [])}
        for each in message.get("tool_calls", []):
            assert isinstance(json.loads(each["function"]["arguments"]), dict)
    last = read["messages"][-1]
    assert last["role"] == "assistant"
    assert waiting == {each["id"] for each in last.get("tool_calls", [])}
    for tool in read.get("tools", []):
        TOOL.validate_python(tool)


def test_thousands_of_generated_sessions_are_valid() -> None:
    kept = 0
    for session in generated(5_000):
        try:
            (document,) = atif.rows(session, Shape())
        except LeftOut:
            continue
        kept += 1
        Atif.model_validate(document)
        (trace,) = otel.rows(session, Shape())
        ParseDict(_with_base64_ids(trace), TracesData())
    assert kept > 4_900


def test_every_tool_that_is_called_is_declared() -> None:
    (row,) = openai.rows(whole_session(), Shape())
    read = plain(row)
    called = {each["function"]["name"] for message in read["messages"] for each in message.get("tool_calls", [])}
    assert called == {tool["function"]["name"] for tool in read["tools"]} == {"Bash", "Read", "Grep"}
