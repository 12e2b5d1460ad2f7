"""A session file read once for what must be known before anything is sent: whose it is, what it holds, and its times.

Of a file of any size only some of its steps are in memory: they are kept on disk until they are sent (`KeptSteps`), or
read again then (`Survey.steps`). Sixteen bytes a step stay: what it is recognised by, and its time; and 40 for each
message whose usage was reported.
"""

from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from central_command.client.contract.steps import Step
from central_command.client.transcripts.beside_sessions import is_beside_sessions
from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.reader import Reading, Transcript, TranscriptReader
from central_command.client.uploading.keeping import KeptSteps
from central_command.client.uploading.names import kept_key, kept_path
from central_command.client.uploading.recognition import DIGEST_BYTES, Steps, digest, old_digest, plain_path
from central_command.client.uploading.sources import BESIDE, NoSessionError, NoStepsError, reader_of, unreadable
from central_command.client.uploading.timing import Timeline


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds: `digests` and `times` of all its steps (or of the first so many), in order.

    The first `copied_steps` are those of another session, which was sent already (`History.without_copies`). `kept`
    holds the steps, unless they must be read again. `timeline` is what is made of `times`, where somebody has.
    """

    path: Path
    reader: TranscriptReader
    transcript: Transcript
    digests: bytes
    times: "array[float]"
    copied_steps: int = 0
    kept: KeptSteps | None = None
    timeline: Timeline | None = None

    @property
    def family(self) -> str:
        """What the spool's names for the session begin with: the agent, and its own id of it, or the path without one.

        Sub-agents share their parent's id, and a fork may.
        """
        whose = kept_key(self.transcript.session_key) or plain_path(kept_path(self.path.resolve()))
        return f"{self.transcript.provider}:{whose}"

    @property
    def parents_family(self) -> str:
        """The family of the session that a sub-agent works for; nothing where the file does not name it."""
        parent = kept_key(self.transcript.parent_key)
        return f"{self.transcript.provider}:{parent}" if parent else ""

    @property
    def known_by(self) -> Steps:
        """What the steps are recognised by."""
        return Steps(self.digests, self.times, self._old_digests, self.transcript.started_s is not None)

    def first(self, count: int) -> "Survey":
        """The same of the first `count` steps alone."""
        return msgspec.structs.replace(
            self, digests=self.digests[: count * DIGEST_BYTES], times=self.times[:count], timeline=None
        )

    def steps(self) -> Iterator[Step]:
        """The steps again, each with the usage that was reported with it. Raises FileError."""
        usages = self.transcript.usages
        try:
            for place, step in enumerate(islice(self._steps(), len(self.times))):
                usage = usages.of(place)
                yield step if usage is None else msgspec.structs.replace(step, usage=usage)
        except OSError as error:
            raise unreadable(error) from error

    def _steps(self) -> Iterator[Step]:
        if self.kept is not None:
            yield from self.kept.steps()
        else:
            with open_transcript(self.path) as file:
                yield from self.reader.read(file)

    def _old_digests(self) -> bytes:
        return b"".join(old_digest(step) for step in self.steps())


def survey(
    path: Path,
    provider: str | None,
    *,
    on_read: Callable[[int], None] = lambda _bytes: None,
    kept: KeptSteps | None = None,
) -> Survey:
    """Read the session in `path`, written by `provider`, or by whom it looks like; `on_read` hears how far it is.

    Its steps are put into `kept`, which is to stay open for as long as they are wanted.

    Raises NoSessionError when it is no session, or holds no step, FileError when it cannot be read or is too large.
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
                if kept is not None:
                    kept.add(step)
                on_read(file.consumed)
    except OSError as error:
        raise unreadable(error) from error
    transcript = reading.transcript
    if not times:
        raise _no_steps(path, transcript)
    if kept is not None:
        kept.finish()
    return Survey(
        path=path,
        reader=reader,
        transcript=transcript,
        digests=bytes(digests),
        times=times,
        kept=kept if kept is not None and kept.is_whole else None,
    )


def _no_steps(path: Path, transcript: Transcript) -> NoSessionError:
    """Why a file that an agent wrote has no step: only one without any damage is sure to miss nothing."""
    if is_beside_sessions(path.parts):
        return NoStepsError(BESIDE)
    what = f"the file holds no steps of a {transcript.provider} session"
    if transcript.unreadable_lines:
        return NoSessionError(f"{what} ({transcript.unreadable_lines} of its lines are no JSON objects, or too large).")
    if transcript.is_incomplete:
        return NoSessionError(f"{what}: what it holds is cut off, or is still being written.")
    return NoStepsError(f"{what}.")
