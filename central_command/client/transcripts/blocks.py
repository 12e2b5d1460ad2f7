"""Messages of content blocks, in which several agents write what was said, called and given.

| block | step |
|---|---|
| `text` of the user | instruction, `source: user`; all of a message are one |
| `text` of the model | thought |
| `thinking` | thought, `source: thinking` |
| `tool_use` | action with `tool`, `arguments` and `call_id` |
| `tool_result` | observation, or error when it failed; same `call_id` |

Media of the user are a placeholder in the instruction. Reminders that the program puts among the user's texts
(`<system-reminder>` and the like), thinking that nobody can read, and blocks that are not known are counted.
"""

import re

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import content_text, name_of, objects_of, text_of
from central_command.client.transcripts.recorded import RecordedSession

_BY_PROGRAM = re.compile(r"\A\s*+<([a-z][a-z_-]*(?:reminder|context|details|notice|notification|snapshot))\b")
_MEDIA = frozenset({"image", "document", "audio"})


def is_by_program(text: str) -> str:
    """The tag in which a program put this text among the user's; empty for what a person wrote."""
    found = _BY_PROGRAM.match(text)
    return found[1] if found else ""


class BlockSession(RecordedSession):
    """A session whose messages are of such blocks."""

    def take_message(self, role: object, content: object, *, source: str = "user") -> None:
        """Add the steps of one message; `source` says who wrote what is not the model's."""
        blocks: list[JsonObject] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else objects_of(content)
        )
        if role == "assistant":
            for block in blocks:
                self._take_models(block)
            return
        told: list[JsonObject] = []
        for block in blocks:
            kind = text_of(block.get("type"))
            if kind == "tool_result":
                self.take_result(block)
            elif kind == "text" and (tag := is_by_program(text_of(block.get("text")))):
                self.left_out.count(f"{tag} texts")
            elif kind == "text" or kind in _MEDIA:
                told.append(block)
            else:
                self.left_out.count(f"{kind or 'unnamed'} blocks")
        self.instruct(content_text(list(told)), source)

    def take_result(self, block: JsonObject) -> None:
        """Add the result that a block holds."""
        failed = block.get("is_error") is True
        self.calls.answer(
            self.list.at, name_of(block.get("tool_use_id")), content_text(block.get("content")), failed=failed
        )

    def _take_models(self, block: JsonObject) -> None:
        match kind := text_of(block.get("type")):
            case "text":
                self.think(block.get("text"))
            case "thinking":
                self.think(block.get("thinking"), "thinking")
            case "tool_use":
                self.calls.act(
                    self.list.at, name_of(block.get("name")), block.get("input") or {}, name_of(block.get("id"))
                )
            case "tool_result":
                self.take_result(block)
            case _:
                self.left_out.count(f"{kind or 'unnamed'} blocks")
