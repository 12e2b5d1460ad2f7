"""Signed bodies, checked with the standard library only."""

import base64
import hashlib
import hmac
import json
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from central_command.client.contract.signing import InvalidServerKeyError, SessionKey, Signer

SECRET = bytes(range(32))


def test_both_sides_derive_the_same_secret() -> None:
    """The server's side is computed here from the client's public key."""
    key = SessionKey()
    server = ec.generate_private_key(ec.SECP256R1())
    point = server.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    body = key.signer(base64.b64encode(point).decode(), "c" * 64).body({"session_id": "s"}, {"metadata": {}})
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.b64decode(key.public_key))
    secret = server.exchange(ec.ECDH(), peer)
    expected = hmac.new(secret, bytes(4) + b'{"session_id":"s","metadata":{}}', hashlib.sha256).hexdigest()
    assert json.loads(body)["attestation"] == {
        "session_hmac": expected,
        "sequence": 0,
        "app_version_hash": "c" * 64,
    }


def test_the_attestation_stands_in_the_middle_and_is_all_that_is_not_signed() -> None:
    """Member order, raw UTF-8 and lone surrogates as in the bodies of published clients."""
    signer = Signer(SECRET, "c" * 64)
    signer.body({"skipped": 1}, {"x": 1})
    head = {"envelope_id": "env_1", "session_id": "s", "chunk_sequence": 0, "contributor_id": "d" * 32}
    body = signer.body(head, {"metadata": {"model_engine": "é\ud83d"}}, trajectory_log='[{"content":"日"}]'.encode())
    signed = (
        '{"envelope_id":"env_1","session_id":"s","chunk_sequence":0,"contributor_id":"' + "d" * 32 + '",'
        '"metadata":{"model_engine":"é\\ud83d"},"trajectory_log":[{"content":"日"}]}'
    ).encode()
    digest = hmac.new(SECRET, struct.pack(">I", 1) + signed, hashlib.sha256).hexdigest()
    attestation = f'"attestation":{{"session_hmac":"{digest}","sequence":1,"app_version_hash":"{"c" * 64}"}},'.encode()
    assert body == signed.replace(b'"metadata"', attestation + b'"metadata"', 1)
    assert list(json.loads(body)) == [*head, "attestation", "metadata", "trajectory_log"]


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"\x04" + bytes(64)).decode()])
def test_a_server_key_that_is_none_is_refused(text: str) -> None:
    """Empty, not base64, and a point that is not on the curve."""
    with pytest.raises(InvalidServerKeyError):
        SessionKey().signer(text, "c" * 64)


def test_representations_show_no_secret() -> None:
    """Neither key nor signer."""
    assert repr(Signer(SECRET, "c" * 64)) == "<Signer at sequence 0>"
    key = SessionKey()
    assert repr(key) == f"<SessionKey {key.public_key}>"
