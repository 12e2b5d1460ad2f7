"""How Codex writes down what a tool gave: the text for the model, and beside it whether the call went well."""

import re

import msgspec

from central_command.client.contract.steps import TOKEN_COUNT_MAX, JsonObject
from central_command.client.transcripts.json_values import content_text, count_of, name_of, object_of, text_of
from central_command.client.transcripts.reader import decode_json

_HEADER_CHARS = 400
"""The program's lines above a command's output (exit code, wall time) stand within these."""
_EXIT_CODE = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d{1,9})$", re.MULTILINE)
_ORIGINAL_TOKENS = re.compile(r"^Original token count: (\d{1,12})$", re.MULTILINE)
_CUT = re.compile(r"…\d+ (?:tokens|chars) truncated…|\[\.\.\. omitted \d+ of \d+ lines \.\.\.\]")
_COULD_NOT = (
    "unsupported call:",
    "unsupported custom tool call:",
    "failed to parse function arguments",
    "apply_patch verification failed",
    "exec_command failed",
    "execution error:",
    "failed in sandbox",
    "aborted by user",
    "tool call error:",
    "patch rejected",
)
_BAD_STATUS = frozenset({"failed", "declined", "errored", "error", "cancelled"})


class Output(msgspec.Struct, frozen=True):
    """A tool's output: its text, whether that text tells of a failure, and its tokens before the program cut it."""

    text: str
    failed: bool
    original_tokens: int | None = None


class Ended(msgspec.Struct, frozen=True):
    """The program's own word on how a call ended."""

    call_id: str
    failed: bool


def read_output(output: object) -> Output:
    """The `output` of a response item: text, JSON text of older versions, `{content, success}`, or content blocks."""
    failed = False
    if isinstance(output, dict) and "content" in output:
        failed = output.get("success") is False
        output = output.get("content")
    text = content_text(output)
    if text.startswith('{"'):
        decoded = object_of(decode_json(text.encode("utf-8", "replace")))
        metadata = decoded.get("metadata")
        if isinstance(metadata, dict) and isinstance(decoded.get("output"), str):
            return Output(text_of(decoded.get("output")), failed or _is_bad(metadata.get("exit_code")))
    header = text[:_HEADER_CHARS].split("\nOutput:", 1)[0]
    code = _EXIT_CODE.search(header)
    failed = failed or (code is not None and int(code[1]) != 0) or text.startswith(_COULD_NOT)
    original = _ORIGINAL_TOKENS.search(header)
    is_cut = original is not None and _CUT.search(text) is not None
    return Output(text, failed, min(int(original[1]), TOKEN_COUNT_MAX) if original and is_cut else None)


def outcome_of(event: JsonObject) -> Ended | None:
    """How a call ended, from an event or a completed item of the program; None for what says nothing of that.

    `exec_command_end` and `CommandExecution` have an exit code, `patch_apply_end` says `success`, `mcp_tool_call_end`
    has `Ok` or `Err` as Rust writes a result.
    """
    call_id = name_of(event.get("call_id")) or name_of(event.get("id"))
    if not call_id:
        return None
    result = event.get("result")
    if isinstance(event.get("exit_code"), int):
        return Ended(call_id, _is_bad(event.get("exit_code")))
    if isinstance(event.get("success"), bool):
        return Ended(call_id, event.get("success") is False)
    if isinstance(result, dict) and ("Ok" in result or "Err" in result):
        return Ended(call_id, "Err" in result or object_of(result.get("Ok")).get("isError") is True)
    if isinstance(event.get("status"), str) and event.get("status") != "in_progress":
        return Ended(call_id, text_of(event.get("status")) in _BAD_STATUS)
    return None


def _is_bad(exit_code: object) -> bool:
    return count_of(exit_code) > 0 or (isinstance(exit_code, int) and exit_code < 0)
