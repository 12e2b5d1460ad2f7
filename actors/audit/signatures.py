"""Signatures checked again from stored lines (docs/format.md, "Checking a signature again"). Pure.

A line holds the client's members byte for byte, but for its own `envelope_id`, which is noted with its text and without
its place. The known clients have it first; if that does not verify, every other place is tried, and then what
ECMAScript makes of the text, as the server did when it took the envelope in.

Three things are not kept: white space around all members, whether a space between two tokens was a line break, and an
own id of the client that is no text or a very long one. So a line that does not verify may have been signed with one of
those; which of them it can be shows in its text.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final

from actors.envelopes import attestation
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal

NESTING_MAX: Final = 200
"""What reading takes at most; the settings were no looser when the text was accepted."""


class Signature(Enum):
    """What can be said of a signature now."""

    VERIFIES = auto()
    CANNOT_BE_CHECKED = auto()
    """The text has spaces between its tokens, each of which may have been a line break when it was signed."""
    WRONG = auto()
    """The text was changed; or, as rarely as no known client does it, signed with what is not kept."""


def signature_of(line: bytes, secret: bytes) -> Signature:
    """Check the signature of a line of the envelopes journal that a client sent."""
    has_spaces = _has_space_between_tokens(line)
    if _is_signed(list(_signed_bodies(line, has_spaces=has_spaces)), secret):
        return Signature.VERIFIES
    return Signature.CANNOT_BE_CHECKED if has_spaces else Signature.WRONG


def signature_of_body(body: bytes, secret: bytes) -> Signature:
    """Check the signature of a body that was kept as a whole, as those of refused envelopes are."""
    return Signature.VERIFIES if _is_signed([body], secret) else Signature.WRONG


def _is_signed(bodies: Sequence[bytes], secret: bytes) -> bool:
    """Whether one of the bodies is signed; what takes long is tried last."""
    envelopes = [envelope for body in bodies if (envelope := read_body(body)) is not None]
    return any(attestation.verify_received(secret, each) for each in envelopes) or any(
        attestation.verify_canonical(secret, each) for each in envelopes
    )


def read_body(text: bytes) -> Envelope | None:
    """Read what was an envelope once, as a body or as a line; None when it is none."""
    envelope = read_envelope(text, nesting_max=NESTING_MAX)
    return None if isinstance(envelope, Refusal) else envelope


def _signed_bodies(line: bytes, *, has_spaces: bool) -> Iterator[bytes]:
    """Yield what a client may have sent, of a line, the likeliest first."""
    stored = read_body(line)
    # The server's own: `envelope_id` first, `received` and `crc32` last.
    members = () if stored is None else stored.members[1:-2]
    if stored is None or not members:
        return
    text = line[members[0].start : members[-1].value_end]
    own_id = _own_id(stored)
    if own_id is None:
        yield b"{%s}" % text
        return
    places = [each.start - members[0].start for each in members]
    for colon, comma in ((b":", b","), (b": ", b", ")) if has_spaces else ((b":", b","),):
        member = b'"envelope_id"%s%s' % (colon, own_id)
        for place in places:
            yield b"{%s%s%s%s}" % (text[:place], member, comma, text[place:])
        yield b"{%s%s%s}" % (text, comma, member)


def _has_space_between_tokens(line: bytes) -> bool:
    # Without escaped backslashes and escaped quotes, every second piece between quotes is a string.
    return any(b" " in piece for piece in line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _own_id(stored: Envelope) -> bytes | None:
    """Return the text of the client's own id, which is noted in `received`."""
    received = stored.member("received")
    noted = None if received is None else read_body(b'{"session_id":"-",%s' % received[1:])
    return None if noted is None else noted.member("client_envelope_id")
