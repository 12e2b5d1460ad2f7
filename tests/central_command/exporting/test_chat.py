"""Chats in every shape: reasoning, parallel calls, the system's messages, calls that nobody answered."""

from typing import Any

import msgspec
import pytest

from central_command.corpus.trajectory import Embedded, Trajectory
from central_command.exporting.formats import messages, openai
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Shape
from tests.central_command.exporting.sessions import (
    asked,
    call,
    done,
    failed,
    result,
    said,
    thinking,
    trajectory,
    whole_session,
)


def chat(session: Trajectory, **shape: Any) -> list[dict[str, Any]]:
    (row,) = messages.rows(session, Shape(**shape))
    found: Any = row["messages"]
    return list(found)


def left_out(session: Trajectory, **shape: Any) -> LeftOutReason:
    with pytest.raises(LeftOut) as raised:
        messages.rows(session, Shape(**shape))
    return raised.value.reason


def test_a_session_as_messages() -> None:
    assert chat(whole_session())[:3] == [
        {"role": "user", "content": "Fix the test"},
        {
            "role": "assistant",
            "content": "I run it.",
            "reasoning_content": "It may be the clock.",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "Bash", "arguments": {"command": "pytest", "timeout": 30}},
                }
            ],
        },
        {"role": "tool", "content": "1 failed", "tool_call_id": "a", "name": "Bash"},
    ]


def test_content_is_never_null_and_no_key_is_padded() -> None:
    for message in chat(trajectory(asked(), call("a", command="ls"), result("a", None), done())):
        assert isinstance(message["content"], str)
        assert None not in message.values()


@pytest.mark.parametrize(
    ("shape", "members"),
    [
        ({}, {"content": "s", "reasoning_content": "t"}),
        ({"reasoning_key": "reasoning"}, {"content": "s", "reasoning": "t"}),
        ({"reasoning": "inline"}, {"content": "<think>\nt\n</think>\n\ns"}),
        ({"reasoning": "drop"}, {"content": "s"}),
    ],
)
def test_reasoning_is_where_it_is_asked_for(shape: Any, members: dict[str, str]) -> None:
    (_, answer) = chat(trajectory(asked(), thinking("t"), said("s")), **shape)
    assert answer == {"role": "assistant", **members}


def test_reasoning_of_the_last_request_alone() -> None:
    session = trajectory(asked(), thinking("1"), said("a"), asked(), thinking("2"), call(), result(), thinking("3"))
    reasons = [message.get("reasoning_content") for message in chat(session, reasoning="last-only")]
    assert reasons == [None, None, None, "2", None, "3"]


def test_reasoning_that_stood_alone_leaves_no_empty_message() -> None:
    session = trajectory(asked("q"), thinking("t"), asked("r"), said("s"))
    assert [message["content"] for message in chat(session, reasoning="drop")] == ["q", "r", "s"]


def test_parallel_calls_are_split_each_with_its_result_behind_it() -> None:
    session = trajectory(asked(), thinking("t"), said("s"), call("a"), call("b"), result("b", "2"), result("a", "1"))
    found = [
        (message["role"], message["content"], message.get("reasoning_content"), len(message.get("tool_calls", ())))
        for message in chat(session, split_parallel_calls=True)[1:]
    ]
    assert found == [
        ("assistant", "s", "t", 1),
        ("tool", "1", None, 0),
        ("assistant", "", None, 1),
        ("tool", "2", None, 0),
    ]


@pytest.mark.parametrize(
    ("system", "contents"),
    [
        ("keep", ["user: q", "assistant: a", "system: p", "user: r", "assistant: b", "system: z"]),
        ("fold", ["user: q", "assistant: a", "user: p\n\nr", "assistant: b", "user: z"]),
        ("drop", ["user: q", "assistant: a", "user: r", "assistant: b"]),
    ],
)
def test_what_the_system_says_in_the_middle(system: Any, contents: list[str]) -> None:
    program = {"source": "program"}
    session = trajectory(asked("q"), said("a"), asked("p", **program), asked("r"), said("b"), asked("z", **program))
    assert [f"{each['role']}: {each['content']}" for each in chat(session, system=system)] == contents


def test_what_the_system_said_before_an_answer_stays_before_it() -> None:
    session = trajectory(asked("q"), asked("p", source="program"), said("a"), asked("r"), said("b"))
    assert [each["content"] for each in chat(session, system="fold")] == ["q", "p", "a", "r", "b"]
    assert [each["role"] for each in chat(session, system="fold")][:3] == ["user", "user", "assistant"]


def test_the_key_of_gpt_oss_has_the_words_before_a_call_in_it() -> None:
    session = trajectory(asked("q"), thinking("t"), said("s"), call(), result(), thinking("u"), said("d"))
    keyed = [(each["content"], each.get("thinking")) for each in chat(session, reasoning_key="thinking")]
    assert keyed == [("q", None), ("", "t\n\ns"), ("1 passed", None), ("d", "u")]
    inline = chat(session, reasoning_key="thinking", reasoning="inline")
    assert inline[1]["content"] == "<think>\nt\n</think>\n\ns"


def test_a_call_at_the_end_without_result_is_dropped_with_what_is_behind_it() -> None:
    session = trajectory(asked("q"), said("s"), asked("r"), call("a"), call("b"), result("b"), asked("stop"))
    (row,) = messages.rows(session, Shape())
    assert [message["content"] for message in chat(session)] == ["q", "s", "r"]
    assert (row["incomplete"], row["dropped_steps"]) == (False, 4)
    (whole,) = messages.rows(session, Shape(keep_incomplete=True))
    assert (whole["incomplete"], whole["dropped_steps"]) == (True, 0)
    assert len(chat(session, keep_incomplete=True)) == 6


def test_a_call_in_the_middle_without_result_stays_and_is_said() -> None:
    session = trajectory(asked("q"), call("a"), asked("r"), said("s"))
    (row,) = messages.rows(session, Shape())
    assert (row["incomplete"], row["dropped_steps"], len(chat(session))) == (True, 0, 4)


def test_a_result_without_a_call_is_the_users() -> None:
    session = trajectory(asked("q"), said("s"), result("x", "r"))
    assert chat(session)[-1] == {"role": "user", "content": "r"}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([asked()], LeftOutReason.NO_AGENT_TURN),
        ([asked(), call("a")], LeftOutReason.NO_AGENT_TURN),
        ([said()], LeftOutReason.NO_USER_TURN),
        ([said(), asked(), said()], LeftOutReason.NO_USER_TURN),
        ([asked(source="program"), said()], LeftOutReason.NO_USER_TURN),
        ([{"type": "approval"}, said()], LeftOutReason.NO_USER_TURN),
    ],
)
def test_what_is_no_chat_is_left_out_with_its_reason(steps: list[Any], reason: LeftOutReason) -> None:
    assert left_out(trajectory(*steps)) is reason


def test_schemas_are_inferred_and_permit_what_was_seen() -> None:
    session = trajectory(
        asked(),
        call("a", "Grep", path="x", n=1, i=True, deep={"a": 1}, many=[1], part=0.5, size=1, mixed="a", nothing=None),
        call("b", "Grep", path="y", size=0.5, mixed=1),
        result("a"),
        result("b"),
        done(),
    )
    (row,) = messages.rows(session, Shape())
    properties = {
        "deep": {"type": "object"},
        "i": {"type": "boolean"},
        "many": {"type": "array"},
        "mixed": {},
        "n": {"type": "integer"},
        "nothing": {},
        "part": {"type": "number"},
        "path": {"type": "string"},
        "size": {"type": "number"},
    }
    schema = {"type": "object", "properties": properties, "required": []}
    assert row["tools"] == [{"type": "function", "function": {"name": "Grep", "description": "", "parameters": schema}}]
    assert row["tools_inferred"] is True


def test_without_calls_there_are_no_tools() -> None:
    (row,) = messages.rows(trajectory(asked(), said()), Shape())
    assert (row["tools"], row["tools_inferred"]) == ([], False)


def test_sub_agents_within_sub_agents_are_rows_behind_their_parents() -> None:
    deepest = trajectory(asked("d"), said("e"), session_id="deepest", agent_role="subagent")
    silent = trajectory(asked("nothing came"), trajectory_id="traj_9")
    child = trajectory(
        asked("c"),
        said("d"),
        session_id="child",
        agent_role="subagent",
        trajectory_id="traj_2",
        subagents=[msgspec.to_builtins(Embedded(deepest, 0))],
    )
    embedded = [msgspec.to_builtins(Embedded(each)) for each in (silent, child)]
    rows = messages.rows(trajectory(asked("a"), said("b"), subagents=embedded), Shape())
    assert [row["session_id"] for row in rows] == ["sess_1", "child", "deepest"]


def test_openai_has_no_call_without_result_and_does_not_learn_from_its_turn() -> None:
    session = trajectory(asked("q"), said("s"), call("a"), asked("r"), call("b"), asked("t"), said("u"), asked("end"))
    (row,) = openai.rows(session, Shape())
    assert row == {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "s", "weight": 0},
            {"role": "user", "content": "r"},
            {"role": "user", "content": "t"},
            {"role": "assistant", "content": "u", "weight": 1},
        ]
    }


def test_origins_say_what_is_copied() -> None:
    copied = [{"from_step": 1, "to_step": 2}]
    (row,) = messages.rows(trajectory(asked(), said(), asked(), said(), copied_from=copied), Shape())
    origins: Any = row["origins"]
    assert [each.get("copied", False) for each in origins] == [True, True, False, False]


def test_openai_does_not_learn_from_copies() -> None:
    copied = [{"from_step": 1, "to_step": 2}]
    (row,) = openai.rows(trajectory(asked(), said(), asked(), said(), copied_from=copied), Shape())
    found: Any = row["messages"]
    assert [message.get("weight") for message in found] == [None, 0, None, 1]


def test_openai_takes_the_names_of_all_tools() -> None:
    names = ["mcp.web:fetch", "mcp_web_fetch", "x" * 70, "x" * 69]
    steps = [step for n, name in enumerate(names) for step in (call(str(n), name), result(str(n)))]
    (row,) = openai.rows(trajectory(asked(), *steps, failed("z")), Shape())
    tools: Any = row["tools"]
    found = [tool["function"]["name"] for tool in tools]
    assert len(set(found)) == 4
    assert max(map(len, found)) == 64
    assert {"mcp_web_fetch", "mcp_web_fetch_2", "x" * 64, "x" * 62 + "_2"} == set(found)


def test_steps_of_five_megabytes_and_nul_are_as_they_are() -> None:
    long, nul = "x" * 5_000_000, "a\x00b"
    session = trajectory(asked(nul), call("a", command=long), result("a", long), done())
    (row,) = messages.rows(session, Shape())
    read = msgspec.json.decode(msgspec.json.encode(row))
    assert read == row
    assert read["messages"][2]["content"] == long
    assert read["messages"][0]["content"] == nul
