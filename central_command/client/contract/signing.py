"""A session's key, and envelopes signed as published clients sign them (decisions, "What clients do").

The signed text is the whole envelope without its member `attestation`, which stands in the middle of it. Both texts
are put together from the same two pieces, so what is sent is by construction what was signed.
"""

from collections.abc import Mapping

import msgspec

from actors.envelopes.attestation import derive_shared_secret, generate_key_pair, key_pair, parse_public_key, sign
from actors.envelopes.refusals import InvalidPublicKey
from central_command.client.contract.chunking import encode_json

ATTESTATION_BYTES_MAX = 256
"""What signing adds to a draft, at most."""


class InvalidServerKeyError(Exception):
    """The server's public key is not base64 of an uncompressed P-256 point on the curve."""


class Draft(msgspec.Struct, frozen=True):
    """An envelope without its attestation, in the two pieces between which that will stand."""

    before: bytes
    after: bytes

    @property
    def signed_bytes_max(self) -> int:
        """The bytes of the envelope when it is signed, at most."""
        return len(self.before) + len(self.after) + ATTESTATION_BYTES_MAX

    def signed(self, shared_secret: bytes, sequence: int, app_version_hash: str) -> bytes:
        """The body to send; the same arguments always give the same bytes."""
        attestation = encode_json(
            {
                "session_hmac": sign(shared_secret, sequence, (self.before, self.after)),
                "sequence": sequence,
                "app_version_hash": app_version_hash,
            }
        )
        return self.before + b',"attestation":' + attestation + self.after

    def readdressed(self, old_session_id: str, new_session_id: str) -> "Draft":
        """The same for another session; the id stands before the attestation, as this client alone writes it."""
        if old_session_id == new_session_id:
            return self
        old, new = (b'"session_id":"%s"' % each.encode() for each in (old_session_id, new_session_id))
        return Draft(self.before.replace(old, new, 1), self.after)


def draft_envelope(head: Mapping[str, object], tail: Mapping[str, object], **encoded: bytes) -> Draft:
    """An envelope with the members of `head`, then (after the attestation) of `tail`, then `encoded` ones as they are.

    `head`, and `tail` together with `encoded`, must not be empty.
    """
    members = [encode_json({name: value})[1:-1] for name, value in tail.items()]
    members += [b'"%s":%s' % (name.encode(), value) for name, value in encoded.items()]
    return Draft(encode_json(head)[:-1], b"," + b",".join(members) + b"}")


def draft_of(body: bytes, split: int, *, signed: bool) -> Draft:
    """The draft of an envelope of which `split` bytes stand before the attestation, which it has when it is `signed`.

    The attestation is found by its end: it holds no object within.
    """
    return Draft(body[:split], body[body.index(b"}", split) + 1 :] if signed else body[split:])


def agree(private_key: bytes, server_public_key: str) -> bytes:
    """The secret that a session's key and the server's give; raises InvalidServerKeyError for a key that is none."""
    peer = parse_public_key(server_public_key)
    if isinstance(peer, InvalidPublicKey):
        raise InvalidServerKeyError("the server's public key is no P-256 point")
    return derive_shared_secret(private_key, peer)


class SessionKey:
    """A session's own P-256 key (contract, "Crypto details"); a new one, or that of a kept `private_key`."""

    def __init__(self, private_key: bytes | None = None) -> None:
        self._pair = generate_key_pair() if private_key is None else key_pair(private_key)

    def __repr__(self) -> str:
        return f"<SessionKey {self.public_key}>"

    @property
    def public_key(self) -> str:
        """Base64 of the uncompressed point, as `POST /v1/sessions/open` wants it."""
        return self._pair.public_key_base64

    @property
    def private_key(self) -> bytes:
        """The private key's 32 bytes. A secret."""
        return self._pair.private_key

    def signer(self, server_public_key: str, app_version_hash: str) -> "Signer":
        """The session's signer; raises InvalidServerKeyError for a key that is none."""
        return Signer(agree(self._pair.private_key, server_public_key), app_version_hash)


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
        body = draft_envelope(head, tail, **encoded).signed(self._shared_secret, self.sequence, self._app_version_hash)
        self.sequence += 1
        return body
