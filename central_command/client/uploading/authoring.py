"""What is said of a transcript and how its steps become envelopes, as published clients write them. Pure."""

import uuid
from collections.abc import Mapping

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.chunking import Chunk
from central_command.client.contract.outcome import Ending, Place
from central_command.client.contract.signing import Draft, draft_envelope
from central_command.client.delivering.posting import printable
from central_command.client.spool.records import Unsigned
from central_command.client.uploading.history import SourceState
from central_command.client.uploading.names import kept_path
from central_command.client.uploading.survey import Survey
from central_command.client.uploading.timing import Placing
from central_command.process.steering import escaped

_SESSION_KEY_CHARS_SHOWN = 8


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Whose steps are sent: the source, the file it was read from, and what the contract's `metadata` says of it."""

    source: str
    path: str
    provider: str
    model: str
    agent_role: str
    agent_id: str


def work_for(survey: Survey, *, model: str) -> Work:
    """What is said of a file; `model` in place of the one that the file names, when it is not empty."""
    transcript = survey.transcript
    chosen = escaped(model or transcript.model)[: SchemaSettings().model_engine_chars_max]
    key = transcript.session_key[:_SESSION_KEY_CHARS_SHOWN]
    return Work(
        source=survey.source,
        path=kept_path(survey.path.resolve()),
        provider=transcript.provider,
        model=chosen,
        agent_role="subagent" if transcript.is_subagent else "agent",
        agent_id=printable(f"{transcript.provider}-{key}"),
    )


class Author:
    """Writes a session's envelopes as published clients do, but for the attestation."""

    def __init__(self, session_id: str, state: SourceState, client_version: str) -> None:
        self._session_id = session_id
        self.state = state
        self._client_version = client_version

    def chunk(self, number: int, chunk: Chunk) -> Draft:
        """The CHUNK with `chunk_sequence` `number`."""
        head = self._head() | {"chunk_sequence": number, "contributor_id": self.state.contributor_id}
        return draft_envelope(head, {"metadata": self._metadata()}, trajectory_log=chunk.trajectory_log)

    def end(self, ending: Ending, chunks: int, place: Place) -> list[Unsigned]:
        """What ends a session with steps (at least one): SESSION_CLOSE, and USER_FEEDBACK if they show any."""
        metadata = self._metadata() | {"domain_tags": None, "session_embedding": None}
        members = {"metadata": metadata, "outcome": ending.outcome(chunks=chunks, place=place)}
        found = [self._last("SESSION_CLOSE", members)]
        if (feedback := ending.feedback(place=place)) is not None:
            found.append(self._last("USER_FEEDBACK", {"feedback": feedback}))
        return found

    def _last(self, kind: str, members: Mapping[str, object]) -> Unsigned:
        tail: dict[str, object] = msgspec.to_builtins(members)
        return Unsigned(kind=kind, draft=draft_envelope(self._head() | {"type": kind}, tail))

    def _head(self) -> dict[str, object]:
        return {"envelope_id": f"env_{uuid.uuid4()}", "session_id": self._session_id}

    def _metadata(self) -> dict[str, object]:
        """What a transcript cannot show is null or the neutral value."""
        metadata: dict[str, object] = {
            **self.state.metadata,
            "task_complexity": "medium",
            "team_size": 1,
            "session_quality": None,
            "groove_version": self._client_version,
            "leaf_context": None,
        }
        return metadata if self.state.continues is None else metadata | {"continues_session": self.state.continues}


def first_state(work: Work, *, contributor_id: str, placing: Placing) -> SourceState:
    """The state of a new session."""
    return SourceState(
        path=work.path,
        contributor_id=contributor_id,
        metadata={
            "model_engine": work.model,
            "provider": work.provider,
            "agent_role": work.agent_role,
            "agent_id": work.agent_id,
        },
        placing=placing,
    )
