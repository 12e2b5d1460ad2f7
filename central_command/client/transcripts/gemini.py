"""Gemini CLI's three kinds of session files: its recorded chats, its saved checkpoints and its event stream.

`gemini_chat` and `gemini_stream` say what stands in each and which step it becomes. Checked against what
`@google/gemini-cli` 0.61.0 writes; the chats of older versions, one JSON text in a file, are read too.
"""

import re
from typing import BinaryIO, ClassVar

from central_command.client.transcripts.gemini_chat import ChatSession, is_chat_record
from central_command.client.transcripts.gemini_rewriting import find_rewritten
from central_command.client.transcripts.gemini_stream import StreamSession, is_stream_event
from central_command.client.transcripts.one_text import beginning_of, read_one_text
from central_command.client.transcripts.reader import Head, JsonLines, Steps, ended

_CHAT_TEXT = re.compile(r'\{\s*"sessionId"\s*:.*"(?:projectHash|messages)"\s*:', re.DOTALL)
_CHECKPOINT_TEXT = re.compile(r'(?:\[|\{\s*"history"\s*:\s*\[)\s*\{\s*"(?:role|parts)"\s*:')


class GeminiReader:
    """Reads `~/.gemini/tmp/*/chats/*.json*`, checkpoints, and `gemini --output-format stream-json`."""

    provider: ClassVar[str] = "gemini"

    def recognises(self, head: Head) -> bool:
        """Whether the first lines hold an event of the stream or a chat's record, or one JSON text begins as such."""
        if any(is_stream_event(event) or is_chat_record(event) for event in head.events):
            return True
        return _begins_as_one_text(head.text)

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session: line by line, or at once if it is one JSON text over many lines.

        A text of this second kind that is cut off has no steps yet and is incomplete.
        """
        whole = read_one_text(file)
        session: ChatSession | StreamSession = ChatSession()
        unreadable, is_incomplete = 0, False
        if isinstance(whole, dict | list):
            session.take_whole(whole)
        else:
            session = ChatSession(find_rewritten(file))
            is_begun = False
            lines = JsonLines(file)
            for event in lines:
                if not is_begun and is_stream_event(event):
                    session = StreamSession()
                is_begun = is_begun or is_stream_event(event) or is_chat_record(event)
                session.take(event)
                yield from session.list.drain()
            unreadable, is_incomplete = lines.unreadable, lines.is_incomplete
            if not is_begun and _begins_as_one_text(beginning_of(file)):
                unreadable, is_incomplete = 0, True
        ending = ended(
            session,
            self.provider,
            unreadable_lines=unreadable,
            is_incomplete=is_incomplete,
        )
        return (yield from ending)


READER = GeminiReader()


def _begins_as_one_text(text: str) -> bool:
    return bool(_CHAT_TEXT.match(text.lstrip()) or _CHECKPOINT_TEXT.match(text.lstrip()))
