"""A session file read once for what must be known before anything is sent: whose it is, what it holds, and its times.

Its steps are read again when they are sent (`Survey.steps`), so that of a file of any size only some of them are in
memory. Sixteen bytes a step are kept: what it is recognised by, and its time.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from central_command.client.contract.steps import Step
from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.reader import Reading, Transcript, TranscriptReader
from central_command.client.uploading.history import DIGEST_BYTES, digest
from central_command.client.uploading.names import kept_key, kept_path
from central_command.client.uploading.sources import NoSessionError, reader_of, unreadable


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds: `digests` and `times` of all its steps (or of the first so many), in order."""

    path: Path
    reader: TranscriptReader
    transcript: Transcript
    digests: bytes
    times: "array[float]"

    @property
    def source(self) -> str:
        """The key under which the spool knows the session: the same for a copy or a moved file.

        Made of the agent's own id of the session, or of the path when there is none, and of the first step.
        """
        whose = kept_key(self.transcript.session_key) or kept_path(self.path.resolve())
        return f"{self.transcript.provider}:{whose}:{self.digests[:DIGEST_BYTES].hex()}"

    def first(self, count: int) -> "Survey":
        """The same of the first `count` steps alone."""
        return msgspec.structs.replace(self, digests=self.digests[: count * DIGEST_BYTES], times=self.times[:count])

    def times_left(self, taken: Counter[bytes]) -> "array[float]":
        """The times of the steps that are not among `taken`, in order; what occurs twice must have been taken twice."""
        left = Counter(taken)
        times = array("d")
        for place, time_s in enumerate(self.times):
            key = self.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]
            if left[key] > 0:
                left[key] -= 1
            else:
                times.append(time_s)
        return times

    def steps(self) -> Iterator[Step]:
        """Read the steps again. Raises FileError."""
        try:
            with open_transcript(self.path) as file:
                yield from islice(self.reader.read(file), len(self.times))
        except OSError as error:
            raise unreadable(error) from error


def survey(path: Path, provider: str | None, *, on_read: Callable[[int], None] = lambda _bytes: None) -> Survey:
    """Read the session in `path`, written by `provider`, or by whom it looks like; `on_read` hears how far it is.

    Raises NoSessionError when it holds no step of a session, FileError when it cannot be read or is too large.
    """
    reader = reader_of(path, provider)
    digests = bytearray()
    times = array("d")
    try:
        with open_transcript(path) as file:
            reading = Reading(reader.read(file))
            for step in reading:
                digests += digest(step)
                times.append(step.timestamp)
                on_read(file.tell())
    except OSError as error:
        raise unreadable(error) from error
    transcript = reading.transcript
    if not times:
        lines = (
            f" ({transcript.unreadable_lines} of its lines are no JSON objects, or too large)"
            if transcript.unreadable_lines
            else ""
        )
        raise NoSessionError(f"the file holds no steps of a {transcript.provider} session{lines}.")
    return Survey(path=path, reader=reader, transcript=transcript, digests=bytes(digests), times=times)
