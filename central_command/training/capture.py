"""A session that is captured from its start to its end."""

import json
import time
from collections import Counter
from typing import Any

from actors.curation.domains import DomainTagger
from actors.curation.scrubbing.scrubber import PIIScrubber
from central_command.training.consent import ConsentManager
from central_command.training.corpus import TrainingCorpus
from central_command.training.intake import Captured, TrainingDataIntake
from central_command.training.records import TrainingRecord


class CaptureSession:
    """Captures what is recorded between `start` and `end`, for one thread, while its user is opted in.

    Consent is looked at again for every text. Once it is withdrawn the session is over for good: nothing is buffered,
    so nothing is written later, and opting in again is for the next session. What is recorded while the session is not
    active is passed over. `record_…` raises ValueError as `TrainingDataIntake.submit` does, and TrainingDataError and
    OSError when files cannot be read or written; `CaptureQueue` neither raises nor waits.
    """

    def __init__(
        self,
        user_id: str,
        session_id: str,
        consent_manager: ConsentManager,
        corpus: TrainingCorpus,
        scrubber: PIIScrubber,
        tagger: DomainTagger,
    ) -> None:
        self._user_id = user_id
        self._session_id = session_id
        self._consent = consent_manager
        self._intake = TrainingDataIntake(consent_manager, corpus, scrubber, tagger)
        self._started_at: float | None = None
        self._began_s = 0.0
        self._is_over = False
        self._records = 0
        self._bytes = 0
        self._domains: Counter[str] = Counter()
        self._summary: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<CaptureSession {self._session_id}, {self._records} records>"

    def start(self) -> None:
        """Begin to capture. Raises PermissionError when the user has not opted in."""
        started_at = time.time()
        if not self._consent.is_opted_in(self._user_id):
            raise PermissionError("the user has not opted in, or only to earlier terms: nothing is captured")
        self._started_at, self._began_s = started_at, time.monotonic()

    def record_prompt(self, text: str, metadata: dict[str, Any] | None = None) -> None:
        """Capture what a user submitted; it is on disk when this returns."""
        self._record(text, "prompt", metadata)

    def record_completion(self, text: str, metadata: dict[str, Any] | None = None) -> None:
        """Capture what a model returned; it is on disk when this returns."""
        self._record(text, "completion", metadata)

    def record_conversation(self, messages: list[dict[str, Any]], metadata: dict[str, Any] | None = None) -> None:
        """Capture the messages of a whole session, as JSON; they are on disk when this returns."""
        if self._started_at is None or self._is_over:
            return
        if not isinstance(messages, list | tuple):
            raise ValueError(f"messages must be a list, not {type(messages).__name__}")  # noqa: TRY004
        try:
            text = json.dumps(messages, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the messages cannot be written as JSON: {error}") from error
        self._record(text, "conversation", metadata)

    def end(self) -> dict[str, Any]:
        """End the session: `{"session_id", "records_captured", "bytes_captured", "domains", "duration_seconds"}`.

        Bytes are those of the scrubbed texts in UTF-8; `domains` says how many records each domain has. Asked again,
        it says the same.
        """
        if self._summary is None:
            self._is_over = True
            self._summary = {
                "session_id": self._session_id,
                "records_captured": self._records,
                "bytes_captured": self._bytes,
                "domains": dict(self._domains),
                "duration_seconds": 0.0 if self._started_at is None else time.monotonic() - self._began_s,
            }
        return self._summary

    def is_active(self) -> bool:
        """Whether what is recorded now would be captured: started, not ended, and consent not withdrawn since."""
        if self._started_at is None or self._is_over:
            return False
        with self._consent.held([self._user_id], since=self._started_at) as versions:
            self._is_over = not versions
        return not self._is_over

    def _record(self, text: str, content_type: str, metadata: dict[str, Any] | None) -> None:
        if self._started_at is None or not self.is_active():
            return
        captured = Captured(
            user_id=self._user_id,
            session_id=self._session_id,
            content=text,
            content_type=content_type,
            metadata=metadata,
            captured_at=time.time(),
        )
        (taken,) = self._intake.take_in([captured], since=self._started_at)
        if isinstance(taken, ValueError):
            raise taken
        if isinstance(taken, TrainingRecord):
            self._records += 1
            self._bytes += len(taken.content.encode("utf-8", "surrogatepass"))
            self._domains[taken.domain] += 1
