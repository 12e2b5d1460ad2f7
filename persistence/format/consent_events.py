"""Events of consent: who agreed to what, when, after which notice, in a chain of hashes. Pure.

An event is appended and never changed. It carries the hash of the event before it, whoever that one is of, so a row
that is changed, taken out or put between is found by whoever reads them all (`check_chain`). Whether somebody's data
may be used is derived from the last event of theirs (`state_of`), and is kept nowhere.

What is hashed is the event as JSON by RFC 8785 (members sorted by name, no white space, UTF-8), with the SHA-256 of the
subject and of the metadata in their place. So an event can lose both (`without_subject`), as erasure asks, and every
hash stays what it was. A subject is a random id: from its hash nobody finds it.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from persistence.format import times

CURRENT_CONSENT_VERSION: Final = "1.0"
"""The terms that are agreed to now. Who agreed to others is asked again (docs/training.md, "What happens when")."""

BEFORE_FIRST: Final = "0" * 64
"""What stands for the hash of the event before the first one."""

SUBJECT_CHARS_MAX: Final = 256
METADATA_BYTES_MAX: Final = 65_536

DIGEST_PREFIX: Final = "sha256:"
"""What the digest that stands for a subject begins with, before 64 hexadecimal digits."""

_DIGEST = re.compile(r"\Asha256:[0-9a-f]{64}\Z")
_CANONICAL = msgspec.json.Encoder(order="sorted")


class Decision(StrEnum):
    """What an event says."""

    GIVEN = "given"
    WITHDRAWN = "withdrawn"


class ConsentSource(StrEnum):
    """Where an event came from."""

    CLIENT = "client"
    API = "api"
    OPERATOR = "operator"
    IMPORT = "import"


class ConsentState(StrEnum):
    """What follows from the events of a subject; only `GIVEN` lets their data be used."""

    NONE = "none"
    """There is no event: nobody has said anything."""
    GIVEN = "given"
    OUTDATED = "outdated"
    """Given to terms that are no longer the current ones."""
    WITHDRAWN = "withdrawn"


Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Version = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class ConsentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `at_us` is microseconds since the epoch, UTC.

    `subject` is a contributor id or a user id, or its digest once it is erased. `notice_version` and `notice_sha256`
    name the text that was shown. `metadata` is JSON text of whatever the caller noted with it, empty for nothing.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=SUBJECT_CHARS_MAX)]
    at_us: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    state: Decision
    version: Version
    purposes: Annotated[tuple[Version, ...], msgspec.Meta(max_length=16)]
    notice_version: Version
    notice_sha256: Sha256
    source: ConsentSource
    previous_sha256: Sha256
    metadata: str = ""


class ShownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as answers and receipts have it: its time as text, its own hash, and not whose it is."""

    id: str
    at: str
    state: Decision
    version: str
    purposes: tuple[str, ...]
    notice_version: str
    notice_sha256: Sha256
    source: ConsentSource
    previous_sha256: Sha256
    sha256: Sha256


class ChainCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What `check_chain` found: how many events, the hash of the last, and the first thing that is wrong, if any is."""

    events: int
    head_sha256: str
    wrong: str | None


class ConsentEventError(ValueError):
    """An event cannot be made of what was given; the text says why."""


def new_event(
    *,
    subject: str,
    at_us: int,
    state: Decision,
    version: str,
    purposes: tuple[str, ...],
    notice_version: str,
    notice_sha256: str,
    source: ConsentSource,
    previous_sha256: str,
    metadata: str = "",
) -> ConsentEvent:
    """An event with a new id, to be appended behind the one with `previous_sha256` (`BEFORE_FIRST` for none).

    Raises ConsentEventError as `checked_event` does, also for a subject that looks like a digest.
    """
    event = ConsentEvent(
        id=event_id(os.urandom),
        subject=subject,
        at_us=at_us,
        state=state,
        version=version,
        purposes=purposes,
        notice_version=notice_version,
        notice_sha256=notice_sha256,
        source=source,
        previous_sha256=previous_sha256,
        metadata=metadata,
    )
    return checked_event(event)


def event_id(random_bytes: Callable[[int], bytes]) -> str:
    """The id of a new event."""
    return f"consent_{random_bytes(16).hex()}"


def checked_event(event: ConsentEvent, *, is_digest: bool = False) -> ConsentEvent:
    """The event as it is read back from where it is to be written.

    `subject` is an id, or with `is_digest` the digest of one, and never what could be taken for the other. Raises
    ConsentEventError for that, for an empty or too long subject, and for any other bound.
    """
    if bool(_DIGEST.match(event.subject)) is not is_digest:
        raise ConsentEventError(f"the subject {'is not' if is_digest else 'looks like'} the digest of one")
    if len(event.metadata.encode("utf-8", "surrogatepass")) > METADATA_BYTES_MAX:
        raise ConsentEventError(f"the metadata has more than {METADATA_BYTES_MAX:,} bytes")
    try:
        checked = msgspec.convert(msgspec.to_builtins(event), ConsentEvent)
        event_sha256(checked)
    except msgspec.ValidationError as error:
        raise ConsentEventError(f"no event of consent can be made of this: {error}") from None
    except UnicodeEncodeError:
        raise ConsentEventError("no event of consent can be made of this: a text is not Unicode") from None
    return checked


def subject_digest(subject: str) -> str:
    """What stands for a subject in what is hashed, and in its place once it is erased; of a digest, itself."""
    return subject if _DIGEST.match(subject) else f"{DIGEST_PREFIX}{_sha256(subject)}"


def user_name(user_id: str) -> str:
    """What is hashed of a user of an application, whose id counts as it is written; it is no contributor's id."""
    return f"user:{user_id}"


def without_subject(event: ConsentEvent) -> ConsentEvent:
    """The event without its subject and metadata; its hash is the same."""
    return msgspec.structs.replace(
        event, subject=subject_digest(event.subject), metadata=_metadata_digest(event.metadata)
    )


def canonical_bytes(event: ConsentEvent) -> bytes:
    """What is hashed of an event: JSON by RFC 8785, with digests for subject and metadata."""
    return _CANONICAL.encode(without_subject(event))


def event_sha256(event: ConsentEvent) -> str:
    """The hash of an event, 64 hexadecimal digits: the next one's `previous_sha256`."""
    return hashlib.sha256(canonical_bytes(event)).hexdigest()


def shown(event: ConsentEvent) -> ShownEvent:
    """The event as answers and receipts have it."""
    return ShownEvent(
        id=event.id,
        at=times.to_text(event.at_us / 1e6),
        state=event.state,
        version=event.version,
        purposes=event.purposes,
        notice_version=event.notice_version,
        notice_sha256=event.notice_sha256,
        source=event.source,
        previous_sha256=event.previous_sha256,
        sha256=event_sha256(event),
    )


def check_chain(events: Iterable[ConsentEvent], *, head_sha256: str | None = None) -> ChainCheck:
    """Whether all events, in the order in which they were appended, are as they were appended.

    `head_sha256` is the hash of the last one, kept elsewhere: without it, a change of the last event and a cut end are
    not found, because no later event speaks of them.
    """
    count, before = 0, BEFORE_FIRST
    wrong: str | None = None
    for event in events:
        count += 1
        if wrong is None and event.previous_sha256 != before:
            wrong = f"event {count} ({event.id}) does not follow the event before it: one of the two was changed"
            if count == 1:
                wrong = f"event 1 ({event.id}) is not the first one: what stood before it is gone"
        before = event_sha256(event)
    if wrong is None and head_sha256 is not None and before != head_sha256:
        wrong = f"event {count} is not the last one as it was appended: it was changed, or what stood behind it is gone"
    return ChainCheck(events=count, head_sha256=before, wrong=wrong)


def state_of(last: ConsentEvent | None, current_version: str = CURRENT_CONSENT_VERSION) -> ConsentState:
    """What follows from a subject's last event, or from there being none."""
    if last is None:
        return ConsentState.NONE
    return state_after(last.state, last.version, current_version)


def state_after(decision: Decision | None, version: str | None, current_version: str) -> ConsentState:
    """The same, from what the last event says; None where there is none."""
    match decision:
        case None:
            return ConsentState.NONE
        case Decision.WITHDRAWN:
            return ConsentState.WITHDRAWN
        case Decision.GIVEN:
            return ConsentState.GIVEN if version == current_version else ConsentState.OUTDATED


def _metadata_digest(metadata: str) -> str:
    return metadata if not metadata or _DIGEST.match(metadata) else f"{DIGEST_PREFIX}{_sha256(metadata)}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
