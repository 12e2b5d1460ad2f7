"""What is said of a transcript and how its steps become envelopes, as published clients write them. Pure."""

import uuid
from collections.abc import Sequence

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.chunking import Chunk
from central_command.client.contract.outcome import feedback_of, outcome_of
from central_command.client.contract.signing import Draft, draft_envelope
from central_command.client.contract.steps import Step
from central_command.client.delivering.posting import printable
from central_command.client.transcripts.reader import Transcript
from central_command.client.uploading.uploads import SourceState, placing_for

_SESSION_KEY_CHARS_SHOWN = 8


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Whose steps are sent: the source, the file it was read from, and what the contract's `metadata` says of it."""

    source: str
    path: str
    provider: str
    model: str
    agent_role: str
    agent_id: str


def work_for(transcript: Transcript, *, source: str, path: str, model: str) -> Work:
    """What is said of a transcript; `model` in place of the one that the file names, when it is not empty."""
    chosen = (model or transcript.model)[: SchemaSettings().model_engine_chars_max]
    key = transcript.session_key[:_SESSION_KEY_CHARS_SHOWN]
    return Work(
        source=source,
        path=path,
        provider=transcript.provider,
        model=chosen,
        agent_role="subagent" if transcript.is_subagent else "agent",
        agent_id=printable(f"{transcript.provider}-{key}"),
    )


class Author:
    """Writes a session's envelopes as published clients do, but for the attestation."""

    def __init__(self, session_id: str, state: SourceState, client_version: str) -> None:
        self._session_id = session_id
        self._state = state
        self._client_version = client_version

    def chunk(self, number: int, chunk: Chunk) -> Draft:
        """The CHUNK with `chunk_sequence` `number`."""
        head = self._head() | {"chunk_sequence": number, "contributor_id": self._state.contributor_id}
        return draft_envelope(head, {"metadata": self._metadata()}, trajectory_log=chunk.trajectory_log)

    def close(self, steps: tuple[Step, ...], chunks: int) -> Draft:
        """The SESSION_CLOSE of a session with `steps` (at least one)."""
        metadata = self._metadata() | {"domain_tags": None, "session_embedding": None}
        members = {"metadata": metadata, "outcome": outcome_of(steps, chunks=chunks)}
        return draft_envelope(self._head() | {"type": "SESSION_CLOSE"}, msgspec.to_builtins(members))

    def feedback(self, steps: tuple[Step, ...]) -> Draft | None:
        """The USER_FEEDBACK, if `steps` show what the user made of the work."""
        feedback = feedback_of(steps)
        if feedback is None:
            return None
        return draft_envelope(self._head() | {"type": "USER_FEEDBACK"}, msgspec.to_builtins({"feedback": feedback}))

    def _head(self) -> dict[str, object]:
        return {"envelope_id": f"env_{uuid.uuid4()}", "session_id": self._session_id}

    def _metadata(self) -> dict[str, object]:
        """What a transcript cannot show is null or the neutral value."""
        metadata: dict[str, object] = {
            **self._state.metadata,
            "task_complexity": "medium",
            "team_size": 1,
            "session_quality": None,
            "groove_version": self._client_version,
            "leaf_context": None,
        }
        return metadata if self._state.continues is None else metadata | {"continues_session": self._state.continues}


def first_state(work: Work, steps: Sequence[Step], *, contributor_id: str, now_s: float) -> SourceState:
    """The state of a new session for `steps` (at least one)."""
    return SourceState(
        path=work.path,
        contributor_id=contributor_id,
        metadata={
            "model_engine": work.model,
            "provider": work.provider,
            "agent_role": work.agent_role,
            "agent_id": work.agent_id,
        },
        placing=placing_for(steps, now_s),
    )
