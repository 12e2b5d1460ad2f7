"""Key agreement and signatures: P-256 and HMAC-SHA256 (contract, "Crypto details" and "HMAC computation")."""

import base64
import binascii
import hmac
import os
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.envelopes.canonical_json import RepeatedNameError, canonicalise
from actors.envelopes.reading import SEQUENCE_MAX, Envelope
from actors.envelopes.refusals import InvalidPublicKey

PRIVATE_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 65

_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
"""The number of points on P-256 (SEC 2, section 2.4.2): private keys are 1 to one less."""
_UNCOMPRESSED = 0x04


class KeyPair(msgspec.Struct, frozen=True):
    """A P-256 key pair: the private key's 32 bytes (big-endian) and the public key's 65 (an uncompressed point)."""

    private_key: bytes
    public_key: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public_key={self.public_key_base64!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show what `repr` shows: rich would show every field."""
        return [("public_key", self.public_key_base64)]

    @property
    def private_key_base64(self) -> str:
        """The private key as the contract writes it. A secret."""
        return base64.b64encode(self.private_key).decode()

    @property
    def public_key_base64(self) -> str:
        """The public key as the contract writes it."""
        return base64.b64encode(self.public_key).decode()


def key_pair(private_key: bytes) -> KeyPair:
    """The key pair of a private key of 32 bytes; raises ValueError when it is not one of P-256."""
    if len(private_key) != PRIVATE_KEY_BYTES or not _is_scalar(private_key):
        raise ValueError("the private key is not one of P-256")
    public_key = _private(private_key).public_key()
    return KeyPair(private_key, public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def generate_key_pair(random_bytes: Callable[[int], bytes] = os.urandom) -> KeyPair:
    """Generate a key pair from `random_bytes(32)`, drawn again while it is no private key (chance: 2**-32).

    In production the source must be a cryptographic one; a simulation passes its own.
    """
    while not _is_scalar(private_key := random_bytes(PRIVATE_KEY_BYTES)):
        pass
    return key_pair(private_key)


def parse_public_key(base64_text: str) -> bytes | InvalidPublicKey:
    """Read a client's public key: strict base64 of 65 bytes that are an uncompressed point on P-256."""
    try:
        point = base64.b64decode(base64_text, validate=True)
        # Bits that no byte takes must be zero, so that equal keys are equal texts.
        if base64.b64encode(point).decode() != base64_text:
            return InvalidPublicKey("The public_key is not base64 in its usual form.")
    except (binascii.Error, ValueError):
        return InvalidPublicKey("The public_key is not base64.")
    if len(point) != PUBLIC_KEY_BYTES or point[0] != _UNCOMPRESSED:
        return InvalidPublicKey("The public_key is not an uncompressed P-256 point (65 bytes, the first of them 4).")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except ValueError:
        return InvalidPublicKey("The public_key is not a point on the curve P-256.")
    return point


def derive_shared_secret(private_key: bytes, peer_public_key: bytes) -> bytes:
    """The 32 bytes that both sides of a session know: the x coordinate of the ECDH product.

    `peer_public_key` comes from `parse_public_key`; raises ValueError when either key is not one of P-256.
    """
    peer = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, peer_public_key)
    return _private(private_key).exchange(ec.ECDH(), peer)


def is_shared_secret(secret: bytes, private_key: bytes, peer_public_key: bytes) -> bool:
    """Whether `secret` is what `derive_shared_secret` gives, which raises as that does."""
    return hmac.compare_digest(secret, derive_shared_secret(private_key, peer_public_key))


_JOINED_BYTES_MAX = 32_768
_DIGEST_CHARS = 64


def sign(secret: bytes, sequence: int, parts: Iterable[bytes | memoryview]) -> str:
    """HMAC-SHA256 over the sequence as an unsigned 32-bit big-endian number and then the parts, as 64 hex digits.

    Raises OverflowError when the sequence does not fit.
    """
    number = sequence.to_bytes(4, "big")
    texts = tuple(parts)
    if sum(map(len, texts)) <= _JOINED_BYTES_MAX:
        # In one call, which does not make the object: for small texts that is most of the time.
        return hmac.digest(secret, b"".join((number, *texts)), "sha256").hex()
    mac = hmac.new(secret, number, "sha256")
    for text in texts:
        mac.update(text)
    return mac.hexdigest()


def verify(secret: bytes, envelope: Envelope) -> bool:
    """Whether the envelope's HMAC is that of its signed text: as received, or else as ECMAScript would write it.

    False when there is no attestation. The comparison takes the same time wherever the texts differ.
    """
    return verify_received(secret, envelope) or verify_canonical(secret, envelope)


def verify_received(secret: bytes, envelope: Envelope) -> bool:
    """Whether the HMAC is that of the received bytes without the attestation."""
    return _matches(secret, envelope, envelope.signed_parts)


def verify_canonical(secret: bytes, envelope: Envelope) -> bool:
    """Whether the HMAC is that of the body as ECMAScript would write it (decisions, "Verification").

    Nothing in it may stand twice: the signed text has the last of two members of one name, the stored one would have
    both, and whoever reads that may take the other. Parses the body in Python: costs a hundred times what
    `verify_received` does.
    """

    if not claims_digest(envelope):
        return False
    text = canonical_text(envelope.body)
    return text is not None and verify_text(secret, envelope, text)


def canonical_text(body: bytes) -> bytes | None:
    """What is signed of a body as ECMAScript would write it; None where something in it stands twice.

    Raises ValueError where it is no JSON, or nested too deeply.
    """
    try:
        return canonicalise(body, without="attestation", names_once=True)
    except RepeatedNameError:
        return None


def verify_text(secret: bytes, envelope: Envelope, text: bytes) -> bool:
    """Whether the HMAC is that of `text`."""
    return _matches(secret, envelope, lambda: (text,))


def claims_digest(envelope: Envelope) -> bool:
    """Whether an attestation is there whose HMAC has the length of one: else nothing is worth the work."""
    attestation = envelope.attestation
    return attestation is not None and len(attestation.session_hmac.encode("utf-8", "surrogatepass")) == _DIGEST_CHARS


def _matches(secret: bytes, envelope: Envelope, signed: Callable[[], Iterable[bytes | memoryview]]) -> bool:
    attestation = envelope.attestation
    if attestation is None:
        return False
    assert 0 <= attestation.sequence <= SEQUENCE_MAX
    claimed = attestation.session_hmac.encode("utf-8", "surrogatepass")
    if len(claimed) != _DIGEST_CHARS:
        return False
    return hmac.compare_digest(sign(secret, attestation.sequence, signed()).encode(), claimed)


def _private(private_key: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(private_key, "big"), _CURVE)


def _is_scalar(private_key: bytes) -> bool:
    return 0 < int.from_bytes(private_key, "big") < _ORDER
