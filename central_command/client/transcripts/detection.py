"""Finds out whose session file a file is, from its first lines and its name."""

import io
from pathlib import Path

from central_command.client.transcripts import providers
from central_command.client.transcripts.json_values import text_of
from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.other_agents import other_agent
from central_command.client.transcripts.reader import Head, JsonLines, TranscriptReader

HEAD_BYTES_MAX = 1024 * 1024
"""As much of a file's beginning as is looked at; a first line can hold a whole prompt."""
HEAD_LINES_MAX = 200


def detect(path: Path) -> TranscriptReader | None:
    """The reader for `path`; None for a file that no such agent wrote, of which `describe_unknown` says why.

    A file that cannot be read is none either. Reads at most `HEAD_BYTES_MAX` bytes.
    """
    try:
        head = read_head(path)
    except OSError:
        return None
    if other_agent(head) is not None:
        return None
    return next((reader for reader in providers.READERS.values() if reader.recognises(head)), None)


def describe_unknown(path: Path) -> str:
    """One sentence that says why `path` is no agent's session file; for files that `detect` gave None for."""
    agents = ", ".join(sorted(providers.READERS))
    try:
        if path.is_dir():
            return "It is a folder, not a session file."
        head = read_head(path)
    except OSError as error:
        return f"The file cannot be read: {error.strerror or error}."
    if (other := other_agent(head)) is not None:
        return f"The file is another agent's: {other} wrote it, and what is read is {agents}."
    if not head.text.strip():
        return "The file is empty: the agent has not written to it yet."
    if not head.events and head.text.lstrip()[:1] not in {"{", "["}:
        return f"The file is no session file of {agents}: its first lines are not JSON."
    kinds = sorted({kind for event in head.events[:20] if (kind := text_of(event.get("type")))})[:5]
    found = f" (found: {', '.join(kind[:40] for kind in kinds)})" if kinds else ""
    return f"The file is no session file of {agents}: its first lines hold none of their events{found}."


def read_head(path: Path) -> Head:
    """The beginning of `path`; raises OSError."""
    with open_transcript(path) as file:
        start = file.read(HEAD_BYTES_MAX)
    lines = start.split(b"\n", HEAD_LINES_MAX)[:HEAD_LINES_MAX]
    events = tuple(JsonLines(io.BytesIO(b"\n".join(lines))))
    return Head(path.name, events, start.decode("utf-8", "replace"))
