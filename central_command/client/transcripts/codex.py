"""Codex's two kinds of session files: its rollouts, and what `codex exec --json` prints.

`codex_rollout` and `codex_exec` say what stands in each and which step it becomes. Their file names and first lines
tell them apart. Checked against what codex-cli 0.169.0 writes; older rollouts are read too, back to those whose lines
are bare response items.
"""

from typing import BinaryIO, ClassVar

from central_command.client.transcripts.codex_exec import ExecSession, is_exec_event
from central_command.client.transcripts.codex_rollout import RolloutSession, is_rollout_line
from central_command.client.transcripts.reader import Head, JsonLines, Steps, transcript_of


class CodexReader:
    """Reads `~/.codex/sessions/**/rollout-*.jsonl` and the output of `codex exec --json`."""

    provider: ClassVar[str] = "codex"

    def recognises(self, head: Head) -> bool:
        """Whether the first lines hold an event of either kind."""
        is_rollout = head.name.startswith("rollout-")
        return any(is_exec_event(each) or is_rollout_line(each, bare=is_rollout) for each in head.events)

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session; the first event that is of one kind tells which kind the file is."""
        session: ExecSession | RolloutSession | None = None
        lines = JsonLines(file)
        for event in lines:
            if session is None and is_exec_event(event):
                session = ExecSession()
            elif session is None and is_rollout_line(event, bare=True):
                session = RolloutSession()
            if session is not None:
                session.take(event)
                yield from session.list.drain()
        session = session or RolloutSession()
        yield from session.list.finish()
        return transcript_of(
            session,
            self.provider,
            session.usage,
            unreadable_lines=lines.unreadable,
            is_incomplete=lines.is_incomplete,
        )


READER = CodexReader()
