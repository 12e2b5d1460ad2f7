"""What is said of a transcript and how its steps become envelopes, as published clients write them. Pure."""

import uuid

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.chunking import Chunk, as_written
from central_command.client.contract.outcome import Ending
from central_command.client.contract.placing import Placing
from central_command.client.contract.scrubbing import metadata_of_scrubbing
from central_command.client.contract.signing import Draft, draft_envelope
from central_command.client.spool.records import Unsigned
from central_command.client.uploading.history import SUBAGENT, SourceState
from central_command.client.uploading.lineage import lineage_of
from central_command.client.uploading.names import kept_path
from central_command.client.uploading.survey import Survey
from central_command.process.steering import escaped
from central_command.reaching.unreachable import printable

_SESSION_KEY_CHARS_SHOWN = 8


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Whose steps are sent: the source, the file it was read from, and what the contract's `metadata` says of it."""

    source: str
    path: str
    provider: str
    model: str
    agent_role: str
    agent_id: str
    session_key: str = ""
    parent_key: str = ""


def work_for(survey: Survey, source: str, *, model: str) -> Work:
    """What is said of a file of `source`; `model` in place of the one that the file names, when it is not empty."""
    transcript = survey.transcript
    chosen = escaped(model or transcript.model)[: SchemaSettings().model_engine_chars_max]
    key = transcript.session_key[:_SESSION_KEY_CHARS_SHOWN]
    return Work(
        source=source,
        path=kept_path(survey.path.resolve()),
        provider=transcript.provider,
        model=chosen,
        agent_role=SUBAGENT if transcript.is_subagent else "agent",
        agent_id=printable(f"{transcript.provider}-{key}"),
        session_key=transcript.session_key,
        parent_key=transcript.parent_key,
    )


class Author:
    """Writes a session's envelopes as published clients do, but for the attestation.

    `is_scrubbed` says that its steps are.
    """

    def __init__(self, session_id: str, state: SourceState, client_version: str, *, is_scrubbed: bool) -> None:
        self._session_id = session_id
        self.state = state
        self._client_version = client_version
        self._is_scrubbed = is_scrubbed

    def chunk(self, number: int, chunk: Chunk, placing: Placing) -> Draft:
        """The CHUNK with `chunk_sequence` `number`, whose times are moved as `placing` says."""
        head = self._head() | {"chunk_sequence": number, "contributor_id": self.state.contributor_id}
        return draft_envelope(head, {"metadata": self._metadata(placing)}, trajectory_log=chunk.trajectory_log)

    def end(self, ending: Ending, chunks: int, placing: Placing) -> list[Unsigned]:
        """What ends a session with steps (at least one): SESSION_CLOSE. No feedback: that is what somebody gave."""
        metadata = self._metadata(placing) | {"domain_tags": None, "session_embedding": None}
        members = {"metadata": metadata, "outcome": ending.outcome(chunks=chunks, place=placing.place)}
        tail: dict[str, object] = msgspec.to_builtins(members)
        draft = draft_envelope(self._head() | {"type": "SESSION_CLOSE"}, tail)
        return [Unsigned(kind="SESSION_CLOSE", draft=draft)]

    def _head(self) -> dict[str, object]:
        return {"envelope_id": f"env_{uuid.uuid4()}", "session_id": self._session_id}

    def _metadata(self, placing: Placing) -> dict[str, object]:
        """What a transcript cannot show is null or the neutral value.

        `time_shift_s` is there when times are moved: a step was really taken at its time less that. Where distances
        shrink, too (`time_scale` of the real), that holds of the session's last step, and others lie further back.
        """
        metadata: dict[str, object] = {
            **self.state.metadata,
            "task_complexity": "medium",
            "team_size": 1,
            "session_quality": None,
            "groove_version": self._client_version,
            "leaf_context": None,
            **metadata_of_scrubbing(is_scrubbed=self._is_scrubbed),
        }
        if placing.moves and placing.from_s != 0:  # a file without times has its steps at 0
            metadata["time_shift_s"] = as_written(placing.shift_s)
        if placing.factor != 1:
            metadata["time_scale"] = placing.factor
        if self.state.lineage:
            metadata["lineage"] = self.state.lineage
        if self.state.continues is not None:
            metadata["continues_session"] = self.state.continues
        return metadata


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
        lineage=lineage_of(contributor_id, work.provider, session_key=work.session_key, parent_key=work.parent_key),
    )
