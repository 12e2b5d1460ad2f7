"""Codex's session files: its rollouts, and what `codex exec --json` prints.

`codex_rollout`, `codex_exec` and `codex_exec_events` say what stands in each and which step it becomes. Their file
names and first lines tell them apart. Checked against what codex-cli 0.169.0 writes; older files are read too: streams
of events (until autumn 2025), rollouts whose lines are bare response items (summer 2025), and those of spring 2025, one
JSON text (`{"session", "items"}`) in a `rollout-*.json` that the program wrote anew with each message.
"""

import re
from typing import BinaryIO, ClassVar

from central_command.client.transcripts.codex_exec import ExecSession, is_exec_event
from central_command.client.transcripts.codex_exec_events import ExecEventsSession, is_exec_message
from central_command.client.transcripts.codex_lineage import find_copied
from central_command.client.transcripts.codex_rollout import (
    RolloutSession,
    is_bare_meta,
    is_rollout_line,
    is_whole_rollout,
)
from central_command.client.transcripts.one_text import beginning_of, read_one_text
from central_command.client.transcripts.reader import Head, JsonLines, Steps, ended

_WHOLE_BEGINS = re.compile(r'\A\s*+\{\s*+"session"\s*+:\s*+\{\s*+"(?:timestamp|id|instructions)"\s*:')
_ITEMS = re.compile(r'"items"\s*:\s*\[')

_Session = ExecSession | ExecEventsSession | RolloutSession


class CodexReader:
    """Reads `~/.codex/sessions/**/rollout-*.json*` and the output of `codex exec --json`."""

    provider: ClassVar[str] = "codex"

    def recognises(self, head: Head) -> bool:
        """Whether the first lines hold an event of either kind, or one JSON text begins as a session of spring 2025."""
        is_bare = head.name.startswith("rollout-") or any(is_bare_meta(each) for each in head.events[:1])
        is_whole = bool(_WHOLE_BEGINS.match(head.text) and _ITEMS.search(head.text))
        return is_whole or any(
            is_exec_event(each) or is_exec_message(each) or is_rollout_line(each, bare=is_bare) for each in head.events
        )

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session; the first event that is of one kind tells which kind the file is."""
        session: _Session | None = None
        unreadable, is_incomplete = 0, False
        whole = read_one_text(file)
        if isinstance(whole, dict) and is_whole_rollout(whole):
            session = RolloutSession()
            session.take_whole(whole)
        else:
            copied = find_copied(file)
            lines = JsonLines(file)
            for number, event in enumerate(lines):
                if session is None and is_exec_event(event):
                    session = ExecSession()
                elif session is None and is_exec_message(event):
                    session = ExecEventsSession()
                elif session is None and (is_rollout_line(event, bare=True) or is_whole_rollout(event)):
                    session = RolloutSession(copied, first_line=number)
                if session is not None:
                    session.take(event)
                    yield from session.list.drain()
            unreadable, is_incomplete = lines.unreadable, lines.is_incomplete
            if session is None and _WHOLE_BEGINS.match(beginning_of(file)):
                unreadable, is_incomplete = 0, True
        session = session or RolloutSession()
        ending = ended(
            session,
            self.provider,
            unreadable_lines=unreadable,
            is_incomplete=is_incomplete,
            parent_key=session.parent_key,
        )
        return (yield from ending)


READER = CodexReader()
