"""Capture that never waits and never raises: a bounded queue, and a thread of its own that writes what is in it.

The thread is made with the first text, so that a user who is not opted in has none. Nothing that waits outlives a
withdrawal: each text carries the time at which it was put, and is not written when its user has withdrawn since, even
if they have opted in again before the thread came to it.
"""

import os
import threading
import time
from collections import deque
from typing import Any, Final

import msgspec

from central_command.training.intake import RECORDS_AT_ONCE_MAX, Captured, TrainingDataIntake
from central_command.training.records import TrainingRecord, log

ITEMS_MAX: Final = 10_000
CHARS_MAX: Final = 67_108_864
"""Characters of all texts that wait: what an application may lose, in memory, to a disk that stands still."""
FLUSH_TIMEOUT_S: Final = 5.0


class CaptureQueueStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What became of what was put: texts that wait, were written, were not because of consent or what they are
    (`refused`), found the queue full or stopped (`dropped`), and that files would not take (`failed`).
    """

    waiting: int
    written: int
    refused: int
    dropped: int
    failed: int


class CaptureQueue:
    """A queue of texts of one user into an intake, for any thread.

    At most `items_max` texts with `chars_max` characters wait. Of failures in a row the first is a warning in the log,
    and each is counted. What waits when the process ends is lost: `flush` first.
    """

    def __init__(
        self, intake: TrainingDataIntake, user_id: str, *, items_max: int = ITEMS_MAX, chars_max: int = CHARS_MAX
    ) -> None:
        self._intake = intake
        self._user_id = user_id
        self._items_max = items_max
        self._chars_max = chars_max
        self._begin()

    def __repr__(self) -> str:
        return f"<CaptureQueue {self.statistics()}>"

    def put(self, session_id: str, content: str, content_type: str, metadata: dict[str, Any] | None = None) -> bool:
        """Queue a text and return at once; False when it is dropped. Raises nothing."""
        self._begin_anew_after_fork()
        try:
            return self._put(session_id, content, content_type, metadata)
        except Exception as error:  # noqa: BLE001 (an application must not fail for its capture)
            self._warn("a text cannot be captured: %s", error)
            with self._changed:
                self._dropped += 1
            return False

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until all that was put is dealt with; False when that takes longer."""
        self._begin_anew_after_fork()
        with self._changed:
            return self._changed.wait_for(lambda: not self._items and not self._under_way, timeout_s)

    def stop(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Drop what waits and end the thread; False when it does not end in time. What is put later is dropped."""
        self._begin_anew_after_fork()
        with self._changed:
            self._is_stopped = True
            self._dropped += len(self._items)
            self._items.clear()
            self._chars = 0
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def statistics(self) -> CaptureQueueStatistics:
        """The current figures."""
        self._begin_anew_after_fork()
        with self._changed:
            return CaptureQueueStatistics(
                waiting=len(self._items) + self._under_way,
                written=self._written,
                refused=self._refused,
                dropped=self._dropped,
                failed=self._failed,
            )

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._items: deque[Captured] = deque()
        self._chars = 0
        self._under_way = 0
        self._written = 0
        self._refused = 0
        self._dropped: int = 0
        self._failed = 0
        self._is_stopped = False
        self._is_warned = False
        self._thread: threading.Thread | None = None

    def _begin_anew_after_fork(self) -> None:
        """A child has neither the thread nor, perhaps, the lock in a state to be used; what waits is its parent's."""
        if self._process != os.getpid():
            self._begin()

    def _put(self, session_id: str, content: str, content_type: str, metadata: dict[str, Any] | None) -> bool:
        if not isinstance(content, str):
            raise ValueError("content must be a text")  # noqa: TRY004 (as the intake has it)
        if metadata is not None and not isinstance(metadata, dict):
            raise ValueError("metadata must be a dict")
        captured = Captured(
            user_id=self._user_id,
            session_id=session_id,
            content=content,
            content_type=content_type,
            metadata=dict(metadata) if metadata else None,
            captured_at=time.time(),
        )
        with self._changed:
            if self._is_stopped:
                self._dropped += 1
                return False
            is_full = len(self._items) >= self._items_max or self._chars + len(content) > self._chars_max
            if not is_full:
                self._items.append(captured)
                self._chars += len(content)
                self._changed.notify_all()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="training capture", daemon=True)
                    self._thread.start()
                return True
            self._dropped += 1
        self._warn("capture is behind: %s", f"{len(self._items):,} texts wait, and what comes is dropped")
        return False

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._is_stopped)
                if self._is_stopped:
                    return
                part = [self._items.popleft() for _ in range(min(len(self._items), RECORDS_AT_ONCE_MAX))]
                self._chars -= sum(len(each.content) for each in part)
                self._under_way = len(part)
            written = refused = failed = 0
            try:
                # The earliest: a withdrawal among them refuses them all.
                taken = self._intake.take_in(part, since=min(each.captured_at for each in part))
                written = sum(isinstance(each, TrainingRecord) for each in taken)
                refused = len(part) - written
                self._say_wrong([each for each in taken if isinstance(each, ValueError)])
            except Exception as error:  # noqa: BLE001 (as in `put`; the thread goes on with what comes next)
                failed = len(part)
                self._warn("training data could not be written: %s", error)
            with self._changed:
                self._written += written
                self._refused += refused
                self._failed += failed
                self._under_way = 0
                self._changed.notify_all()

    def _say_wrong(self, errors: list[ValueError]) -> None:
        if errors:
            self._warn("a text cannot be captured: %s", errors[0])
        else:
            self._is_warned = False

    def _warn(self, text: str, what: object) -> None:
        """One line in the log for failures in a row."""
        if not self._is_warned:
            self._is_warned = True
            log.warning(text, what)
