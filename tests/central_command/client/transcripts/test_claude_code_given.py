"""What Claude Code gave its agent beside the user's words, and whose words a message holds; the rest is counted."""

from typing import Any

import pytest

from tests.central_command.client.transcripts.claude_code_events import (
    assistant,
    attachment,
    called,
    event,
    read,
    said,
    shapes,
    user,
)

CIPHER = "Eo8D" + "Q" * 3_000


def given(kind: str, **members: Any) -> list[tuple[str, str | None, str]]:
    return shapes(read(user("go"), attachment(kind, **members)))[1:]


def text_file(path: str, text: str) -> dict[str, Any]:
    return {"type": "text", "file": {"filePath": path, "content": text, "numLines": 1, "startLine": 1}}


@pytest.mark.parametrize(
    ("kind", "members", "text"),
    [
        ("file", {"filename": "/p/a.py", "content": text_file("/p/a.py", "print(1)")}, "/p/a.py:\nprint(1)"),
        (
            "file",
            {"filename": "/p/a.png", "content": {"type": "image", "file": {"base64": CIPHER, "type": "image/png"}}},
            "/p/a.png:\n[image: image/png]",
        ),
        (
            "file",
            {"filename": "/p/n.ipynb", "content": {"type": "notebook", "file": {"cells": [{"source": "x = 1"}]}}},
            '/p/n.ipynb:\n[{"source":"x = 1"}]',
        ),
        ("directory", {"path": "/p", "content": "a.py\nb.py", "displayPath": "."}, "/p:\na.py\nb.py"),
        ("edited_text_file", {"filename": "/p/a.py", "snippet": "1→print(2)"}, "/p/a.py was changed:\n1→print(2)"),
        (
            "nested_memory",
            {
                "path": "/p/sub/CLAUDE.md",
                "content": {"path": "/p/sub/CLAUDE.md", "type": "Project", "content": "Tabs."},
            },
            "/p/sub/CLAUDE.md:\nTabs.",
        ),
        ("nested_memory", {"path": "/p/CLAUDE.md", "content": "Tabs."}, "/p/CLAUDE.md:\nTabs."),
        ("relevant_memories", {"memories": [{"path": "/m.md", "content": "Use pnpm."}]}, "/m.md:\nUse pnpm."),
        (
            "selected_lines_in_ide",
            {"filename": "/p/a.py", "lineStart": 3, "lineEnd": 4, "content": "def f():"},
            "/p/a.py, lines 3 to 4, selected by the user:\ndef f():",
        ),
        (
            "mcp_resource",
            {"server": "db", "uri": "db://t", "content": {"contents": [{"text": "rows"}, {"blob": CIPHER}]}},
            "db db://t:\nrows",
        ),
        (
            "diagnostics",
            {"files": [{"uri": "a.py", "diagnostics": [{"message": "no f", "severity": "Error"}]}]},
            "Diagnostics:\na.py: Error no f",
        ),
    ],
)
def test_files_and_memories_that_the_agent_was_given_are_observations(
    kind: str, members: dict[str, Any], text: str
) -> None:
    """Each says what it is; bytes are a placeholder."""
    assert given(kind, **members) == [("observation", "attachment", text)]


@pytest.mark.parametrize(
    ("kind", "members", "text"),
    [
        (
            "hook_additional_context",
            {"content": ["Use pnpm.", "Never npm."], "hookEvent": "UserPromptSubmit"},
            "Use pnpm.\nNever npm.",
        ),
        (
            "hook_blocking_error",
            {"hookName": "Stop", "blockingError": {"blockingError": "tests fail", "command": "t"}},
            "tests fail",
        ),
        ("hook_blocking_error", {"hookName": "Stop", "blockingError": "tests fail"}, "tests fail"),
        ("hook_stopped_continuation", {"hookName": "Stop", "message": "enough"}, "enough"),
        (
            "hook_success",
            {"hookName": "SessionStart:startup", "hookEvent": "SessionStart", "content": "Branch main."},
            "Branch main.",
        ),
        (
            "async_hook_response",
            {"hookName": "H", "response": {"hookSpecificOutput": {"additionalContext": "late"}}},
            "late",
        ),
    ],
)
def test_what_hooks_sent_back_is_theirs(kind: str, members: dict[str, Any], text: str) -> None:
    """An observation with the hook's name before it."""
    [(step, source, content)] = given(kind, **members)
    name = members.get("hookName") or members["hookEvent"]
    assert (step, source, content) == ("observation", "hook", f"{name}:\n{text}")


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("todo_reminder", {"content": [{"content": "write it", "status": "pending"}], "itemCount": 1}),
        ("task_reminder", {"content": []}),
        ("hook_success", {"hookEvent": "PostToolUse", "hookName": "PostToolUse:Edit", "content": "formatted"}),
        ("hook_success", {"hookEvent": "SessionStart", "content": "", "stdout": "{}"}),
        ("hook_additional_context", {"content": []}),
        ("hook_cancelled", {"hookEvent": "Stop"}),
        ("deferred_tools_delta", {"addedNames": ["X"]}),
        ("skill_listing", {"content": "- a: b"}),
        ("opened_file_in_ide", {"filename": "/p/a.py"}),
        ("something_new", {"content": "of a later version"}),
    ],
)
def test_other_attachments_are_counted_by_their_kind(kind: str, members: dict[str, Any]) -> None:
    """Also those of versions to come."""
    transcript = read(user("go"), attachment(kind, **members), attachment(kind, **members))
    assert len(transcript.steps) == 1
    assert transcript.left_out == {f"attachment: {kind}": 2}


def test_other_agents_letters_and_a_tasks_outcome_are_theirs() -> None:
    """A mailbox has several."""
    letters = [{"from": "tester", "text": "it fails"}, {"from": "writer", "text": "done"}]
    assert given("teammate_mailbox", messages=letters) == [
        ("instruction", "agent", "tester:\nit fails"),
        ("instruction", "agent", "writer:\ndone"),
    ]
    assert given("task_status", description="build", status="completed", deltaSummary="ok") == [
        ("observation", "notification", "Task build:\nok")
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<system-reminder>Be brief.</system-reminder>", []),
        ("<system-reminder>\nBe brief.\n</system-reminder>\nfix it", [("instruction", "user", "fix it")]),
        ("fix it\n\n<system-reminder>Be brief.</system-reminder>", [("instruction", "user", "fix it")]),
        (
            [{"type": "text", "text": "<ide_selection>def f():</ide_selection>"}, {"type": "text", "text": "explain"}],
            [("observation", "attachment", "def f():"), ("instruction", "user", "explain")],
        ),
        ("<ide_opened_file>The user opened a.py.</ide_opened_file>explain", [("instruction", "user", "explain")]),
        ("<user-prompt-submit-hook>Use pnpm.</user-prompt-submit-hook>", [("observation", "hook", "Use pnpm.")]),
        ("Stop hook feedback:\n- tests fail", [("observation", "hook", "Stop hook feedback:\n- tests fail")]),
        ('<teammate-message teammate_id="t">it fails</teammate-message>', [("instruction", "agent", "it fails")]),
        ("Caveat: The messages below were generated by the user while running local commands. DO NOT", []),
        ("This session is being continued from a previous conversation that ran out of context. It", []),
        ("<bash-notification>\nb1 ended", [("observation", "notification", "<bash-notification>\nb1 ended")]),
        ("<agent-notification>\na1 ended", [("observation", "notification", "<agent-notification>\na1 ended")]),
        ("<nav> is not closed", [("instruction", "user", "<nav> is not closed")]),
        ("what does <system-reminder> mean?", [("instruction", "user", "what does <system-reminder> mean?")]),
        ("/srv/app is empty", [("instruction", "user", "/srv/app is empty")]),
    ],
)
def test_the_programs_text_is_not_the_users_words(content: Any, expected: list[tuple[str, str, str]]) -> None:
    """What it puts beside the user's own, in the same block or in another, and what is the user's however it begins."""
    transcript = read(user(content))
    assert shapes(transcript) == expected
    assert sum(transcript.left_out.values()) + len(expected) >= 1


@pytest.mark.parametrize(
    ("members", "source"),
    [
        ({"origin": {"kind": "human"}}, "user"),
        ({"origin": {"kind": "peer"}}, "agent"),
        ({"turnOrigin": "peer"}, "agent"),
        ({"turnOrigin": "sdk"}, "user"),
        ({"turnOrigin": "scheduled"}, "program"),
        ({"origin": {"kind": "auto-continuation"}, "isMeta": True}, "program"),
    ],
)
def test_a_message_is_whose_its_origin_says(members: dict[str, Any], source: str) -> None:
    """The newer versions say it."""
    assert shapes(read(user("go on", **members))) == [("instruction", source, "go on")]


def test_what_hooks_send_back_as_a_meta_message_is_kept_and_the_rest_is_counted() -> None:
    """The body of a command is the program's; a hook's word is what the agent was told."""
    transcript = read(
        user("Stop hook feedback:\n[./test.sh]: tests fail: test_a", isMeta=True),
        user("# Review\nRead all of it.", isMeta=True),
    )
    assert shapes(transcript) == [("observation", "hook", "Stop hook feedback:\n[./test.sh]: tests fail: test_a")]
    assert transcript.left_out == {"messages by the program itself": 1}


def test_everything_that_is_no_step_is_counted_under_its_name() -> None:
    """The program's own records, those that are not known, and those that name no kind."""
    made_up = said("No response requested.")
    made_up["message"]["model"] = "<synthetic>"
    transcript = read(
        user("go"),
        event("progress", data={"type": "hook_progress"}),
        event("system", subtype="turn_duration"),
        {"type": "file-history-snapshot", "messageId": "m"},
        {"type": "pr-link", "sessionId": "s", "prNumber": 1},
        {"prNumber": 1},
        user("Summary", isCompactSummary=True),
        assistant({"type": "thinking", "thinking": "", "signature": CIPHER}),
        assistant({"type": "redacted_thinking", "data": CIPHER}),
        made_up,
    )
    assert len(transcript.steps) == 1
    assert transcript.left_out == {
        "progress: hook_progress": 1,
        "system: turn_duration": 1,
        "file-history-snapshot": 1,
        "pr-link": 1,
        "records without a type": 1,
        "compaction summaries": 1,
        "thinking without its text": 1,
        "block: redacted_thinking": 1,
        "messages made up by the program": 1,
    }


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        (
            {
                "type": "web_search_tool_result",
                "content": [
                    {
                        "type": "web_search_result",
                        "title": "Python 3.14",
                        "url": "https://e.org",
                        "page_age": "2 days",
                        "encrypted_content": CIPHER,
                    },
                    {
                        "type": "web_search_result",
                        "title": "More",
                        "url": "https://f.org",
                        "page_age": None,
                        "encrypted_content": CIPHER,
                    },
                ],
            },
            "Python 3.14\nhttps://e.org\n2 days\nMore\nhttps://f.org",
        ),
        (
            {
                "type": "web_fetch_tool_result",
                "content": {
                    "type": "web_fetch_result",
                    "url": "https://e.org",
                    "content": {
                        "type": "document",
                        "title": "T",
                        "source": {"type": "text", "media_type": "text/plain", "data": "the page"},
                    },
                },
            },
            '{"type":"web_fetch_result","url":"https://e.org","content":"T\\nthe page"}',
        ),
        (
            {
                "type": "code_execution_tool_result",
                "content": {
                    "type": "encrypted_code_execution_result",
                    "encrypted_stdout": CIPHER,
                    "stderr": "",
                    "return_code": 0,
                },
            },
            '{"type":"encrypted_code_execution_result","stderr":"","return_code":0}',
        ),
        (
            {
                "type": "tool_result",
                "content": [
                    {
                        "type": "search_result",
                        "title": "T",
                        "content": [{"type": "text", "text": "x", "encrypted_index": CIPHER}],
                    }
                ],
            },
            '{"type":"search_result","title":"T","content":[{"type":"text","text":"x"}]}',
        ),
    ],
)
def test_ciphertext_is_never_part_of_a_step(block: dict[str, Any], kept: str) -> None:
    """Of what was found, title, address and age are kept; what nobody can read counts for nothing."""
    steps = read(called("t1"), user([{**block, "tool_use_id": "t1"}])).steps
    assert (steps[1].content, steps[1].tool) == (kept, "Bash")
    assert not any("QQQQ" in step.content for step in steps)
