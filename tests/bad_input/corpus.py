"""The corpus: one file a case, read strictly, so that a misspelt member is an error and not a case that asks nothing.

README.md in this folder explains the members of a file.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

CASES = Path(__file__).parent / "cases"

_BYTE = re.compile(r"\\x([0-9a-f]{2})")


class Repeated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text so many times."""

    repeat: str
    times: Annotated[int, msgspec.Meta(ge=1)]


Text = str | list[str | Repeated]


class Trickle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes on being sent, one text every so many seconds, until the server answers or closes."""

    text: str
    every_s: float


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON value that would be too long, or too late, to be written out: exactly one of these."""

    text: Repeated | None = None
    """A string of repeated text."""
    items: Repeated | None = None
    """An array of a repeated element's JSON text."""
    seconds_from_now: float | None = None
    milliseconds_from_now: float | None = None


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A good opening of a new session, and what is changed in it."""

    set: dict[str, str | Value] = {}
    remove: tuple[str, ...] = ()
    key_hex: str | None = None
    """The public key's bytes."""
    is_open_already: bool = False
    """The session is open, with another key."""
    machine_has_opened: int = 0
    """How many sessions this machine has opened just before."""


class SignedEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A good envelope, and what is changed in it: before it is signed, or after (`tamper`, and in `attestation`)."""

    template: Literal["chunk", "close", "feedback"] = "chunk"
    history: tuple[Literal["chunk", "close", "feedback", "http_close"], ...] = ()
    """What the session has sent before."""
    set: dict[str, str | Value] = {}
    remove: tuple[str, ...] = ()
    tamper: dict[str, str] = {}
    sequence: int | None = None
    """The number that is sent, and signed unless `signed_sequence` says otherwise; else the next one."""
    signed_sequence: int | None = None
    hmac: str = "right"
    """A name of `recipes.HMACS`."""
    session: Literal["own", "never_opened", "signed_by_another"] = "own"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must come. Without a status no answer may come."""

    status: int | None = None
    earlier: tuple[int, ...] = ()
    """The statuses of the answers before the last, to requests that came before on the same connection."""
    code: str | None = None
    sentence: str | None = None
    """A regular expression that is found in the sentence."""
    headers: dict[str, str] = {}
    connection: Literal["kept", "closed"] = "kept"
    """Whether the connection serves another request afterwards, or is closed by the server."""
    is_kept: bool = False
    """An authentic envelope that does not fit the schema: kept in `refused/`, as docs/protocol.md says."""
    specified: str | None = None
    """Why a status from 500 up is the right one."""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bad input; exactly one of `raw`, `lines`, `body`, `opening` and `envelope` says what is sent."""

    what: str
    expect: Expected
    server: Literal["ordinary", "impatient"] = "ordinary"
    raw: Text | None = None
    """All bytes of the connection."""
    lines: tuple[str, ...] = ()
    """A request's first line and headers; the line ends are added, and `body` as it is."""
    body: Text | None = None
    """What is posted to `path`, with a Content-Length."""
    path: str = ""
    headers: tuple[str, ...] = ()
    opening: Opening | None = None
    envelope: SignedEnvelope | None = None
    trickle: Trickle | None = None
    manner: Literal["whole", "half_closed", "never_reading"] = "whole"
    """How it is sent: `half_closed` ends the client's side after the last byte."""

    @property
    def is_posted(self) -> bool:
        """Whether it is a well-formed POST of something bad."""
        return self.raw is None and not self.lines

    def problems(self) -> list[str]:
        """What is wrong with the file itself."""
        found = []
        ways = [self.raw is not None, bool(self.lines), bool(self.path), self.opening is not None]
        if sum([*ways, self.envelope is not None]) != 1:
            found.append("exactly one of raw, lines, path with body, opening and envelope must say what is sent")
        status = self.expect.status
        if status is None and self.expect.connection == "kept":
            found.append("a connection without an answer can only be closed")
        if (max(status or 0, *self.expect.earlier, 0) >= 500) != (self.expect.specified is not None):
            found.append("a status from 500 up, and only such a one, needs `specified`")
        if status is not None and status < 400 and self.expect.code is None:
            found.append("a status below 400 is a refusal only by its code")
        if self.server == "impatient" and self.expect.connection == "kept":
            found.append("the impatient server keeps no connection: whether it is closed already depends on time")
        if self.expect.is_kept and self.envelope is None:
            found.append("only a signed envelope can be kept")
        return found


def load(path: Path) -> Case:
    """Read a case; raises ValueError naming the file."""
    try:
        case = msgspec.toml.decode(path.read_bytes(), type=Case)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if problems := case.problems():
        raise ValueError(f"{path.name}: {'; '.join(problems)}")
    return case


@cache
def all_cases() -> dict[str, Case]:
    """All cases by name: the area (their folder) and what is wrong."""
    return {str(path.relative_to(CASES).with_suffix("")): load(path) for path in sorted(CASES.glob("*/*.toml"))}


def text_bytes(text: Text) -> bytes:
    r"""The bytes of a text: `\xHH` is that byte, everything else is itself in UTF-8."""
    return b"".join(_parts(text))


def _parts(text: Text) -> Iterator[bytes]:
    for part in [text] if isinstance(text, str) else text:
        if isinstance(part, Repeated):
            yield _unescaped(part.repeat) * part.times
        else:
            yield _unescaped(part)


def _unescaped(text: str) -> bytes:
    first, *others = _BYTE.split(text)
    escaped, plain = others[::2], others[1::2]
    return first.encode() + b"".join(
        bytes.fromhex(digits) + after.encode() for digits, after in zip(escaped, plain, strict=True)
    )
