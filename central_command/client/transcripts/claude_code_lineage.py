"""Which of the events in a Claude Code file are its session's own: each once, without what was copied from another one.

How a session goes on in a second file, and what that file says of what it copied:

| by | the second file holds |
|---|---|
| `/branch`, the SDK's `fork_session` | the history under the new session's id, each event with `forkedFrom`; the SDK's under new uuids |
| `/branch` of a large session, in some versions | the history once more, under the same uuids, without `forkedFrom` |
| `--continue`, `--resume`, in some versions | the history under the old session's id, then what is new under its own |
| `--resume`, `--fork-session`, in others | the history under the new session's id, and nothing that says so |

What the file marks is left out here and counted; of the last kind, only who holds both files can tell. A result whose
call was copied keeps the tool's name, and a copied call or result that occurs again is known.

Of a file with events of several sessions, the one that it is named for is its own, and what stands before that one's
first message is the older session's. What comes behind is kept: `/resume` writes what is new to the file that was open
before. Without such a name all is kept.
"""  # noqa: E501 -- a table

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.claude_code_events import (
    blocks_of,
    is_call,
    is_copied,
    is_result,
    is_sidechain,
    kind_of,
    session_of,
)
from central_command.client.transcripts.json_values import object_of, text_of
from central_command.client.transcripts.left_out import LeftOut
from central_command.client.transcripts.reader import LINE_BYTES_MAX

KINDS_READ = frozenset({"user", "assistant", "result", "attachment", "queue-operation"})
_MESSAGES = frozenset({"user", "assistant"})
_NAMED_FOR = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl(?:\.(?:gz|zst))?\Z")
_MESSAGE_OF = re.compile(rb'"type"\s*:\s*"(?:user|assistant)"')
_SESSION_ID = re.compile(rb'"sessionId"\s*:\s*"([^"\\]*)"')

COPIED = "copied"
"""The type of what is handed on in place of a copied event: the ids of its calls and results, and tools' names."""
COPIES = "events copied from another session"
TWICE = "events that occur twice"


def older_and_own(file: BinaryIO) -> tuple[str, str]:
    """The other session whose history begins a file, and the one that the file is named for, as far as it holds them.

    Nothing is told of a file that is named for no session. Nearly every file is known after its first message; it is at
    its start again.
    """
    named = _NAMED_FOR.search(str(getattr(file, "name", "")))
    older = own = ""
    while named and not own and (line := file.readline(LINE_BYTES_MAX)):
        session = _SESSION_ID.search(line) if _MESSAGE_OF.search(line) else None
        if session is not None:
            found = session[1].decode("utf-8", "replace")
            own = found if found == named[1] else ""
            if own and not older:
                break
            older = older or found
    file.seek(0)
    return older, own


class Lineage:
    """The events of a session's own agent, in order.

    A sub-agent's file holds nothing but sidechain events; its first messages tell, `window` at most, and those alone,
    so that a session is never taken for another one after some of its steps have been sent. `is_decided` says that they
    have told. `own_session` is the id of the session whose first message ends what it copied under another's; empty
    for a file that holds no such.
    """

    def __init__(self, events: Iterable[JsonObject], *, window: int, own_session: str = "") -> None:
        self._source = events
        self._window = window
        self._own_session = own_session
        self._is_own = not own_session
        self._session = own_session
        self._agent = ""
        self._seen: set[str] = set()
        self.left_out = LeftOut()
        self.is_subagent = self.is_decided = False
        self.skipped = 0
        self.inner: deque[tuple[int, JsonObject]] = deque()
        """Messages of sub-agents that have no file of their own, each with how many events were handed on before it."""
        self._handed_on = 0

    @property
    def session_key(self) -> str:
        """The agent's own id of the session; that of a sub-agent has its parent's before it, which alone is shared."""
        return f"{self._session}/{self._agent}" if self.is_subagent and self._agent else self._session

    @property
    def parent_key(self) -> str:
        """The session that a sub-agent was begun in, empty when no file says so: then its key is its own."""
        return self._session if self.is_subagent and self._agent else ""

    def __iter__(self) -> Iterator[JsonObject]:
        for event in self._own():
            self._handed_on += 1
            yield event

    def _own(self) -> Iterator[JsonObject]:
        first: list[JsonObject] = []
        messages: list[JsonObject] = []
        for event in self._each_once():
            if event.get("type") == COPIED:
                yield event
                continue
            if self.is_decided:
                if self._is_of_own_agent(event):
                    yield event
                continue
            first.append(event)
            if text_of(event.get("type")) in _MESSAGES:
                messages.append(event)
                self._agent = text_of(messages[0].get("agentId"))
                if len(messages) == self._window or not is_sidechain(event) or self._agent:
                    self.is_subagent, self.is_decided = is_sidechain(event), True
                    yield from filter(self._is_of_own_agent, first)
                    first.clear()
        if not self.is_decided:
            self.is_subagent = bool(messages)
            yield from filter(self._is_of_own_agent, first)

    def _is_of_own_agent(self, event: JsonObject) -> bool:
        """Whether an event is of the session's own agent; what is not is counted."""
        if self.is_subagent or not is_sidechain(event):
            return True
        self.skipped += 1
        message = object_of(event.get("message"))
        if "agentId" not in event and object_of(message.get("usage")):
            self.inner.append((self._handed_on, {"id": message.get("id"), "usage": message["usage"]}))
        return False

    def _each_once(self) -> Iterator[JsonObject]:
        for event in self._source:
            if not self._session:
                self._session = session_of(event)
            kind = text_of(event.get("type"))
            if kind not in KINDS_READ:
                self.left_out.count(kind_of(event))
                continue
            uuid = text_of(event.get("uuid"))
            if uuid and uuid in self._seen:
                self.left_out.count(TWICE)
                continue
            self._seen.add(uuid)
            if is_copied(event) or self._is_of_older(event, kind):
                self.left_out.count(COPIES)
                yield _calls_in(event)
            else:
                event.pop("toolUseResult", None)  # what `message` says, once more and larger
                yield event

    def _is_of_older(self, event: JsonObject, kind: str) -> bool:
        if not self._is_own:
            is_other = session_of(event) not in {"", self._own_session}
            self._is_own = kind in _MESSAGES and not is_other
            return is_other
        return False


def _calls_in(event: JsonObject) -> JsonObject:
    """What is to be known of a copied event: which calls and results it holds."""
    kept = ("type", "id", "name", "tool_use_id")
    blocks = [block for block in blocks_of(event) if is_call(block) or is_result(block)]
    return {
        "type": COPIED,
        "message": {"content": [{name: block.get(name) for name in kept} for block in blocks]},
    }
