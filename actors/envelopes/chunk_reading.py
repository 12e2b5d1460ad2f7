"""A chunk as clients send it, read and checked in one go: nothing of its log is looked at twice.

Clients write a chunk with `JSON.stringify`: its members in one order, without white space, the log as the last of them
(decisions, "What clients do"). Such a text has three parts, and each of them proves something by itself:

- what stands before the metadata is matched, as a whole and byte for byte, so it has these members and no others;
- the metadata is one JSON object from its first byte to its last;
- the log is one JSON list from its first byte to the last but one, which closes the envelope.

What stands between them is fixed, so together they are the text, and every member's place is known. Both values are
decoded into types that hold nothing unknown, which is at the same time the proof that they are UTF-8 and how deep they
nest: finding those out otherwise takes longer than decoding. A chunk in any other form, or with any fault, is for
`reading` and `schema` to judge, and they judge these as they are judged here.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from actors.envelopes.reading import SEQUENCE_MAX, Attestation, Envelope, Member
from actors.envelopes.schema import ChunkFacts, chunk_log, chunk_metadata, is_timely
from actors.envelopes.settings import SchemaSettings
from persistence.format import json_text

_FIRST_MEMBERS = re.compile(
    rb'\A\{"envelope_id":("[ !#-\[\]-~]*+"),"session_id":("([ !#-\[\]-~]++)"),"chunk_sequence":(0|[1-9][0-9]{0,14}),'
    rb'"contributor_id":("([0-9a-fA-F]{32})"),"attestation":(\{"session_hmac":"([0-9a-fA-F]{64})",'
    rb'"sequence":(0|[1-9][0-9]{0,9}),"app_version_hash":"([0-9a-fA-F]{64})"\}),"metadata":(?=\{)'
)
_LOG = b'},"trajectory_log":['
_END = b"]}"

_METADATA_REMEMBERED_MAX = 256
_METADATA_REMEMBERED_BYTES_MAX = 4_096
"""Of a longer one, nothing is remembered."""


class ChunkReader:
    """Reads chunks that have only known members, in the order in which clients send them.

    `clock` gives seconds since the epoch. A session's metadata hardly changes from chunk to chunk, so what the last
    256 texts of it say is remembered.
    """

    def __init__(self, settings: SchemaSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._sequence_max = min(settings.sequence_max, SEQUENCE_MAX)
        self._clock = clock
        self._metadata = msgspec.json.Decoder(chunk_metadata(settings).type)
        self._log = msgspec.json.Decoder(chunk_log(settings).type)
        self._remembered = lru_cache(_METADATA_REMEMBERED_MAX)(self._described)

    def __call__(self, body: bytes, permit: object | None = None) -> Envelope | None:
        """The envelope, with its facts and the permit; then it is UTF-8 and nests no deeper than `nesting_max`.

        None says nothing about the body. Raises for no body.
        """
        first = _FIRST_MEMBERS.match(body)
        if first is None or not body.endswith(_END):
            return None
        metadata_start = first.end()
        metadata_end = body.find(_LOG, metadata_start) + 1
        sequence = int(first[9])
        if not metadata_end or sequence > self._sequence_max:
            return None
        log_start = metadata_end + len(_LOG) - 2
        try:
            metadata = body[metadata_start:metadata_end]
            is_short = len(metadata) <= _METADATA_REMEMBERED_BYTES_MAX
            provider, model = self._remembered(metadata) if is_short else self._described(metadata)
            steps: list[Any] = json_text.decode(self._log, memoryview(body)[log_start:-1])
        except msgspec.DecodeError:
            return None
        if not is_timely(steps, self._settings, self._clock()):
            return None
        _, own, session, _, chunk, contributor, _, attested, *_ = first.regs
        return Envelope(
            body=body,
            session_id=first[3].decode(),
            type=None,
            attestation=Attestation(first[8].decode(), sequence, first[10].decode()),
            members=(
                Member("envelope_id", 1, *own),
                Member("session_id", own[1] + 1, *session),
                Member("chunk_sequence", session[1] + 1, *chunk),
                Member("contributor_id", chunk[1] + 1, *contributor),
                Member("attestation", contributor[1] + 1, *attested),
                Member("metadata", attested[1] + 1, metadata_start, metadata_end),
                Member("trajectory_log", metadata_end + 1, log_start, len(body) - 1),
            ),
            facts=ChunkFacts(
                chunk_sequence=int(first[4]),
                contributor_id=first[6].decode().lower(),
                provider=provider,
                model=model,
                steps=len(steps),
            ),
            permit=permit,
        )

    def _described(self, metadata: bytes) -> tuple[str, str]:
        """Provider and model of a chunk's metadata; raises msgspec.DecodeError for any fault in it."""
        decoded: Any = json_text.decode(self._metadata, metadata)
        return decoded.provider, decoded.model_engine
