"""Cuts what is left of a source into the chunks of one session after the other. Reads and counts, and sends nothing.

`upload` and `watch` feed the spool with these chunks, and a dry run counts them.
"""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from central_command.client.contract.chunking import CHUNK_BYTES_MAX, CHUNK_STEPS_MAX, has_room, next_chunk
from central_command.client.contract.outcome import Ending
from central_command.client.contract.placing import Placing, is_taken, placing_for
from central_command.client.contract.signing import Draft
from central_command.client.contract.steps import Step
from central_command.client.spool.records import StoredSession
from central_command.client.uploading.authoring import Author
from central_command.client.uploading.history import marks_of
from central_command.client.uploading.recognition import DIGEST_BYTES, digest, record
from central_command.client.uploading.scrubbing import Scrubbing
from central_command.client.uploading.sources import FileError
from central_command.client.uploading.survey import Survey
from central_command.client.uploading.timing import timeline_of

_BYTES_PER_TOKEN = 4


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that is ready to be put: its envelope, and what its steps change in the source's state.

    `findings` says how much was scrubbed from its steps, by category.
    """

    draft: Draft
    steps: int
    log_bytes: int
    records: bytes
    placing: Placing
    findings: Counter[str]


class _Ahead(msgspec.Struct, frozen=True):
    """A step as the file has it, with its record and what is sent of it, once the step itself is left to be sent.

    Without a record it is one that the session took before.
    """

    step: Step
    record: bytes | None = None
    sent: Step | None = None
    findings: Counter[str] = msgspec.field(default_factory=Counter)


class Cutting:
    """One pass over a source's steps; those that `before` took are passed over.

    Those that the unfinished session among `before` took count for its end, as those do that are cut for it. Without a
    `scrubbing`, steps are sent as they are.
    """

    def __init__(
        self,
        survey: Survey,
        before: Sequence[StoredSession],
        unfinished: StoredSession | None,
        *,
        now_s: Callable[[], float],
        scrubbing: Scrubbing | None,
    ) -> None:
        self._scrubbing = scrubbing
        self._survey = survey
        self._steps = survey.steps()
        self._now_s = now_s
        self._timeline = survey.timeline or timeline_of(survey.times, now_s=now_s())
        self._marks = marks_of(survey, before)
        self._here = next((at for at, each in enumerate(before, start=1) if each is unfinished), None)
        """The mark of what the unfinished session took."""
        timed = zip(self._timeline.times, self._marks, strict=True)
        self._times_left = array("d", (at for at, mark in timed if not mark))
        self._read = self._cut = 0
        self._ahead: deque[_Ahead] = deque()
        """Steps that are left, and those of this session that stand between them."""
        self._ahead_bytes = 0
        self._ending = Ending()
        self.types: Counter[str] = Counter()
        """What was cut so far."""

    def fill(self) -> bool:
        """Read until the steps of a chunk are ahead; False when no more are left."""
        while len(self._ahead) < CHUNK_STEPS_MAX and self._ahead_bytes <= CHUNK_BYTES_MAX:
            step = next(self._steps, None)
            if step is None:
                break
            place, mark = self._read, self._marks[self._read]
            key, placed = self._known(step)
            self._read += 1
            if not mark:
                self._look_ahead(place, placed, key)
            elif mark == self._here:
                self._look_ahead(place, placed, None)
        return bool(self._ahead)

    def _known(self, step: Step) -> tuple[bytes, Step]:
        """The record of the next step that is read, and the step with its time as the timeline has it."""
        place = self._read
        key = self._survey.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]
        if self._survey.kept is None and key != digest(step):
            raise FileError("the file was written anew while it was read; run it again.")
        kept = record(key, step.timestamp)
        if place not in self._timeline.adjusted:
            return kept, step
        return kept, msgspec.structs.replace(step, timestamp=self._timeline.times[place], timestamp_adjusted=True)

    @property
    def adjusted(self) -> int:
        """How many of the file's steps have a wrong time that is put between its neighbours."""
        return len(self._timeline.adjusted)

    def placing(self) -> Placing:
        """How all that is left must be moved so that the server takes it now."""
        left = self._times_left[self._cut :] or [step.timestamp for step in self._left()]
        return placing_for(min(left), max(left), now_s=self._now_s())

    def pieces(self, author: Author, *, steps: int, chunks: int) -> Iterator[Piece]:
        """The chunks of a session that has so many steps and chunks, until it is full or no more are left."""
        number, size, placing = steps + 1, author.state.bytes_sent, author.state.placing
        while self.fill():
            steps_left = self._left()
            times = [placing.place(step.timestamp) for step in steps_left]
            if not is_taken(min(times), max(times), now_s=self._now_s()):
                placing = self.placing()  # the session may have been begun long ago
            chunk = next_chunk(steps_left, number, placing.place)
            if not has_room(chunks, size, chunk):
                return
            taken = [self._take() for _ in range(chunk.steps)]
            yield Piece(
                draft=author.chunk(chunks, chunk, placing),
                steps=chunk.steps,
                log_bytes=len(chunk.trajectory_log),
                records=b"".join(each.record or b"" for each in taken),
                placing=placing,
                findings=sum((each.findings for each in taken), Counter()),
            )
            number, chunks, size = number + chunk.steps, chunks + 1, size + len(chunk.trajectory_log)

    def end(self) -> Ending:
        """How the session ends that is full, or of which no more steps are left; the next piece begins another one."""
        # In a file that was written anew, some of the session's steps may stand behind new ones.
        for each in self._ahead:
            if each.record is None:
                self._ending.take(each.step)
                self._ahead_bytes -= each.step.token_count * _BYTES_PER_TOKEN
        self._ahead = deque(each for each in self._ahead if each.record is not None)
        here, self._here = self._here, None
        if here is not None and here in self._marks[self._read :]:
            for place, step in enumerate(islice(self._survey.steps(), self._read, None), start=self._read):
                if self._marks[place] == here:
                    self._ending.take(msgspec.structs.replace(step, timestamp=self._timeline.times[place]))
        ending, self._ending = self._ending, Ending()
        return ending

    def _left(self) -> list[Step]:
        return [each.sent for each in self._ahead if each.sent is not None]

    def _look_ahead(self, place: int, step: Step, key: bytes | None) -> None:
        """Keep a step in its place; the first one that is kept is one that is left."""
        if key is None and not self._ahead:
            self._ending.take(step)
            return
        if key is None:
            self._ahead.append(_Ahead(step))
        elif self._scrubbing is None:
            self._ahead.append(_Ahead(step, key, step))
        else:
            self._ahead.append(_Ahead(step, key, *self._scrubbing.scrubbed(place, step)))
        self._ahead_bytes += step.token_count * _BYTES_PER_TOKEN

    def _take(self) -> _Ahead:
        """Take the first step that is ahead, and those of this session up to the next one that is left."""
        taken = self._ahead[0]
        assert taken.record is not None
        self._cut += 1
        self.types[taken.step.type] += 1
        self._pass()
        while self._ahead and self._ahead[0].record is None:
            self._pass()
        return taken

    def _pass(self) -> None:
        step = self._ahead.popleft().step
        self._ahead_bytes -= step.token_count * _BYTES_PER_TOKEN
        self._ending.take(step)
