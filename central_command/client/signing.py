"""A session's key, and envelopes signed as published clients sign them (decisions, "What clients do").

The signed text is the whole envelope without its member `attestation`, which stands in the middle of it. Both texts
are put together from the same two pieces, so what is sent is by construction what was signed.
"""

from collections.abc import Mapping

from actors.attestation import derive_shared_secret, generate_key_pair, parse_public_key, sign
from actors.outcomes import InvalidPublicKey
from central_command.client.chunking import encode_json


class InvalidServerKeyError(Exception):
    """The server's public key is not base64 of an uncompressed P-256 point on the curve."""


class SessionKey:
    """A session's own P-256 key (contract, "Crypto details")."""

    def __init__(self) -> None:
        self._pair = generate_key_pair()

    def __repr__(self) -> str:
        return f"<SessionKey {self.public_key}>"

    @property
    def public_key(self) -> str:
        """Base64 of the uncompressed point, as `POST /v1/sessions/open` wants it."""
        return self._pair.public_key_base64

    def signer(self, server_public_key: str, app_version_hash: str) -> "Signer":
        """The session's signer; raises InvalidServerKeyError for a key that is none."""
        peer = parse_public_key(server_public_key)
        if isinstance(peer, InvalidPublicKey):
            raise InvalidServerKeyError("the server's public key is no P-256 point")
        return Signer(derive_shared_secret(self._pair.private_key, peer), app_version_hash)


class Signer:
    """Signs a session's envelopes, counting the sequence up for each, whether it is accepted or not."""

    def __init__(self, shared_secret: bytes, app_version_hash: str) -> None:
        self._shared_secret = shared_secret
        self._app_version_hash = app_version_hash
        self.sequence = 0

    def __repr__(self) -> str:
        return f"<Signer at sequence {self.sequence}>"

    def body(self, head: Mapping[str, object], tail: Mapping[str, object], **encoded: bytes) -> bytes:
        """A signed envelope: the members of `head`, the attestation, those of `tail`, then `encoded` ones as they are.

        `head`, and `tail` together with `encoded`, must not be empty.
        """
        before = encode_json(head)[:-1]
        members = [encode_json({name: value})[1:-1] for name, value in tail.items()]
        members += [b'"%s":%s' % (name.encode(), value) for name, value in encoded.items()]
        after = b"," + b",".join(members) + b"}"
        attestation = encode_json(
            {
                "session_hmac": sign(self._shared_secret, self.sequence, (before, after)),
                "sequence": self.sequence,
                "app_version_hash": self._app_version_hash,
            }
        )
        self.sequence += 1
        return before + b',"attestation":' + attestation + after
