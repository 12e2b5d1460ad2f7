"""What a message sent for the user holds: the user's words, the files that they named, or the program's own text."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from central_command.client.transcripts.detection import describe_unknown, detect
from central_command.client.transcripts.gemini import GeminiReader
from central_command.client.transcripts.gemini_prompts import Prompt, read_prompt
from tests.central_command.client.transcripts.test_gemini_history import Chat
from tests.central_command.client.transcripts.whole import whole

EDITOR = (
    'Here is the user\'s editor context as a JSON object. This is for your information only.\n```json\n{"a": 1}\n```'
)
LOOP = (
    "System: Potential loop detected. Details: Repeating content. Please take a step back. "
    "Avoid repeating the same tool calls or responses without new results."
)
SHELL = "I ran the following shell command:\n```sh\nls\n```\n\nThis produced the following result:\n```\na.py\n```"
HEADER, END = "\n--- Content from referenced files ---", "\n--- End of content ---"


def shapes(chat: Chat) -> list[tuple[str, str | None, str]]:
    return [(step.type, step.source, step.content) for step in chat.read().steps]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<session_context>\nToday", "session_context texts"),
        ("This is the Gemini CLI. We are setting up the context for our chat.\nToday's", "session_context texts"),
        ("This is the Qwen Code. We are setting up the context for our chat.", "session_context texts"),
        (EDITOR, "editor context texts"),
        ("Here is a summary of changes in the user's editor context", "editor context texts"),
        ("System: Please continue.", "notes of the program"),
        (LOOP, "notes of the program"),
        (SHELL, "local commands and their output"),
    ],
)
def test_text_of_the_program_is_counted_and_no_step(text: str, kind: str) -> None:
    """It is not what the user asked for."""
    chat = Chat()
    chat.ask("go")
    chat.answer("I go.")
    chat.ask(text)
    chat.answer("I go on.")
    assert shapes(chat) == [("instruction", "user", "go"), ("thought", None, "I go."), ("thought", None, "I go on.")]
    assert chat.read().left_out == {kind: 1}


@pytest.mark.parametrize(
    "text",
    [
        "System: Please continue. And then stop.",
        "System: Potential loop detected. Why do I see this?",
        "I ran the following shell command:\nls\nWhy does it fail?",
        f"{SHELL}\nWhy only one?",
        "What is --- Content from referenced files --- in my prompt?",
        "Is Here is the user's editor context yours?",
    ],
)
def test_what_only_quotes_the_program_is_the_users(text: str) -> None:
    """Wherever it stands."""
    assert read_prompt(text) == Prompt(text)


PARTS = ["@a.py explain it", HEADER, "\nContent from @a.py:\n", "x = 1\n", END]


@pytest.mark.parametrize("content", [[{"text": each} for each in PARTS], "".join(PARTS)], ids=["parts", "one text"])
def test_files_that_the_user_named_are_given_and_no_words_of_theirs(content: Any) -> None:
    """As newer versions write it, and as older ones did."""
    chat = Chat()
    chat.record(chat.message("user", content))
    chat.answer("It sets x.")
    (asked, given, said) = shapes(chat)
    assert asked == ("instruction", "user", "@a.py explain it")
    assert given[:2] == ("observation", "attachment")
    assert given[2].split() == ["Content", "from", "@a.py:", "x", "=", "1"]
    assert said == ("thought", None, "It sets x.")


def test_a_named_file_may_quote_the_marks_or_be_an_image() -> None:
    """What stands behind the block is the user's, too; one that is cut off ends with the text."""
    quoting = f"look{HEADER}\nContent from @m.md:\nbefore{END}\nafter{END}\nand be brief"
    assert read_prompt(quoting) == Prompt("look\nand be brief", f"Content from @m.md:\nbefore{END}\nafter")
    assert read_prompt(f"look{HEADER}\nx = 1") == Prompt("look", "x = 1")
    chat = Chat()
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    chat.record(chat.message("user", [{"text": "/fix @a.png"}, {"text": HEADER}, image, {"text": END}]))
    assert shapes(chat) == [("instruction", "user", "/fix @a.png"), ("observation", "attachment", "[image: image/png]")]


@pytest.mark.parametrize("said", ["Got it. Thanks for the context!", "Got it. Thanks for the additional context!"])
def test_what_the_program_answers_in_the_models_place_is_counted(said: str) -> None:
    """In a checkpoint, whose answers name no model, and in a chat unless a model is named."""
    context = "This is the Gemini CLI. We are setting up the context for our chat."
    told = ((context, said), ("hi", "hello"))
    history = [
        {"role": role, "parts": [{"text": text}]}
        for turn in told
        for role, text in zip(("user", "model"), turn, strict=True)
    ]
    checkpoint = whole(GeminiReader(), io.BytesIO(json.dumps(history).encode()))
    assert [step.content for step in checkpoint.steps] == ["hi", "hello"]
    assert checkpoint.left_out == {"session_context texts": 1, "notes of the program": 1}
    chat = Chat()
    chat.ask("hi")
    chat.record(chat.message("gemini", said, thoughts=[], tokens=None))
    assert [step.content for step in chat.read().steps] == ["hi"]
    chat.record(chat.message("gemini", said, thoughts=[], tokens={"input": 1}, model="gemini-2.5-pro"))
    assert [step.content for step in chat.read().steps] == ["hi", said]


def test_an_old_chat_of_qwen_code_is_not_geminis(tmp_path: Path) -> None:
    """A Gemini chat of which a call speaks of it is."""
    chat = Chat()
    chat.answer('the member "type": "qwen"', "call")
    message = {"id": "m", "timestamp": "2025-10-05T08:00:01Z", "type": "user", "content": "hi"}
    recorded = {"sessionId": "s", "projectHash": "p", "messages": [message, message | {"type": "qwen"}]}
    path = tmp_path / "session-1.json"
    for indent in (None, 2):
        path.write_text(json.dumps(recorded, indent=indent))
        assert detect(path) is None
        assert describe_unknown(path).startswith("The file is Qwen Code's, in a form that is not read: ")
    path.write_text(
        "".join(f"{json.dumps(each)}\n" for each in chat.records).replace('{"f": "call"}', '{"type":"qwen"}')
    )
    found = detect(path)
    assert found is not None
    assert found.provider == "gemini"
