"""What each format of whole sessions says, where its readers' rules leave a choice, and what labels are from."""

import json
from typing import Any

import pytest

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.formats import atif, dpo, kto, otel, sharegpt, swe_agent, traces
from central_command.exporting.formats.format import Format
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Shape
from tests.central_command.exporting.sessions import (
    asked,
    call,
    corrected,
    done,
    failed,
    result,
    said,
    thinking,
    trajectory,
    whole_session,
)


def one(known: Format, session: Trajectory, **shape: Any) -> Any:
    (row,) = known.rows(session, Shape(**shape))
    return row


def reason(known: Format, session: Trajectory) -> LeftOutReason:
    with pytest.raises(LeftOut) as raised:
        list(known.rows(session, Shape()))
    return raised.value.reason


# ATIF


def test_atif_puts_a_result_without_call_beside_the_step_before_it() -> None:
    document = one(atif.ATIF, trajectory(asked("q"), said("s"), result(None, "r"), asked("t"), failed(None, "u")))
    said_, user, system = document["steps"][1:]
    assert [each["content"] for each in said_["observation"]["results"]] == ["r"]
    assert "source_call_id" not in said_["observation"]["results"][0]
    assert (user["source"], system["source"], system["message"]) == ("user", "system", "")
    assert system["observation"]["results"][0]["extra"]["is_error"] is True
    assert [step["step_id"] for step in document["steps"]] == [1, 2, 3, 4]


def test_atif_says_compaction_as_it_wants_it_said() -> None:
    document = one(atif.ATIF, trajectory(asked("q"), said("s"), asked("summary", intent="compaction"), said("t")))
    step = document["steps"][2]
    assert (step["source"], step["message"]) == ("system", "summary")
    assert step["extra"]["context_management"] == {"type": "compaction", "boundary": "replace"}


def test_atif_has_reported_tokens_and_no_estimates() -> None:
    usage = {"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4, "cache_write_tokens": 1}
    document = one(
        atif.ATIF,
        trajectory(
            asked("q", token_count=7), said("s", usage=usage), call("a") | {"usage": usage}, result("a"), said("t")
        ),
    )
    counts = {"prompt_tokens": 20, "completion_tokens": 4, "cached_tokens": 8, "extra": {"cache_write_tokens": 2}}
    assert document["steps"][1]["metrics"] == counts
    assert document["steps"][1]["llm_call_count"] == 2
    assert "metrics" not in document["steps"][2]
    assert document["final_metrics"] == {
        "total_prompt_tokens": 20,
        "total_completion_tokens": 4,
        "total_cached_tokens": 8,
        "total_steps": 3,
    }
    assert '"7"' not in json.dumps(document)


def test_atif_marks_what_is_copied_and_tells_outcome_and_feedback() -> None:
    document = one(
        atif.ATIF,
        trajectory(
            asked(),
            said(),
            asked(),
            said(),
            copied_from=[{"from_step": 1, "to_step": 2}],
            outcome={"status": "CRASH"},
            feedback=[{"signal": "rejected", "context": "no"}],
            credit={"totalPoints": 18.0},
        ),
    )
    assert [step.get("is_copied_context") for step in document["steps"]] == [True, True, None, None]
    extra = document["extra"]
    assert extra["outcome"] == {"status": "CRASH"}
    assert extra["feedback"] == [{"signal": "rejected", "timestamp": 0.0, "context": "no"}]
    assert extra["credit"]["totalPoints"] == 18.0
    assert extra["incomplete"] is False


def test_atif_keeps_a_call_that_nobody_answered() -> None:
    document = one(atif.ATIF, trajectory(asked(), call("a", command="ls")))
    assert "observation" not in document["steps"][1]
    assert document["extra"]["incomplete"] is True


# SWE-agent


def test_swe_agent_has_an_item_for_each_call() -> None:
    row = one(swe_agent.SWE_AGENT, whole_session(outcome={"status": "SUCCESS"}))
    first, second, third = row["trajectory"]
    assert (first["action"], first["observation"]) == ("pytest", "1 failed")
    assert (first["thought"], first["response"], first["execution_time"]) == ("It may be the clock.", "I run it.", 1.0)
    assert second["action"] == 'Read {"path":"a.py","lines":[1,20]}'
    assert (third["thought"], third["response"]) == ("", "")
    assert [item["query"] for item in (first, second)] == [[], []]
    assert third["query"] == row["history"]
    assert [entry["message_type"] for entry in row["history"]] == [
        *("observation", "action", "observation", "action", "observation", "observation", "action")
    ]
    assert row["info"]["exit_status"] == "submitted"
    assert row["info"]["model_stats"] == {"api_calls": 3}


def test_swe_agent_takes_no_session_without_calls() -> None:
    assert reason(swe_agent.SWE_AGENT, trajectory(asked(), said())) is LeftOutReason.NO_CALLS


@pytest.mark.parametrize(
    ("tool", "arguments", "action"),
    [
        ("Bash", {"command": "ls -l"}, "ls -l"),
        ("shell", {"command": ["bash", "-c", "ls -l"]}, "bash -c 'ls -l'"),
        ("str_replace_editor", {"command": "view", "path": "a"}, 'str_replace_editor {"command":"view","path":"a"}'),
        ("Read", {}, "Read {}"),
    ],
)
def test_an_action_is_the_command_of_a_shell_or_the_call(tool: str, arguments: Any, action: str) -> None:
    assert swe_agent.action_of(tool, arguments) == action


# Traces of the Hub


def test_traces_have_what_the_viewer_reads() -> None:
    first, *others = traces.TRACES.rows(whole_session(), Shape())
    assert (first["type"], first["harness"], first["id"]) == ("session", "claude-code", "sess_1")
    messages: list[Any] = [line["message"] for line in others]
    assert messages[1]["reasoningContent"] == "It may be the clock."
    (called,) = messages[1]["toolCalls"]
    assert json.loads(called["function"]["arguments"]) == {"command": "pytest", "timeout": 30}
    assert messages[2]["toolCallId"] == called["id"] == "a"
    assert messages[0]["timestamp"] == 1_795_169_531_250
    assert messages[1]["model"] == "claude-opus-4-6"


# OpenTelemetry


def test_spans_are_one_in_the_other_and_messages_are_told_once() -> None:
    usage = {"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4}
    session = trajectory(
        asked("q"), thinking("t"), call("a", command="ls") | {"usage": usage}, failed("a", "r"), said("s")
    )
    (scope,) = one(otel.OTEL, session)["resourceSpans"][0]["scopeSpans"]
    root, chat, tool, last = scope["spans"]
    assert [span["name"] for span in scope["spans"]] == [
        *("invoke_agent claude-code", "chat claude-opus-4-6", "execute_tool Bash", "chat claude-opus-4-6")
    ]
    assert [span["kind"] for span in scope["spans"]] == [1, 3, 1, 3]
    assert {span.get("parentSpanId") for span in (chat, tool, last)} == {root["spanId"]}
    attributes = {each["key"]: each["value"] for each in chat["attributes"]}
    assert attributes["gen_ai.usage.input_tokens"] == {"intValue": "10"}
    assert json.loads(attributes["gen_ai.output.messages"]["stringValue"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "t"},
                {"type": "tool_call", "id": "a", "name": "Bash", "arguments": {"command": "ls"}},
            ],
            "finish_reason": "tool_call",
        }
    ]
    assert tool["status"] == {"code": 2}
    given = {each["key"]: each["value"] for each in last["attributes"]}["gen_ai.input.messages"]["stringValue"]
    assert json.loads(given) == [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "a", "response": "r"}]}
    ]


def test_parts_of_a_session_have_ids_of_their_own() -> None:
    parts = [trajectory(asked(), said(), part=part, parts=2) for part in (1, 2)]
    spans = [one(otel.OTEL, each)["resourceSpans"][0]["scopeSpans"][0]["spans"] for each in parts]
    assert len({span["spanId"] for each in spans for span in each}) == 4
    assert len({span["traceId"] for each in spans for span in each}) == 1
    assert [one(atif.ATIF, each)["trajectory_id"] for each in parts] == ["traj_1-1", "traj_1-2"]


# LLaMA-Factory


def sides(session: Trajectory, **shape: Any) -> list[tuple[str, str]]:
    return [(turn["from"], turn["value"]) for turn in one(sharegpt.SHAREGPT, session, **shape)["conversations"]]


def test_what_comes_in_a_row_is_one_turn() -> None:
    session = trajectory(
        asked("q"),
        asked("r"),
        call("a"),
        call("b"),
        result("a", "1"),
        result("b", "2"),
        asked("stop"),
        said("s"),
        asked("end"),
    )
    assert sides(session)[0] == ("human", "q\n\nr")
    assert sides(session)[2:] == [
        ("observation", "1\n</tool_response>\n<tool_response>\n2\n\nstop"),
        ("gpt", "s"),
    ]


def test_a_first_message_of_the_system_is_the_column() -> None:
    session = trajectory(asked("p", source="program"), asked("q"), said("s"))
    row = one(sharegpt.SHAREGPT, session)
    assert row["system"] == "p"
    assert sides(session) == [("human", "q"), ("gpt", "s")]


def test_two_turns_of_the_agent_that_cannot_be_one_are_left_out() -> None:
    session = trajectory(asked(), call("a"), {"type": "approval"}, said(), asked())
    assert reason(sharegpt.SHAREGPT, session) is LeftOutReason.NOT_ALTERNATING


@pytest.mark.parametrize("text", ["see <tool_call>", "</think>"])
def test_marks_in_reasoning_before_a_call_are_left_out(text: str) -> None:
    session = trajectory(asked(), thinking(text), call("a"), result("a"), said())
    assert reason(sharegpt.SHAREGPT, session) is LeftOutReason.MARKS


def test_sharegpt_says_a_label_where_there_is_one() -> None:
    row = one(sharegpt.SHAREGPT, whole_session(outcome={"status": "CRASH"}))
    assert (row["kto_tag"], row["kto_tag_source"]) == (False, "outcome")
    assert one(sharegpt.SHAREGPT, whole_session())["kto_tag"] is None


# Labels


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"feedback": [{"signal": "accepted"}], "outcome": {"status": "CRASH"}}, (True, "feedback")),
        ({"feedback": [{"signal": "accepted"}, {"signal": "rejected"}]}, (False, "feedback")),
        ({"outcome": {"status": "SUCCESS"}}, (True, "outcome")),
        ({"outcome": {"status": "CRASH"}}, (False, "outcome")),
        ({"feedback": [{"signal": "modified"}], "outcome": {"status": "SUCCESS"}}, None),
        ({"feedback": [{"signal": "iterated"}]}, None),
        ({"outcome": {"status": "KILLED"}}, None),
        ({"outcome": {"status": "SHUTDOWN"}}, None),
        ({"outcome": {"status": "SUCCESS"}, "part": 1, "parts": 2}, None),
        ({"enrichment": {"derived": {"outcome": "success", "feedback": "accepted"}}}, None),
        ({"credit": {"totalPoints": 900.0}}, None),
        ({}, None),
    ],
)
def test_a_label_is_what_somebody_said_and_nothing_else(members: Any, label: tuple[bool, str] | None) -> None:
    session = whole_session(**members)
    if label is None:
        assert reason(kto.KTO, session) is LeftOutReason.NO_LABEL
    else:
        row = one(kto.KTO, session)
        assert (row["label"], row["label_source"]) == label


def test_feedback_is_about_what_there_was_then() -> None:
    feedback = [{"signal": "rejected", "target_step": 4}]
    row = one(
        kto.KTO, trajectory(asked("q"), said("s"), asked("r"), said("t"), asked("u"), said("v"), feedback=feedback)
    )
    assert [message["content"] for message in (*row["prompt"], *row["completion"])] == ["q", "s", "r", "t"]
    assert len(row["completion"]) == 1


def test_a_completion_is_all_that_was_done_for_the_last_request() -> None:
    session = trajectory(
        asked(),
        said(),
        asked(),
        call("a"),
        result("a"),
        failed("x"),
        done(),
        asked("bye"),
        feedback=[{"signal": "accepted"}],
    )
    row = one(kto.KTO, session)
    assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
    assert [message["role"] for message in row["completion"]] == ["assistant", "tool", "user", "assistant"]


def test_a_prompt_never_ends_with_the_system() -> None:
    session = trajectory(asked("q"), asked("p", source="program"), said("a"), outcome={"status": "SUCCESS"})
    row = one(kto.KTO, session)
    assert [(message["role"], message["content"]) for message in row["prompt"]] == [("user", "q"), ("user", "p")]


def test_a_response_that_was_corrected_is_rejected_for_the_next() -> None:
    session = trajectory(asked("q"), said("1"), corrected("no"), said("2"), corrected("nor that"), said("3"))
    (row,) = dpo.DPO.rows(session, Shape())
    contents: Any = [[message["content"] for message in row[name]] for name in ("prompt", "rejected", "chosen")]  # type: ignore[attr-defined]
    assert contents == [["q", "1", "no"], ["2"], ["3"]]
    assert (row["label_source"], row["correction"], row["correction_step"]) == ("correction", "nor that", 5)


@pytest.mark.parametrize(
    "session",
    [
        whole_session(feedback=[{"signal": "accepted"}]),
        trajectory(asked(), said("1"), corrected(), said("1")),
        trajectory(asked(), said("1"), corrected()),
        trajectory(asked(), said("1"), corrected(), said("2"), feedback=[{"signal": "rejected"}]),
        trajectory(asked(), said("1"), corrected("by itself", source="agent"), said("2")),
    ],
)
def test_where_nothing_was_preferred_there_is_no_pair(session: Trajectory) -> None:
    assert reason(dpo.DPO, session) is LeftOutReason.NO_PAIR
