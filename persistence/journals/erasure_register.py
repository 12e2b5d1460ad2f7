"""Who asked for erasure: a line for each request and one for its end, in a file beside the journals.

A request is a tombstone. It names whom it is for by a SHA-256 alone: a contributor's id is 128 bits of chance and a
session's id little less, so the digest leads nobody back to it, and whoever brings the id, in an envelope or with an
older backup, is recognised. It is on disk before anybody is told, and stays for good: what is restored later is erased
again.

Lines are those of a journal, numbered from 1, each a batch of its own. What follows the last good one is torn.
"""

import hashlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from persistence.files.file_system import FileSystem
from persistence.format import erased_names, times
from persistence.format.consent_events import DIGEST_PREFIX, user_name
from persistence.format.layout import DataLayout
from persistence.journals.framing import frame, parse_frame

ERASURES_NAME: Final = "erasures.jsonl"


class ErasureSubject(StrEnum):
    """What is erased."""

    CONTRIBUTOR = "contributor"
    SESSION = "session"
    USER = "user"
    """Whose texts an application has handed over: no contributor, whatever the id."""
    HELD = "held"
    """Sessions that were held for want of consent, for as long as they may be: no tombstone, more may come."""


PEOPLE: Final = frozenset({ErasureSubject.CONTRIBUTOR, ErasureSubject.USER})
"""Of whom nothing is taken any more."""


class ErasureState(StrEnum):
    """How far a request is."""

    REQUESTED = "requested"
    DONE = "done"


class Erasure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request, as its last line says; times are texts.

    `counts` are the lines that were erased, by journal, `exports` the names of those that hold something of it.
    """

    request: str
    subject: ErasureSubject
    sha256: str
    requested_at: str
    state: ErasureState = ErasureState.REQUESTED
    done_at: str | None = None
    counts: dict[str, int] = {}
    exports: list[str] = []


class _Line(msgspec.Struct, frozen=True):
    erasure: Erasure


_LINE: Final = msgspec.json.Decoder(_Line)


def digest_of(subject: ErasureSubject, name: str) -> str:
    """Return what a request keeps of an id, or of another name; a contributor's is the same in either case."""
    match subject:
        case ErasureSubject.CONTRIBUTOR:
            name = name.lower()
        case ErasureSubject.USER:
            name = user_name(name)
        case _:
            pass
    return hashlib.sha256(name.encode()).hexdigest()


class ErasureRegister:
    """The requests of a data directory. What asks the disk blocks, and raises OSError."""

    def __init__(self, path: Path, files: FileSystem, clock: Callable[[], float]) -> None:
        self._path = path
        self._files = files
        self._clock = clock
        self._by_request: dict[str, Erasure] = {}
        self._by_subject: dict[tuple[ErasureSubject, str], str] = {}
        self._open: set[str] = set()
        self._number = self._end = 0
        self.read_on()

    def __repr__(self) -> str:
        return f"<ErasureRegister {len(self)} requests, {len(self.pending())} pending>"

    def __len__(self) -> int:
        return len(self._by_request)

    @property
    def open_count(self) -> int:
        """How many requests are not done."""
        return len(self._open)

    @property
    def people(self) -> set[str]:
        """The digests of all contributors and users who are erased, or will be: no two of them are equal."""
        return {digest for subject, digest in self._by_subject if subject in PEOPLE}

    def read_on(self) -> None:
        """Take in what was written since it was read last, also by another process."""
        try:
            file = self._files.open_read_only(self._path)
        except FileNotFoundError:
            return
        try:
            text = file.read_at(self._end, file.size() - self._end)
        finally:
            file.close()
        for line in text.splitlines(keepends=True):
            framed = parse_frame(line.removesuffix(b"\n")) if line.endswith(b"\n") else None
            if framed is None or framed.n != self._number + 1:
                return
            self._note(_LINE.decode(line).erasure)
            self._number, self._end = framed.n, self._end + len(line)

    def get(self, request: str) -> Erasure | None:
        """Return a request by its id."""
        return self._by_request.get(request)

    def find(self, subject: ErasureSubject, digest: str) -> Erasure | None:
        """Return the request for somebody."""
        request = self._by_subject.get((subject, digest))
        return None if request is None else self._by_request[request]

    def names(self, contributor_id: str, session_id: str) -> bool:
        """Whether a contributor or a session is erased, or will be."""
        return bool(self._by_subject) and any(
            (subject, digest_of(subject, name)) in self._by_subject
            for subject, name in ((ErasureSubject.CONTRIBUTOR, contributor_id), (ErasureSubject.SESSION, session_id))
        )

    def names_user(self, subject: str) -> bool:
        """Whether a user of applications, given by the digest that stands for them, is erased, or will be."""
        return (ErasureSubject.USER, subject.removeprefix(DIGEST_PREFIX)) in self._by_subject

    def all(self) -> list[Erasure]:
        """Return all requests, in their order."""
        return list(self._by_request.values())

    def pending(self) -> list[Erasure]:
        """Return those that are not done, in their order."""
        return [each for each in self._by_request.values() if each.state is not ErasureState.DONE]

    def ask(self, subject: ErasureSubject, digest: str) -> Erasure:
        """Return the request for somebody: that which is there, or a new one, which is on disk then."""
        found = self.find(subject, digest)
        if found is not None:
            return found
        asked = Erasure(
            request=erased_names.new_request(),
            subject=subject,
            sha256=digest,
            requested_at=times.to_text(self._clock()),
        )
        self._write(asked)
        return asked

    def note_done(self, request: str, counts: dict[str, int], exports: list[str] | None = None) -> Erasure:
        """Note that nothing is left."""
        done = msgspec.structs.replace(
            self._by_request[request],
            state=ErasureState.DONE,
            done_at=times.to_text(self._clock()),
            counts=counts,
            exports=exports or [],
        )
        self._write(done)
        return done

    def take_over(self, others: list[Erasure]) -> None:
        """Take in the requests of another data directory, and have all be done again: for what is restored.

        A request for somebody who is known under another id stays that.
        """
        for other in [*self.all(), *others]:
            known = self.find(other.subject, other.sha256) or other
            if known.request not in self._by_request or known.state is ErasureState.DONE:
                anew = msgspec.structs.replace(known, state=ErasureState.REQUESTED, done_at=None, counts={}, exports=[])
                self._write(anew)

    def _note(self, erasure: Erasure) -> None:
        self._by_request[erasure.request] = erasure
        (self._open.discard if erasure.state is ErasureState.DONE else self._open.add)(erasure.request)
        self._by_subject[erasure.subject, erasure.sha256] = erasure.request

    def _write(self, erasure: Erasure) -> None:
        n = self._number + 1
        framed = frame(
            b'"erasure":' + msgspec.json.encode(erasure),
            b"",
            n=n,
            at=times.to_text(self._clock()).encode(),
            batch=n,
        )
        is_new = self._path.name not in self._files.list_names(self._path.parent)
        file = self._files.create(self._path) if is_new else self._files.open(self._path)
        try:
            file.truncate(self._end)
            file.write_at(framed, self._end)
            file.sync()
        finally:
            file.close()
        if is_new:
            self._files.sync_directory(self._path.parent)
        self._note(erasure)
        self._number, self._end = n, self._end + sum(map(len, framed))


def register_path(layout: DataLayout) -> Path:
    """Return where the requests of a data directory, or of a backup, are."""
    return layout.root / ERASURES_NAME
