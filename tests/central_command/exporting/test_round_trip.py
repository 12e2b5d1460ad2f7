"""Nothing that people, agents and tools said is lost or doubled: each format has the texts, and by type."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import JOINT
from central_command.exporting.formats import atif, messages, otel, traces
from central_command.exporting.formats.table import FORMATS
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Shape
from tests.central_command.exporting.sessions import (
    generated_sessions,
    of_every_type,
    real_sessions,
    spoken,
    whole_session,
)

WHOLE = Shape(keep_incomplete=True)
SESSIONS = {"whole": whole_session(), "every type": of_every_type(), **real_sessions()}
EACH = pytest.mark.parametrize("session", SESSIONS.values(), ids=SESSIONS)
GENERATED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

Texts = Iterator[tuple[str, str]]


def by_type(texts: Texts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, text in texts:
        if text:
            found.setdefault(kind, []).append(text)
    return {kind: sorted(each) for kind, each in found.items()}


def parts(text: str, origins: list[Any]) -> Texts:
    """The texts of the steps within a joined one; what is left over is a fault."""
    at = 0
    for number, origin in enumerate(origins):
        if number:
            assert text[at : at + len(JOINT)] == JOINT
            at += len(JOINT)
        yield origin["type"], text[at : at + origin["chars"]]
        at += origin["chars"]
    assert at == len(text)


def of_messages(row: Any) -> Texts:
    for place, message in enumerate(row["messages"]):
        for member in ("content", "reasoning_content"):
            origins = [each for each in row["origins"] if each["message"] == place and each["member"] == member]
            yield from parts(message.get(member, ""), origins)


def of_atif(document: Any) -> Texts:
    for step in document["steps"]:
        for member in ("message", "reasoning_content"):
            origins = [each for each in step.get("extra", {}).get("steps", []) if each["member"] == member]
            yield from parts(step.get(member, ""), origins)
        for each in step.get("observation", {"results": []})["results"]:
            yield each["extra"]["type"], each["content"]


def calls_of(session: Trajectory) -> list[tuple[str, Any]]:
    return [(step.tool or "unnamed", step.arguments or {}) for step in session.steps if step.type == "action"]


@EACH
def test_messages_have_every_text_once(session: Trajectory) -> None:
    try:
        (row,) = messages.rows(session, WHOLE)
    except LeftOut:
        return
    assert by_type(of_messages(row)) == spoken(session)


@EACH
def test_atif_has_every_text_once(session: Trajectory) -> None:
    (document,) = atif.rows(session, Shape())
    assert by_type(of_atif(document)) == spoken(session)


@EACH
def test_atif_and_messages_have_the_same_calls(session: Trajectory) -> None:
    (document,) = atif.rows(session, Shape())
    in_atif: list[Any] = [
        (each["function_name"], each["arguments"])
        for step in plain(document["steps"])
        for each in step.get("tool_calls", [])
    ]
    assert in_atif == calls_of(session)
    try:
        (row,) = messages.rows(session, WHOLE)
    except LeftOut:
        return
    in_chat = [each["function"] for message in plain(row["messages"]) for each in message.get("tool_calls", [])]
    assert [(each["name"], each["arguments"]) for each in in_chat] == in_atif


@EACH
def test_what_is_dropped_at_the_end_is_counted(session: Trajectory) -> None:
    try:
        (kept,) = messages.rows(session, Shape())
        (whole,) = messages.rows(session, WHOLE)
    except LeftOut:
        return
    here, there = kept["origins"], whole["origins"]
    assert isinstance(here, list)
    assert isinstance(there, list)
    assert there[: len(here)] == here
    assert len({each["step"] for each in there[len(here) :]}) <= int(str(kept["dropped_steps"]))


@given(generated_sessions())
@GENERATED
def test_generated_sessions_lose_nothing(session: Trajectory) -> None:
    try:
        (document,) = atif.rows(session, Shape())
        assert by_type(of_atif(document)) == spoken(session)
        (row,) = messages.rows(session, WHOLE)
    except LeftOut:
        return
    assert by_type(of_messages(row)) == spoken(session)


@given(generated_sessions())
@GENERATED
def test_every_format_says_any_session_or_why_not(session: Trajectory) -> None:
    for each in (known for known in FORMATS.values() if known.of_line is known.of_record is None):
        try:
            rows = list(each.rows(session, Shape()))
        except LeftOut:
            continue
        assert rows
        assert rows == list(each.rows(session, Shape()))
        assert plain(rows) == rows, "what is written reads back the same"


@EACH
def test_traces_have_every_message(session: Trajectory) -> None:
    lines = plain(list(traces.rows(session, Shape())))
    assert lines[0]["type"] == "session"
    said = "".join(
        line["message"]["content"] + line["message"].get("reasoningContent", "") for line in lines[1:]
    ).replace(JOINT, "")
    texts = [text for each in spoken(session).values() for text in each]
    assert len(said) == len("".join(texts).replace(JOINT, "")), "or a text begins with one line end"
    assert all(text.replace(JOINT, "") in said for text in texts)


@EACH
def test_otel_messages_have_every_text(session: Trajectory) -> None:
    (trace,) = otel.rows(session, Shape())
    found: list[str] = []
    spans = plain(trace)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span in spans:
        for attribute in span["attributes"]:
            if attribute["key"] == "gen_ai.tool.call.result":
                found.append(attribute["value"]["stringValue"])
            if attribute["key"] in {"gen_ai.input.messages", "gen_ai.output.messages"}:
                for message in json.loads(attribute["value"]["stringValue"]):
                    found += [part["content"] for part in message["parts"] if "content" in part]
    assert sorted(filter(None, found)) == sorted(text for each in spoken(session).values() for text in each)


def plain(value: Any) -> Any:
    """A value as it reads back from JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
