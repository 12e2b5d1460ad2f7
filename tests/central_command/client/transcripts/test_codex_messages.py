"""Who said what in a Codex rollout: once each, the user's words apart from the program's, and other agents' by name."""

from typing import Any

import pytest

from tests.central_command.client.transcripts.rollouts import event, item, line, meta, read, said, shapes, user

CITED = "Run it.\n\n<oai-mem-citation>\n<citation_entries>\nMEMORY.md:3-5|note=[build]\n</citation_entries>\n"
PLAN = "# Plan\n1. Read\n2. Write"
PLANNED = f"I have a plan.\n\n<proposed_plan>\n{PLAN}\n</proposed_plan>\n\nShall I?"
SEEN = "I have a plan.\n\n\n\nShall I?"
HEADER = "Message Type: {}\nTask name: /root/logs\nSender: /root\nPayload:\n"


def completed(kind: str, **members: Any) -> dict[str, Any]:
    return event("item_completed", item={"type": kind, "id": "i", **members})


def to_agent(kind: str, text: str) -> dict[str, Any]:
    content = [
        {"type": "input_text", "text": HEADER.format(kind)},
        {"type": "encrypted_content", "encrypted_content": text},
    ]
    return item("agent_message", author="/root", recipient="/root/logs", content=content)


@pytest.mark.parametrize("end", ["</oai-mem-citation>", "</oai-mem-citation>\n", ""])
@pytest.mark.parametrize("first", ["event", "item"])
def test_a_message_with_citations_of_memory_is_one_thought(end: str, first: str) -> None:
    """The event has them taken out; the step has the text that was shown."""
    told = [event("agent_message", message="Run it."), said(CITED + end)]
    told += [completed("AgentMessage", content=[{"type": "Text", "text": "Run it."}])]
    lines = told if first == "event" else [told[1], told[0], told[2]]
    assert shapes(read(*lines)) == [("thought", None, "Run it.")]
    assert shapes(read(said(CITED + end))) == [("thought", None, "Run it.")]


@pytest.mark.parametrize("count", [1, 2])
def test_a_message_with_a_plan_is_one_thought_that_has_the_plan(count: int) -> None:
    """In plan mode the event has it taken out, and the plan is an item of its own, before or behind."""
    shown, plan, whole = event("agent_message", message=SEEN), completed("Plan", text=PLAN), said(PLANNED)
    for told in ([shown, whole], [shown, plan, whole], [plan, shown, whole], [whole, shown, plan], [whole]):
        assert shapes(read(*told * count)) == [("thought", None, PLANNED)] * count


def test_what_is_said_twice_is_two_thoughts() -> None:
    """In whatever order both are told."""
    shown, whole = event("agent_message", message="Done."), said("Done.")
    for told in ([shown, shown, whole, whole], [shown, whole, shown, whole], [whole, whole, shown, shown]):
        assert shapes(read(*told)) == [("thought", None, "Done.")] * 2


def test_a_plan_alone_is_a_thought() -> None:
    """The model may say nothing else, and a file may hold nothing but the event."""
    alone = f"<proposed_plan>\n{PLAN}\n</proposed_plan>"
    assert shapes(read(completed("Plan", text=PLAN), said(alone))) == [("thought", None, alone)]
    assert shapes(read(completed("Plan", text=PLAN))) == [("thought", None, PLAN)]


def test_what_an_event_told_stands_before_what_follows_it() -> None:
    """It waits for its item no longer than up to the next line that is none of a message."""
    lines = [
        event("agent_message", message="I look."),
        item("function_call", name="shell", call_id="a", arguments="{}"),
    ]
    thinking = completed("Reasoning", summary_text=["So."])
    told = [event("agent_message", message="Done."), thinking, event("agent_message", message="Bye.")]
    transcript = read(*lines, *told)
    assert [step.content for step in transcript.steps] == ["I look.", "Using shell", "Done.", "So.", "Bye."]
    assert [step.step for step in transcript.steps] == [1, 2, 3, 4, 5]


def test_in_plan_mode_a_message_is_settled_with_its_item() -> None:
    """Before that its plan may still come; in no other mode does it."""
    shown = event("agent_message", message=SEEN)
    for begun in (
        event("task_started", collaboration_mode_kind="plan"),
        line("turn_context", collaboration_mode={"mode": "plan"}),
    ):
        assert [read(begun, shown, *rest).settled_steps for rest in ([], [said(PLANNED)])] == [0, 1]
    assert read(event("task_started", collaboration_mode_kind="default"), shown).settled_steps == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<environment_context>\n  <cwd>/w</cwd>\n</environment_context>", "environment_context texts"),
        ("<user_instructions>\nBe brief.\n</user_instructions>", "user_instructions texts"),
        ("# AGENTS.md instructions for /w\n\n<INSTRUCTIONS>\nUse uv.\n</INSTRUCTIONS>", "AGENTS.md instructions"),
        ("<skill>\n<name>check</name>\n</skill>", "skill texts"),
        ("<turn_aborted>\nThe user stopped it.\n</turn_aborted>", "turn_aborted texts"),
        ('<codex_internal_context source="goal">\nGo on.\n</codex_internal_context>', "codex_internal_context texts"),
        ("<goal_context>\nGo on.\n</goal_context>", "goal_context texts"),
        ('<hook_prompt hook_run_id="stop-1">Go on.</hook_prompt>', "hook_prompt texts"),
        ("<recommended_plugins>\n- figma\n</recommended_plugins>\n", "recommended_plugins texts"),
        ("<SUBAGENT_NOTIFICATION>{}</subagent_notification>", "subagent_notification texts"),
        ("<external_calendar>\nfree\n</external_calendar>", "external_calendar texts"),
        ("<permissions instructions>\nAll.\n</permissions instructions>", "permissions texts"),
        ("<user_shell_command>\n<command>pwd</command>\n</user_shell_command>", "user_shell_command texts"),
        ("Warning: The maximum number of unified exec processes you can keep open is 60.", "notices of the program"),
        (
            "Another language model started to solve this problem and produced a summary of its thinking process.",
            "compaction summaries",
        ),
        ("You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary.", "compaction summaries"),
        (
            "Warning: apply_patch was requested via shell. Use the apply_patch tool instead of exec_command.",
            "notices of the program",
        ),
    ],
)
def test_text_of_the_program_among_the_users_is_counted_and_no_step(text: str, kind: str) -> None:
    """Once, though an event may tell it, too."""
    transcript = read(user(text), event("user_message", message=text), user("Go"), event("user_message", message="Go"))
    assert shapes(transcript) == [("instruction", "user", "Go")]
    assert transcript.left_out == {kind: 1}


@pytest.mark.parametrize(
    "text",
    [
        "<environment_context> is what I wonder about",
        "<skill>x</skill> does not load, why?",
        "what does <turn_aborted> mean?",
        "Warning: this is what pytest says, mend it",
        "Warning: apply_patch was requested via exec_command. Why do I see this?",
        "<div>hello</div>",
        "<task>Investigate</task>",
        "Read the # AGENTS.md instructions",
    ],
)
def test_what_only_looks_like_the_programs_is_the_users(text: str) -> None:
    """A text that begins with a marker and goes on, or quotes one."""
    transcript = read(user(text), event("user_message", message=text))
    assert (shapes(transcript), transcript.left_out) == ([("instruction", "user", text)], {})


def test_context_in_front_of_a_users_words_is_left_out_of_them() -> None:
    """Some versions write both into one text, and several blocks into one."""
    agents = "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nrules\n</INSTRUCTIONS>\n\n"
    context = "<environment_context>\n<cwd>/w</cwd>\n</environment_context>"
    mixed = read(user(f"{agents}{context}\n\nMend it"))
    assert shapes(mixed) == [("instruction", "user", "Mend it")]
    assert mixed.left_out == {"AGENTS.md instructions": 1, "environment_context texts": 1}
    blocks = read(user(f"{agents}{context}\n<skill>a</skill>"))
    assert (blocks.steps, len(blocks.left_out)) == ((), 3)


@pytest.mark.parametrize(
    ("context", "heading"),
    [
        (
            "# Context from my IDE setup:\n\n## Active file: a.py\n\n## Open tabs:\n- a.py: a.py",
            "## My request for Codex:",
        ),
        ("# Files mentioned by the user:\n\n## shot.png: /tmp/shot.png", "## My request:"),
        ("## Referenced chats with Codex:\n- one", "## My request for Codex: "),
    ],
)
def test_what_an_editor_writes_above_a_request_is_given_and_not_the_users(context: str, heading: str) -> None:
    """Once, though an event tells it, too; also where the program says that all of it is the user's."""
    text = f"{context}\n\n{heading}\nMend it\n"
    kinds = {"internal_chat_message_metadata_passthrough": {"content_item_kinds": ["user.text"]}}
    for lines in ([user(text), event("user_message", message=text)], [event("user_message", message=text), user(text)]):
        assert shapes(read(*lines)) == [("observation", "attachment", context), ("instruction", "user", "Mend it")]
    assert shapes(read(user(text, **kinds))) == shapes(read(user(text)))
    assert shapes(read(user(f"{heading}\nMend it"))) == [("instruction", "user", "Mend it")]


@pytest.mark.parametrize(
    "text",
    [
        "Write a file with the heading\n## My request:\nin it",
        "# Context from my IDE setup:\nis what I see, why?",
        "# My request for Codex:\nis a heading of mine",
    ],
)
def test_a_heading_like_an_editors_is_the_users(text: str) -> None:
    """Both must be there, the context and the heading below it."""
    assert shapes(read(user(text))) == [("instruction", "user", text)]


def test_the_programs_own_word_on_what_a_text_is_goes_first() -> None:
    """Newer versions name the kind of each part; what they do not name is told by its text."""

    def named(*kinds: str) -> dict[str, Any]:
        return {"internal_chat_message_metadata_passthrough": {"content_item_kinds": list(kinds)}}

    typed = user("<skill>a</skill>", **named("user.text"))
    injected = user("Go on with the goal.", **named("goal.internal_context"))
    unknown = user("<skill>a</skill>", **named("unknown"))
    miscounted = user("Go", **named("goal.internal_context", "user.text"))
    transcript = read(typed, injected, unknown, miscounted)
    assert [step.content for step in transcript.steps] == ["<skill>a</skill>", "Go"]
    assert transcript.left_out == {"goal.internal_context texts": 1, "skill texts": 1}


def test_messages_of_other_agents_are_tasks_or_coordination() -> None:
    """In every form that they have had, each once, by the name of who sent them."""
    as_json = '{"author":"/root","recipient":"/root/logs","other_recipients":[],"content":"Look","trigger_turn":true}'
    told = {"author": "/root", "recipient": "/root/logs", "content": HEADER.format("MESSAGE") + "Also here"}
    transcript = read(
        to_agent("NEW_TASK", "Find it"),
        to_agent("MESSAGE", "Also here"),
        line("inter_agent_communication", **told, trigger_turn=False),
        said(as_json),
        user(HEADER.format("NEW_TASK") + "And there"),
        event("user_message", message=HEADER.format("NEW_TASK") + "And there"),
        item("agent_message", author="/root/other", content=[{"type": "input_text", "text": "Found"}]),
    )
    assert shapes(transcript) == [
        ("instruction", "agent", "Find it"),
        ("coordination", "agent", "Also here"),
        ("instruction", "agent", "Look"),
        ("instruction", "agent", "And there"),
        ("coordination", "agent", "Found"),
    ]
    assert [step.arguments for step in transcript.steps][::4] == [{"from": "/root"}, {"from": "/root/other"}]


def test_what_a_session_says_to_its_agents_is_coordination_with_them() -> None:
    """Whoever it is: the main agent or a sub-agent with sub-agents of its own."""
    spawned = {"subagent": {"thread_spawn": {"agent_path": "/root/a"}}}
    for source, path in (("cli", "/root"), (spawned, "/root/a")):
        to = {"author": path, "recipient": "/root/b", "content": "Look", "trigger_turn": True}
        steps = read(meta("s", source=source), event("task_started"), line("inter_agent_communication", **to)).steps
        assert [(step.type, step.arguments) for step in steps] == [("coordination", {"to": "/root/b"})]


def test_what_cannot_be_read_is_counted() -> None:
    """Messages between agents and reasoning may be encrypted; the header alone says nothing."""
    hidden = "gAAAAABn" + "x" * 100
    transcript = read(
        to_agent("NEW_TASK", hidden),
        line("inter_agent_communication", author="/root", recipient="/r", content="", encrypted_content=hidden),
        item("agent_message", author="/root", content=[]),
        item("reasoning", summary=[], encrypted_content=hidden),
        item("compaction", encrypted_content=hidden),
    )
    assert transcript.steps == ()
    assert transcript.left_out == {
        "encrypted messages between agents": 2,
        "empty messages between agents": 1,
        "encrypted reasoning": 1,
        "encrypted compactions": 1,
    }


def test_records_that_are_not_known_are_counted_by_their_own_name() -> None:
    """Lines, response items, events and completed items; what messages and calls are told by is none of them."""
    transcript = read(
        meta("s"),
        line("new_line"),
        item("new_item"),
        event("new_event"),
        event("thread_rolled_back", num_turns=1),
        completed("NewItem"),
        completed("WebSearch"),
        line("world_state"),
        item("message", role="developer", content="x"),
        event("token_count"),
        event("task_started"),
        {"type": "new_bare"},
        {"record_type": "state"},
        {"other": 1},
    )
    assert transcript.left_out == {
        **dict.fromkeys(("new_line", "new_item", "new_event", "thread_rolled_back", "NewItem", "world_state"), 1),
        "messages by developer": 1,
        "new_bare": 1,
        "records without a type": 1,
    }
