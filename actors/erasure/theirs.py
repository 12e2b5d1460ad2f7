"""Which lines are somebody's, and what is to be looked for once they are erased. Pure.

A session is theirs when one of its chunks, or of its dead letters, names them, or its trajectory is credited to them.
Who they are is known by a digest alone, so that it is found again in what an older backup has brought back.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final, assert_never

import msgspec

from actors.consent.restrictions import subject_of
from actors.envelopes import letter_bodies
from persistence.format import json_text
from persistence.format.consent_events import DIGEST_PREFIX
from persistence.format.records import JournalName, Position
from persistence.journals.erased_lines import Erased, Kept, is_erased, read_erased
from persistence.journals.erasure_register import Erasure, ErasureSubject, digest_of
from persistence.journals.reading import StoredLine

SAMPLES_MAX: Final = 64
"""Pieces of what they wrote that are looked for in the end."""

TEXTS_MAX: Final = 10_000
"""Texts of a user that one look finds. Guards memory."""

SAMPLE_BYTES: Final = 48
SAMPLE_BYTES_MIN: Final = 24
"""Less may stand anywhere."""

CHUNK_TYPES: Final = (b"", b"null", b'"CHUNK"')
"""How the member `type` of a chunk's line may be written; the empty one is for none."""

CONTENT: Final = b'"content":"'


class _Copied(msgspec.Struct, frozen=True):
    session_id: str


class _Envelope(msgspec.Struct, frozen=True):
    """What else a client has put there may be anything."""

    session_id: str
    type: msgspec.Raw = msgspec.Raw()
    contributor_id: msgspec.Raw = msgspec.Raw()


class _Refused(letter_bodies.BodyMembers, frozen=True, kw_only=True):
    session_id: str


class _Trajectory(msgspec.Struct, frozen=True):
    session_id: str
    contributor_id: msgspec.Raw
    copied_from: tuple[_Copied, ...] = ()


class _Corpus(msgspec.Struct, frozen=True):
    session_id: str
    contributor_id: msgspec.Raw = msgspec.Raw()
    user_id: str | None = None


class _Text(msgspec.Struct, frozen=True):
    """A text of the intake: what it says of its session is the application's own."""

    record_id: str
    subject: str


_Line = _Envelope | _Refused | _Trajectory | _Corpus


class _Body(msgspec.Struct, frozen=True):
    contributor_id: msgspec.Raw = msgspec.Raw()


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_REFUSED: Final = msgspec.json.Decoder(_Refused)
_TRAJECTORY: Final = msgspec.json.Decoder(_Trajectory)
_CORPUS: Final = msgspec.json.Decoder(_Corpus)
_INTAKE: Final = msgspec.json.Decoder(_Text)
_BODY: Final = msgspec.json.Decoder(_Body)
_TEXT: Final = msgspec.json.Decoder(str)


class Theirs:
    """What a look at all lines has found of one request's; `known` are sessions that are theirs already."""

    def __init__(self, erasure: Erasure, known: Sequence[str], samples: Sequence[str]) -> None:
        self.erasure = erasure
        self.known = set(known)
        self.sessions: dict[str, None] = {}
        """Sessions that were found, of which lines are not erased, in their order."""
        self.names: set[str] = set()
        """The contributor's id, as it was written."""
        self.subjects: set[str] = set()
        """The digests of all contributors whom chunks of these sessions name."""
        self.samples = list(samples)
        self.referenced: set[str] = set()
        """Sessions of theirs that lines of others name as where steps were copied from."""
        self.erased: Counter[str] = Counter()
        """Lines that were erased for this request, by journal."""
        self.in_corpus: list[Position] = []
        """Lines of the corpus that are theirs and not erased."""
        self.texts: list[Position] = []
        """Lines of the intake that are theirs and not erased; there may be more."""
        self.records: list[str] = []
        """The ids of some of these."""

    def __repr__(self) -> str:
        return f"<Theirs {self.erasure.request} sessions={len(self.sessions)}>"

    def sample(self, text: bytes) -> None:
        """Take a piece of a line's text, if more are wanted: the beginning of the first content that is long enough."""
        if len(self.samples) < SAMPLES_MAX:
            piece = next(_pieces(text), None)
            if piece is not None and piece not in self.samples:
                self.samples.append(piece)


class Look:
    """One look at all lines, for all requests at once.

    It stops finding sessions at `sessions_max`: the next look finds the rest. Of contributors in `noted`, given by
    their digests, it finds out when the first chunk came that names each and is nobody's who is to be erased.
    """

    def __init__(self, theirs: Sequence[Theirs], *, sessions_max: int, noted: Collection[str] = ()) -> None:
        self._by_request = {each.erasure.request: each for each in theirs}
        self._by_digest = {(each.erasure.subject, each.erasure.sha256): each for each in theirs}
        self._by_session = {session_id: each for each in theirs for session_id in each.known}
        self._sessions_left = sessions_max
        self._named = lru_cache(maxsize=4_096)(self._with_digest)
        self._noted = frozenset(noted)
        self._subject = lru_cache(maxsize=4_096)(subject_of)
        self.first_at: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Look for {len(self._by_request)} requests>"

    def look(self, name: JournalName, lines: Sequence[StoredLine]) -> None:
        """Look at the next lines of a journal."""
        for line in lines:
            erased = read_erased(line.text).erased if is_erased(line.text) else None
            if name is JournalName.INTAKE and (erased is None or erased.kept is not None):
                self._look_at_text(line, None if erased is None else erased.kept)
            elif erased is None and name is JournalName.CORPUS and self._is_record_of_text(line):
                pass
            elif erased is None or erased.kept is not None:
                self._look_at(name, line)
            elif (theirs := self._by_request.get(erased.request)) is not None:
                theirs.erased[name] += 1

    def _look_at(self, name: JournalName, stored: StoredLine) -> None:
        text, line = stored.text, _read(name, stored.text)
        body = _body(line) if isinstance(line, _Refused) else text
        theirs = self._by_session.get(line.session_id) or self._named_in(line, body)
        contributor_id = _named_by_chunk(line)
        if theirs is None:
            if self._noted and contributor_id is not None:
                self._note(self._subject(contributor_id), stored.position.at)
            for copied in line.copied_from if isinstance(line, _Trajectory) else ():
                if (source := self._by_session.get(copied.session_id)) is not None:
                    source.referenced.add(copied.session_id)
            return
        if isinstance(line, _Corpus):
            theirs.in_corpus.append(stored.position)
            return
        if contributor_id is not None:
            theirs.subjects.add(self._subject(contributor_id))
        if line.session_id not in theirs.sessions:
            if not self._sessions_left:
                return
            self._sessions_left -= 1
            theirs.sessions[line.session_id] = None
        theirs.sample(body)

    def _is_record_of_text(self, stored: StoredLine) -> bool:
        """Whether a line of the corpus was made of a text; it is looked at then."""
        line = json_text.decode(_CORPUS, stored.text)
        if line.user_id is None:
            return False
        if (theirs := self._user(line.user_id)) is not None:
            theirs.in_corpus.append(stored.position)
        return True

    def _look_at_text(self, stored: StoredLine, kept: Kept | None) -> None:
        line = json_text.decode(_INTAKE, stored.text) if kept is None else kept.text
        theirs = self._user(line.subject)
        if theirs is None or len(theirs.texts) >= TEXTS_MAX:
            return
        theirs.texts.append(stored.position)
        if len(theirs.records) < SAMPLES_MAX:
            theirs.records.append(line.record_id)
        theirs.sample(stored.text)

    def _user(self, subject: str) -> Theirs | None:
        """Whose a text is, by the digest of its user."""
        return self._by_digest.get((ErasureSubject.USER, subject.removeprefix(DIGEST_PREFIX)))

    def _note(self, subject: str, at: float) -> None:
        if subject in self._noted:
            self.first_at[subject] = min(self.first_at.get(subject, at), at)

    def _named_in(self, line: _Line, body: bytes) -> Theirs | None:
        """Whose a line is by what it names: its session, or its contributor."""
        theirs = self._named(ErasureSubject.SESSION, line.session_id)
        contributor_id = _text(_contributor(body) if isinstance(line, _Refused) else line.contributor_id)
        if theirs is not None or contributor_id is None:
            return theirs
        theirs = self._named(ErasureSubject.CONTRIBUTOR, contributor_id)
        if theirs is not None:
            theirs.names.add(contributor_id)
        return theirs

    def _with_digest(self, subject: ErasureSubject, name: str) -> Theirs | None:
        return self._by_digest.get((subject, digest_of(subject, name)))


def _read(name: JournalName, text: bytes) -> _Line:
    if is_erased(text):
        return _expired(name, read_erased(text).erased)
    match name:
        case JournalName.ENVELOPES:
            return json_text.decode(_ENVELOPE, text)
        case JournalName.REFUSED:
            return json_text.decode(_REFUSED, text)
        case JournalName.TRAJECTORIES:
            return json_text.decode(_TRAJECTORY, text)
        case JournalName.CORPUS:
            return json_text.decode(_CORPUS, text)
        case JournalName.CONSENT | JournalName.INTAKE | JournalName.AUDIT | JournalName.DIGESTS:
            raise AssertionError("nothing of these is erased, or they are looked at by themselves")
        case JournalName.OPERATIONS:
            raise AssertionError("operations name nobody's session: their time alone takes them away")
        case unreachable:
            assert_never(unreachable)


def _expired(name: JournalName, erased: Erased) -> _Line:
    """What a line says of which the time is over: its names."""
    assert erased.kept is not None
    contributor = msgspec.Raw(msgspec.json.encode(erased.kept.contributor_id))
    if name is JournalName.TRAJECTORIES:
        return _Trajectory(erased.kept.session_id, contributor)
    return _Envelope(erased.kept.session_id, msgspec.Raw(msgspec.json.encode(erased.kind)), contributor)


def _named_by_chunk(line: _Line) -> str | None:
    """The contributor whom a chunk names; None for any other line."""
    if isinstance(line, _Envelope) and bytes(line.type) in CHUNK_TYPES:
        return _text(line.contributor_id)
    return None


def _body(line: _Refused) -> bytes:
    """The envelope in a dead letter; nothing where it was kept without, or cannot be read."""
    try:
        return letter_bodies.read(line) or b""
    except letter_bodies.UnreadableBody:
        return b""


def _contributor(body: bytes) -> msgspec.Raw:
    try:
        return json_text.decode(_BODY, body).contributor_id
    except msgspec.DecodeError:
        return msgspec.Raw()


def _text(raw: msgspec.Raw) -> str | None:
    """What a member says, if it is a text."""
    text = bytes(raw)
    try:
        return json_text.decode(_TEXT, text) if text.startswith(b'"') else None
    except msgspec.DecodeError:
        return None


def _pieces(text: bytes) -> Iterator[str]:
    at = 0
    while (at := text.find(CONTENT, at)) >= 0:
        at += len(CONTENT)
        end = text.find(b'"', at)
        piece = text[at : min(end, at + SAMPLE_BYTES)] if end >= 0 else b""
        if len(piece) >= SAMPLE_BYTES_MIN and piece.isascii() and b"\\" not in piece:
            yield piece.decode()
