"""Claude Code's session files: one JSON event a line, read into steps in the order of the file.

| in the file | step |
|---|---|
| assistant `text` | thought |
| assistant `thinking` | thought, `source: thinking` (redacted thinking has no text and is left out) |
| assistant `tool_use`, `server_tool_use` | action with `tool`, `arguments` and `call_id` |
| `tool_result` and the like | observation, or error when `is_error`; same `call_id` as its action |
| user text | instruction, `source: user`; in a sub-agent's file `source: agent` (`claude_code_texts`) |
| "[Request interrupted by user...]" | instruction, `source: user`, `intent: interruption` |
| text that was queued while the agent worked | instruction, `source: queue`, where the agent received it (`claude_code_queue`) |
| `attachment`: what the agent was given beside the messages | mostly observation (`claude_code_attachments`) |
| `<task-notification>`: a background task ended | observation, `source: notification` |
| an API error in place of an answer | error, `source: api` |
| `result` (of `claude -p --output-format stream-json`) | resolution, or error when the run failed |

Only a `result` event is a resolution: the last text of an interactive session may be an answer, a question or half
a plan, and the file does not say which. Blank text, which the program writes around thinking, is no step.
`--output-format json --verbose` prints the same events as one array, which is in memory as a whole; without
`--verbose` it prints the `result` alone.

Left out on purpose, and counted by kind:
- *Events copied from another session*, as far as the file says so (`claude_code_lineage`), and events written twice.
- *Meta events* (`isMeta`): text that the program, not the user, put in (caveats, the bodies of slash commands), but for
  what a hook sent back.
- *Compaction summaries*: they repeat in other words what the steps before them already say.
- *Local commands* (`/model`, `/mcp`, `!ls`) with their output: carried out by the program, not by the agent.
- *Reminders*, lists of tools and skills, modes, and other attachments that tell the agent nothing of the task.
- *Sidechains*: a sub-agent's steps are another agent's trajectory and would stand between an action and its result;
  the call that started it and its answer are here. A file that holds nothing else (`agent-*.jsonl`) is that
  sub-agent's own session and is read whole; its key is its parent's with its own `agentId`.
- *progress, system, file-history-snapshot, summary*: the program's own records; what a sub-agent did is repeated there.
- *Whatever is not known*, under its own name.

What nobody can read is never a step, nor part of one: the signatures of thinking, the ciphertext of search results.

One assistant message is written as several events, one a content block, each with the usage of the whole message:
usage is counted once a message id, on the message's first step. Of a sidechain that names no `agentId`, and so has no
file of its own, it is on the last step before it.
Tool calls made in parallel stand before their results; a result that was written before its call is held back until
the call has been read.

*While the file grows*, what a line means can depend on one of those behind it: a result whose call may yet follow, a
slash command that turns out to be the program's own, queued text whose delivery may follow. These are looked for before
the second message of the model that begins behind the line, and among the next `WINDOW_EVENTS` (`claude_code_horizon`).
Only where one of them is open at the end of the file are the steps from there on not settled, so what is settled stays
so. Nothing is settled before the first message and the first time, nor, in a file that begins with sidechain events
which name no `agentId`, before `WINDOW_EVENTS` messages have shown that it holds nothing else, nor in a file that is
named for one session and has only another's messages yet.
"""  # noqa: E501 -- a table

from collections.abc import Iterable
from typing import BinaryIO, ClassVar

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.arrays import begins_as_array
from central_command.client.transcripts.claude_code_events import is_of_claude_code
from central_command.client.transcripts.claude_code_lineage import older_and_own
from central_command.client.transcripts.claude_code_session import Session
from central_command.client.transcripts.json_values import objects_of
from central_command.client.transcripts.one_text import read_one_text
from central_command.client.transcripts.reader import Head, JsonLines, Steps, transcript_of

WINDOW_EVENTS = 64
"""How many events before and after one are looked at to tell what it means; its settled steps wait for no more."""
_BEGINNING_BYTES = 1024


class ClaudeCodeReader:
    """Reads the files under `~/.claude/projects/` and the JSON of both kinds that `claude -p` prints."""

    provider: ClassVar[str] = "claude-code"

    def recognises(self, head: Head) -> bool:
        """Whether the first lines, or the first elements of an array, hold an event of this program and no other's."""
        return is_of_claude_code(head)

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session; damaged records are counted, and so is all that is no step."""
        beginning = file.read(_BEGINNING_BYTES)
        file.seek(0)
        is_array = begins_as_array(beginning.decode("utf-8", "replace"))
        whole = read_one_text(file) if is_array or beginning.split(b"\n", 1)[0].strip() == b"{" else None
        older, own = older_and_own(file)
        lines = JsonLines(file)
        events: Iterable[JsonObject] = lines
        if whole is not None:
            events = [whole] if isinstance(whole, dict) else objects_of(whole)
        elif is_array:
            events = ()
        session = Session(
            events, window=WINDOW_EVENTS, own_session=own if older else "", is_undecided=bool(older) and not own
        )
        yield from session.read()
        return transcript_of(
            session,
            self.provider,
            unreadable_lines=lines.unreadable,
            is_incomplete=lines.is_incomplete or (is_array and whole is None),
            sidechain_events=session.skipped_sidechain_events,
            left_out=session.left_out(),
            parent_key=session.parent_key,
        )


READER = ClaudeCodeReader()
