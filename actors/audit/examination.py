"""What `verify --deep` does beyond `verify`: sessions' keys, every signature, every trajectory, in bounded memory.

One line is in memory at a time (of a trajectory, which may be large, with one envelope beside it), and the secrets of
`SECRETS_MAX` sessions.
"""

import base64
import binascii
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import msgspec

from actors.audit.signatures import Signature, read_body, signature_of, signature_of_body
from actors.audit.stitched_again import Session, compare
from actors.envelopes import attestation, letter_bodies
from actors.envelopes.journal_lines import claimed_type
from actors.trajectories.settings import ScoringSettings
from persistence.databases.session_secrets import SessionKeys, SessionSecrets
from persistence.files.failures import StorageDamage
from persistence.format import json_text
from persistence.format.records import EnvelopeKind, JournalName, TrajectoryRecord
from persistence.journals.decoding import LineError
from persistence.journals.erased_lines import ERASED_START, is_erased
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalReader, StoredLine
from persistence.upkeep.findings import Findings
from persistence.upkeep.verification import Stored

SECRETS_MAX: Final = 4_096
"""Secrets that are kept opened, of the sessions that were met last."""

OTHERWISE_SCORED_MAX: Final = 20
"""Groups of trajectories that are said to be scored otherwise now, a line each."""

WRONG: Final = (
    "its signature is not that of its text: it was changed, or its client signed white space that is not kept"
)


class _Refused(letter_bodies.BodyMembers, frozen=True, kw_only=True):
    session_id: str
    type: str
    sequence: int | None
    session_hmac: str


_REFUSED: Final = msgspec.json.Decoder(_Refused)


class Examination:
    """A closer look (`persistence.upkeep.verification.CloserLook`); afterwards it says what it looked at."""

    def __init__(self, scoring: ScoringSettings) -> None:
        self._scoring = scoring
        self._secrets: OrderedDict[str, bytes | None] = OrderedDict()
        self._verified = self._unchecked = self._without_secret = self._without_body = 0
        self._trajectories = self._sessions_lost = self._erased = 0
        self._has_key = False
        self._otherwise: Counter[tuple[str, str]] = Counter()
        self._otherwise_more = 0
        self._otherwise_first: dict[tuple[str, str], int] = {}

    def __repr__(self) -> str:
        return f"<Examination signatures={self._verified} trajectories={self._trajectories}>"

    async def look(self, stored: Stored, findings: Findings) -> None:
        """Look at everything stored; a line that is not what it should be is a finding."""
        self._has_key = stored.secrets.has_key
        self._sessions_lost = await stored.secrets.lost()
        if self._has_key:
            await self._look_at_keys(stored.secrets, findings)
        async for line in self._lines(stored, JournalName.ENVELOPES):
            await self._look_at_envelope(line, stored.secrets, findings)
        async for line in self._lines(stored, JournalName.REFUSED):
            await self._look_at_refused(line, stored.secrets, findings)
        async for line in self._lines(stored, JournalName.TRAJECTORIES):
            await self._look_at_trajectory(line, stored, findings)

    def notes(self) -> list[str]:
        """What was looked at, what could not be, and what is otherwise now without being wrong; a sentence each."""
        notes = [
            f"signatures that verify: {self._verified:,}; trajectories stitched and scored anew: {self._trajectories:,}"
        ]
        if self._unchecked:
            notes.append(
                f"{self._unchecked:,} signatures cannot be checked again: a space in their lines may have been a line "
                "break when they were signed"
            )
        if self._without_secret:
            lost = f"their sessions' keys are lost (those of {self._sessions_lost:,} sessions are) or do not open"
            why = lost if self._has_key else "there is no master key here that fits"
            notes.append(f"{self._without_secret:,} signatures were not checked: {why}")
        if self._without_body:
            notes.append(f"{self._without_body:,} refused envelopes were kept without their text: nothing to check")
        if self._erased:
            notes.append(f"{self._erased:,} lines were erased: nothing is left to check")
        for (model, parts), count in self._otherwise.most_common():
            first = self._otherwise_first[model, parts]
            notes.append(
                f"{count:,} trajectories of model {model!r} would be scored otherwise with the settings in force "
                f"({parts}; the first is line {first}): other settings, or another version, explain that"
            )
        if self._otherwise_more:
            notes.append(f"{self._otherwise_more:,} more trajectories would be, in other ways")
        return notes

    # Keys

    async def _look_at_keys(self, secrets: SessionSecrets, findings: Findings) -> None:
        async for page in secrets.pages():
            for keys in page:
                fault = _fault_of(keys)
                if fault:
                    findings.add(f"sessions.db: {fault}")

    async def _secret(self, session_id: str, secrets: SessionSecrets) -> bytes | None:
        if session_id in self._secrets:
            self._secrets.move_to_end(session_id)
            return self._secrets[session_id]
        text = await secrets.shared_secret(session_id)
        secret = None if text is None else _decoded(text)
        self._secrets[session_id] = secret
        if len(self._secrets) > SECRETS_MAX:
            self._secrets.popitem(last=False)
        return secret

    # Lines

    async def _lines(self, stored: Stored, name: JournalName) -> AsyncIterator[StoredLine]:
        """Yield the lines that were checked as lines: what came since has no place in the index yet.

        Erased ones are only counted: there is nothing left to look at.
        """
        if not stored.ends[name]:
            return
        async for lines in stored.journals[name].scan():
            for line in lines:
                if line.position.n > stored.ends[name]:
                    return
                if is_erased(line.text):
                    self._erased += 1
                else:
                    yield line

    async def _look_at_envelope(self, line: StoredLine, secrets: SessionSecrets, findings: Findings) -> None:
        envelope = read_body(line.text)
        if envelope is None:
            findings.add(f"{JournalName.ENVELOPES}: {line.where}: it is no envelope")
            return
        if envelope.type == EnvelopeKind.SERVER_CLOSE:
            return
        secret = await self._secret(envelope.session_id, secrets)
        if secret is None:
            self._without_secret += 1
            return
        self._count(signature_of(line.text, secret), JournalName.ENVELOPES, line, findings)

    async def _look_at_refused(self, line: StoredLine, secrets: SessionSecrets, findings: Findings) -> None:
        try:
            refused = json_text.decode(_REFUSED, line.text)
            body = letter_bodies.read(refused)
        except (msgspec.DecodeError, letter_bodies.UnreadableBody) as error:
            findings.add(f"{JournalName.REFUSED}: {line.where}: it cannot be read: {error}")
            return
        if body is None:
            self._without_body += 1
            return
        envelope = read_body(body)
        if envelope is None or envelope.attestation is None:
            findings.add(f"{JournalName.REFUSED}: {line.where}: its body is no envelope that was signed")
            return
        sequence = None if envelope.type == EnvelopeKind.USER_FEEDBACK else envelope.attestation.sequence
        said = (refused.session_id, refused.type, refused.sequence, refused.session_hmac)
        there = (envelope.session_id, claimed_type(envelope), sequence, envelope.attestation.session_hmac)
        if said != there:
            findings.add(f"{JournalName.REFUSED}: {line.where}: it says something else of its body than stands there")
        secret = await self._secret(envelope.session_id, secrets)
        if secret is None:
            self._without_secret += 1
            return
        self._count(signature_of_body(body, secret), JournalName.REFUSED, line, findings)

    def _count(self, signature: Signature, journal: JournalName, line: StoredLine, findings: Findings) -> None:
        self._verified += signature is Signature.VERIFIES
        self._unchecked += signature is Signature.CANNOT_BE_CHECKED
        if signature is Signature.WRONG:
            findings.add(f"{journal}: {line.where}: {WRONG}")

    async def _look_at_trajectory(self, line: StoredLine, stored: Stored, findings: Findings) -> None:
        try:
            record = parse_line(JournalName.TRAJECTORIES, line.text)
        except LineError:
            return  # said when it was checked as a line
        assert isinstance(record, TrajectoryRecord)
        known, row = await stored.index.trajectory(record.session_id), await stored.index.one(record.session_id)
        if known is None or row is None or row.closed_by is None or known.position.n != line.position.n:
            return  # a second one, or one of a session that has not ended: said when it was projected
        session = Session(
            await stored.index.line_positions(record.session_id),
            await stored.index.gaps(record.session_id),
            row.closed_by,
            partial(stored.fingerprints.first_seen, before_n=line.position.n),
        )
        if _is_any_erased(stored.journals[JournalName.ENVELOPES], session):
            return  # of what it was stitched from nothing is left to compare it with
        where = f"{JournalName.TRAJECTORIES}: {line.where}: "
        try:
            compared = await compare(line.text, record, session, stored.journals[JournalName.ENVELOPES], self._scoring)
        except StorageDamage as damage:
            findings.add(f"{where}its session's envelopes cannot be read: {damage}")
            return
        self._trajectories += 1
        for fault in compared.faults:
            findings.add(f"{where}{fault}")
        if compared.otherwise_scored:
            group = record.model, ", ".join(compared.otherwise_scored)
            if group not in self._otherwise and len(self._otherwise) >= OTHERWISE_SCORED_MAX:
                self._otherwise_more += 1
                return
            self._otherwise[group] += 1
            self._otherwise_first.setdefault(group, line.position.n)


def _is_any_erased(envelopes: JournalReader, session: Session) -> bool:
    """Whether of any of a session's lines the time is over."""
    places = (each.position for each in session.places)
    return any(is_erased(envelopes.part_now(place, 0, len(ERASED_START))) for place in places)


def _fault_of(keys: SessionKeys) -> str:
    """What is wrong with a session's keys among each other; "" for nothing."""
    if keys.fault or keys.server_private_key is None or keys.shared_secret is None:
        return keys.fault
    try:
        pair = attestation.key_pair(base64.b64decode(keys.server_private_key, validate=True))
        client_key = attestation.parse_public_key(keys.client_public_key)
        fits = (
            isinstance(client_key, bytes)
            and pair.public_key_base64 == keys.server_public_key
            and attestation.is_shared_secret(_decoded(keys.shared_secret) or b"", pair.private_key, client_key)
        )
    except (binascii.Error, ValueError):
        fits = False
    return "" if fits else f"the keys of session {keys.session_id!r} do not belong together"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
