"""Whose words stand in a message that Gemini CLI, or an agent made from it, sent for the user.

| text | what it is |
|---|---|
| "This is the Gemini CLI. We are setting up the context", `<session_context>`, `<hook_context>`, `<state_snapshot>`, what is open in an editor, "System: Please continue." | the program's: counted |
| "I ran the following shell command:", with its result: what the user ran with `!` | carried out by the program: counted |
| "--- Content from referenced files ---" and what follows it: files that the user named with `@` | given to the agent |
| all else | the user's |
"""  # noqa: E501 -- a table

import re

import msgspec

_TAGGED = re.compile(r"\A\s*+<(session_context|hook_context|state_snapshot)>")
_SET_UP = re.compile(r"\A\s*+This is (?:the )?(?:Gemini CLI|Qwen Code)\. We are setting up the context for our chat\.")
_EDITOR = re.compile(r"\A\s*+Here is (?:the|a summary of changes in the) user's editor context\b")
_CONTINUE = "System: Please continue."
_LOOP = ("System: Potential loop detected. Details: ", "responses without new results.")
_SHELL = ("I ran the following shell command:\n```sh\n", "\n```\n\nThis produced the following result:\n```\n", "```")
_FILES = re.compile(r"^--- Content from referenced files ---$", re.MULTILINE)
_FILES_END = "\n--- End of content ---"
NOTES = "notes of the program"
_SAID_FOR_MODEL = frozenset(
    {
        "Binary content received. Proceeding with analysis.",
        "Got it. Thanks for the context!",
        "Got it. Thanks for the additional context!",
    }
)
"""What the program answers in the model's place: to an image that a tool gave it, to its own context, to a summary."""


class Prompt(msgspec.Struct, frozen=True):
    """What the user wrote, what the agent was given with it, and what kind of the program's text it is instead."""

    words: str
    given: str = ""
    left_out: str | None = None


def is_said_for_model(text: str) -> bool:
    """Whether an answer is the program's, where nothing tells that a model gave it."""
    return text in _SAID_FOR_MODEL


def read_prompt(text: str) -> Prompt:
    """Tell a message's text apart."""
    if tagged := _TAGGED.match(text):
        return Prompt("", left_out=f"{tagged[1]} texts")
    if _SET_UP.match(text):
        return Prompt("", left_out="session_context texts")
    if _EDITOR.match(text):
        return Prompt("", left_out="editor context texts")
    stripped = text.strip()
    if stripped == _CONTINUE or (stripped.startswith(_LOOP[0]) and stripped.endswith(_LOOP[1])):
        return Prompt("", left_out=NOTES)
    if stripped.startswith(_SHELL[0]) and _SHELL[1] in stripped and stripped.endswith(_SHELL[2]):
        return Prompt("", left_out="local commands and their output")
    found = _FILES.search(text)
    if found is None:
        return Prompt(text)
    # A file may quote the end of another one's: the last is the block's.
    end = text.rfind(_FILES_END, found.end())
    after = "" if end < 0 else text[end + len(_FILES_END) :]
    words = f"{text[: found.start()].rstrip()}{after.rstrip()}"
    return Prompt(words, given=text[found.end() : end if end >= 0 else len(text)].strip())
