"""What a contributor with a registered key signs (Ed25519): the opening of each session, and each request. Pure.

Every text begins with what it is for, so that a signature for one thing is none for another. Members are separated by
line feeds and cannot hold one.
"""

import base64
import binascii
import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
REQUEST_AGE_S_MAX: Final = 300
"""How far the time of a signed request may be from the server's."""


class RequestProof(msgspec.Struct, frozen=True):
    """What a request was signed with: the time it names, in whole seconds since the epoch, and base64 of 64 bytes."""

    method: str
    path: str
    body_sha256: str
    time_s: int
    signature: str

    def __repr__(self) -> str:
        return f"<RequestProof {self.method} at {self.time_s}>"

    @property
    def text(self) -> bytes:
        """What is signed."""
        return request_text(self.method, self.path, self.time_s, self.body_sha256)


def opening_text(session_id: str, public_key: str, contributor_id: str, contributor_key: str) -> bytes:
    """What an opening is signed over: its session, the session's public key, for whom, and with which key."""
    return "\n".join(
        ("central-command opening v1", session_id, public_key, contributor_id.lower(), contributor_key)
    ).encode()


def request_text(method: str, path: str, time_s: int, body_sha256: str) -> bytes:
    """What a request is signed over; `body_sha256` is that of its body, also of an empty one."""
    return "\n".join(("central-command request v1", method, path, str(time_s), body_sha256)).encode()


def body_digest(body: bytes) -> str:
    """The SHA-256 of a body, 64 hexadecimal digits."""
    return hashlib.sha256(body).hexdigest()


def decoded_key(text: str) -> bytes | None:
    """The public key that a text is the base64 of; None for any other text."""
    return _decoded(text, KEY_BYTES)


def is_signed(public_key: bytes, text: bytes, signature: str) -> bool:
    """Whether a signature, in base64, is that of a text by the owner of a public key."""
    octets = _decoded(signature, SIGNATURE_BYTES)
    if octets is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(octets, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: str, size_bytes: int) -> bytes | None:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if len(octets) == size_bytes else None
