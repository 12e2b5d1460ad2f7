"""Finds out whose session file a file is, from its first lines and its name."""

import io
from pathlib import Path

from central_command.client.transcripts import providers
from central_command.client.transcripts.json_values import text_of
from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.other_agents import refused_file
from central_command.client.transcripts.reader import LINE_BYTES_MAX, Head, JsonLines, TranscriptReader

HEAD_BYTES_MAX = 1024 * 1024
"""As much of a file's beginning as is looked at, but for a first line that is longer: it can hold a whole prompt."""
HEAD_LINES_MAX = 200
_SKIPPED_BYTES = 65_536
_RESEMBLED = frozenset({"claude-code", "codex", "gemini"})
"""Agents whose formats others have taken over: theirs are recognised last."""
HEAD_READ_BYTES_MAX = 64 * 1024 * 1024
"""Most that is read to find `HEAD_BYTES_MAX` of lines that are not too long."""


def detect(path: Path) -> TranscriptReader | None:
    """The reader for `path`; None for a file that no such agent wrote, of which `describe_unknown` says why.

    A file that cannot be read is none either. Reads the beginning alone.
    """
    try:
        head = read_head(path)
    except OSError:
        return None
    return reader_for(head)


def reader_for(head: Head) -> TranscriptReader | None:
    """The reader of a file that begins like this; None when it is another agent's, or nobody's."""
    if refused_file(head) is not None:
        return None
    known = sorted(providers.READERS.values(), key=lambda reader: reader.provider in _RESEMBLED)
    return next((reader for reader in known if reader.recognises(head)), None)


def bears_anothers_sign(head: Head, provider: str) -> bool:
    """Whether a file that begins like this has what only another agent than `provider` writes."""
    if refused_file(head) is not None:
        return True
    found = reader_for(head)
    return found is not None and found.provider != provider and found.provider not in _RESEMBLED


def describe_unknown(path: Path) -> str:
    """One sentence that says why `path` is no agent's session file; for files that `detect` gave None for."""
    try:
        if path.is_dir():
            return "It is a folder, not a session file."
        head = read_head(path)
    except OSError as error:
        return f"The file cannot be read: {error.strerror or error}."
    return describe_head(head)


def describe_head(head: Head) -> str:
    """One sentence that says why a file that begins like this is no session of an agent that is read."""
    agents = ", ".join(sorted(providers.READERS))
    if (refused := refused_file(head)) is not None and refused.reason:
        return f"The file is {refused.agent}'s, in a form that is not read: {refused.reason}."
    if refused is not None:
        return f"The file is another agent's: {refused.agent} wrote it, and what is read is {agents}."
    if not head.text.strip():
        return "The file is empty: the agent has not written to it yet."
    if not head.events and head.text.lstrip()[:1] not in {"{", "["}:
        return f"The file is no session file of {agents}: its first lines are not JSON."
    kinds = sorted({kind for event in head.events[:20] if (kind := text_of(event.get("type")))})[:5]
    found = f" (found: {', '.join(kind[:40] for kind in kinds)})" if kinds else ""
    return f"The file is no session file of {agents}: its first lines hold none of their events{found}."


def read_head(path: Path) -> Head:
    """The beginning of `path`, whose lines are whole however long the first ones are; raises OSError."""
    looked_at: list[bytes] = []
    text = bytearray()  # grows in place, however many the lines are
    lines, size, read = 0, 0, 0
    with open_transcript(path) as file:
        while lines < HEAD_LINES_MAX and size < HEAD_BYTES_MAX and read < HEAD_READ_BYTES_MAX:
            line = file.readline(LINE_BYTES_MAX + 1)
            if not line:
                break
            text += line[: HEAD_BYTES_MAX - len(text)]
            read += len(line)
            if line.isspace():
                continue
            lines += 1
            if len(line) <= LINE_BYTES_MAX:
                size += len(line)
                looked_at.append(line)
            while not line.endswith(b"\n") and read < HEAD_READ_BYTES_MAX and (line := file.readline(_SKIPPED_BYTES)):
                read += len(line)  # of a line that is too long to be looked at
    events = tuple(JsonLines(io.BytesIO(b"".join(looked_at))))
    return Head(path.name, events, text.decode("utf-8", "replace"))
