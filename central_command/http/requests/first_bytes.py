"""Whose envelope it is, by the first bytes of its body: before all of it is awaited, held and read.

`JSON.stringify` writes members in their order, and clients' envelopes begin with `envelope_id` and `session_id`. So the
first KiB tells the session of every envelope that clients send. It is a claim like any other: the session's key decides
once the body is there, and a body that names two sessions is refused as a whole.
"""

import re
from typing import Final

FIRST_BYTES: Final = 1_024
"""The bytes of a body that are looked at: several times what stands before the session's id, and the id."""

SESSION_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""What a session id may be; others are unknown without asking."""

# An object that begins with members of simple values. Possessive, so that it takes no more than the text's length.
_SESSION = re.compile(
    rb"\A[ \t\r\n]*+\{[ \t\r\n]*+"
    rb'(?:(?!"session_id")"(?:[^"\\]|\\.)*+"[ \t\r\n]*+:[ \t\r\n]*+'
    rb'(?:"(?:[^"\\]|\\.)*+"|[-+.0-9A-Za-z]++)[ \t\r\n]*+,[ \t\r\n]*+)*+'
    rb'"session_id"[ \t\r\n]*+:[ \t\r\n]*+"(%b)"' % SESSION_ID.pattern.encode(),
    re.DOTALL,
)


def session_in(body: bytes) -> str | None:
    """The session that a body names in its first `FIRST_BYTES`; None where that cannot be told."""
    found = _SESSION.match(body, 0, FIRST_BYTES)
    return None if found is None else found[1].decode()
