"""The key that the server signs receipts with (Ed25519, RFC 8032), so that anybody can tell later that it made them.

It follows from the master key (HKDF, RFC 5869), so there is no other secret to keep, to back up or to lose, and a
restored server signs as the former one did, wherever its master key is kept. From the public half, or from any number
of signatures, nobody gets to the master key.
"""

import base64
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PRIVATE_KEY_BYTES: Final = 32
_PURPOSE: Final = b"central-command receipts"


class ReceiptSigner:
    """Signs with what follows from the master key of 32 bytes; its repr shows the key's id only."""

    def __init__(self, master_key: bytes) -> None:
        derivation = HKDF(SHA256(), PRIVATE_KEY_BYTES, salt=None, info=_PURPOSE)
        self._key = Ed25519PrivateKey.from_private_bytes(derivation.derive(master_key))
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        """The public half, 32 bytes."""
        self.key_id = hashlib.sha256(self.public_key).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<ReceiptSigner key_id={self.key_id}>"

    @property
    def public_key_pem(self) -> str:
        """The public half as openssl reads it: SubjectPublicKeyInfo in PEM (RFC 8410)."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def signature(self, text: bytes) -> str:
        """The base64 of the signature of `text`, 64 bytes."""
        return base64.b64encode(self._key.sign(text)).decode()
