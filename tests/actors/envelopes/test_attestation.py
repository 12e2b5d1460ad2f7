"""Keys, secrets and signatures."""

import base64
import hashlib
import hmac
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes import attestation
from actors.envelopes.attestation import (
    derive_shared_secret,
    generate_key_pair,
    key_pair,
    parse_public_key,
    sign,
    verify,
)
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import InvalidPublicKey, Refusal, RefusalCode

SECRET = bytes(range(32))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1


def vectors(name: str) -> list[dict[str, Any]]:
    """The rows of a file of vectors."""
    path = Path(__file__).parents[2] / "vectors" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


SIGNED = [(base64.b64decode(row["shared_secret"]), row["body"].encode()) for row in vectors("attestation")]
KEYS = vectors("ecdh")


def seeded(seed: int) -> Callable[[int], bytes]:
    """A source of random bytes that always gives the same."""
    return random.Random(seed).randbytes


def read(body: bytes) -> Envelope:
    """Read a body that must be an envelope."""
    envelope = read_envelope(body, nesting_max=64)
    assert isinstance(envelope, Envelope), envelope
    return envelope


def verifies(secret: bytes, body: bytes) -> bool:
    """Whether the body is an envelope and verifies."""
    envelope = read_envelope(body, nesting_max=64)
    return isinstance(envelope, Envelope) and verify(secret, envelope)


@pytest.mark.parametrize("row", KEYS)
def test_keys_and_secrets_of_real_sessions(row: dict[str, str]) -> None:
    """Public key and shared secret are those that the replaced service had, from either private key's side."""
    client_key = parse_public_key(json.loads(row["open_request"])["public_key"])
    assert isinstance(client_key, bytes)
    server = key_pair(base64.b64decode(row["server_private_key"]))
    assert server.public_key_base64 == row["server_public_key"]
    assert server.private_key_base64 == row["server_private_key"]
    assert base64.b64encode(derive_shared_secret(server.private_key, client_key)).decode() == row["shared_secret"]


def test_both_sides_derive_the_same_secret() -> None:
    """The secret is 32 bytes and the same on both sides, for any pair of keys."""
    for seed in range(20):
        client, server = generate_key_pair(seeded(seed)), generate_key_pair()
        secret = derive_shared_secret(server.private_key, client.public_key)
        assert secret == derive_shared_secret(client.private_key, server.public_key)
        assert (len(secret), len(server.private_key), len(server.public_key)) == (32, 32, 65)


def test_key_pairs_follow_their_source_of_randomness() -> None:
    """A given source gives the same keys again; without one, no two are equal."""
    assert generate_key_pair(seeded(7)) == generate_key_pair(seeded(7))
    assert generate_key_pair() != generate_key_pair()


def test_bytes_that_are_no_private_key_are_drawn_again() -> None:
    """Zero and the group's order are no private keys; one and the order less one are."""
    draws = [number.to_bytes(32, "big") for number in (0, ORDER, 2**256 - 1, ORDER - 1)]
    assert generate_key_pair(lambda _: draws.pop(0)).private_key == (ORDER - 1).to_bytes(32, "big")
    assert not draws
    assert len(key_pair((1).to_bytes(32, "big")).public_key) == 65


@pytest.mark.parametrize("private_key", [b"", bytes(32), ORDER.to_bytes(32, "big"), bytes(31) + b"\x01\x00"])
def test_a_wrong_private_key_is_an_error(private_key: bytes) -> None:
    """A private key outside its range is never used; the error does not show it."""
    with pytest.raises(ValueError, match=r"^the private key is not one of P-256$"):
        key_pair(private_key)


def test_reprs_show_no_private_key() -> None:
    """A key pair in a log or a traceback shows its public key only."""
    keys = generate_key_pair(seeded(1))
    for shown in (repr(keys), str(keys), repr(keys.__rich_repr__())):
        assert keys.public_key_base64 in shown
        assert keys.private_key_base64 not in shown
        assert repr(keys.private_key) not in shown


POINT = key_pair(SECRET).public_key


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "65 bytes"),
        ("not base64!", "not base64"),
        ("é" * 88, "not base64"),
        (base64.b64encode(POINT).decode()[:-1], "not base64"),
        (base64.b64encode(POINT).decode() + "\n", "not base64"),
        (" " + base64.b64encode(POINT).decode(), "not base64"),
        (base64.urlsafe_b64encode(b"\x04" + b"\xff" * 64).decode(), "not base64"),
        (base64.b64encode(POINT).decode()[:-2] + "%=", "not base64"),
        (base64.b64encode(POINT[:-1]).decode(), "65 bytes"),
        (base64.b64encode(POINT + b"\x00").decode(), "65 bytes"),
        (base64.b64encode(b"\x02" + POINT[1:33]).decode(), "65 bytes"),
        (base64.b64encode(b"\x06" + POINT[1:]).decode(), "the first of them 4"),
        (base64.b64encode(b"\x00").decode(), "65 bytes"),
        (base64.b64encode(POINT[:-1] + bytes([POINT[-1] ^ 1])).decode(), "not a point on the curve"),
        (base64.b64encode(b"\x04" + bytes(64)).decode(), "not a point on the curve"),
        (base64.b64encode(b"\x04" + (FIELD + 5).to_bytes(32, "big") + POINT[33:]).decode(), "not a point on the curve"),
        ("A" * 1_000_000, "65 bytes"),
    ],
)
def test_a_wrong_public_key_is_refused(text: str, fault: str) -> None:
    """Only strict base64 of an uncompressed point on the curve is a key; the sentence says what is wrong."""
    outcome = parse_public_key(text)
    assert isinstance(outcome, InvalidPublicKey)
    assert fault in outcome.reason


def test_base64_with_stray_bits_is_refused() -> None:
    """Bits after the last byte must be zero: one key has one text."""
    text = base64.b64encode(POINT).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = text[:-2] + alphabet[alphabet.index(text[-2]) + 1] + "="
    assert base64.b64decode(stray, validate=True) == POINT
    assert isinstance(parse_public_key(stray), InvalidPublicKey)
    assert parse_public_key(text) == POINT


def test_coordinates_beyond_the_field_are_refused() -> None:
    """A point written with x + p, which is the same modulo p, is no key."""
    x_zero_y = pow(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B, (FIELD + 1) // 4, FIELD)
    at_zero = b"\x04" + bytes(32) + x_zero_y.to_bytes(32, "big")
    beyond = b"\x04" + FIELD.to_bytes(32, "big") + x_zero_y.to_bytes(32, "big")
    assert parse_public_key(base64.b64encode(at_zero).decode()) == at_zero
    assert isinstance(parse_public_key(base64.b64encode(beyond).decode()), InvalidPublicKey)


def test_signing_is_the_contracts_formula() -> None:
    """HMAC-SHA256 over uint32BE(sequence) and the bytes, however they are split into parts."""
    expected = hmac.new(SECRET, b"\x01\x02\x03\x04" + b"abcdef", hashlib.sha256).hexdigest()
    assert sign(SECRET, 0x01020304, [b"abcdef"]) == expected
    assert sign(SECRET, 0x01020304, (memoryview(b"abc"), memoryview(b""), memoryview(b"def"))) == expected
    with pytest.raises(OverflowError):
        sign(SECRET, 2**32, [])


@pytest.mark.parametrize("size", [0, 1, 32_763, 32_764, 32_765, 100_000])
def test_signing_does_not_depend_on_size_or_parts(size: int) -> None:
    """Small texts take another way through the library than large ones."""
    text = bytes(index % 251 for index in range(size))
    expected = hmac.new(b"k" * 32, (7).to_bytes(4, "big") + text, hashlib.sha256).hexdigest()
    for parts in ((text,), (text[: size // 3], memoryview(text)[size // 3 :]), (b"", text, b"")):
        assert sign(b"k" * 32, 7, iter(parts)) == expected


@pytest.mark.parametrize(("secret", "body"), SIGNED)
def test_bodies_of_real_clients_verify(secret: bytes, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every real body verifies by its own bytes alone; with another secret none does."""
    assert not verify(SECRET, read(body))
    monkeypatch.setattr(attestation, "canonicalise", None)
    assert verify(secret, read(body))


def facts(body: bytes) -> tuple[object, object, object]:
    """What a signature binds: the object without its attestation, and the attestation's HMAC and sequence."""
    members = json.loads(body, parse_int=float)
    claimed = members.pop("attestation")
    return members, claimed["session_hmac"], claimed["sequence"]


def says_the_same(body: bytes, other: bytes) -> bool:
    """Whether both bodies bind the same: another spelling of one escape does, for instance."""
    try:
        return facts(body) == facts(other)
    except (ValueError, KeyError, TypeError):
        return False


@pytest.mark.parametrize(("secret", "body"), SIGNED)
def test_no_byte_can_be_changed(secret: bytes, body: bytes) -> None:
    """With any one byte changed nothing verifies, but where the change is to no fact that the signature binds.

    Such changes are on purpose: the attestation's other members are not signed (`app_version_hash` and its name), and
    another spelling of the same text or number (4e-324 is the double 5e-324) has the same canonical text. Every
    position of small bodies, a sample of large ones.
    """
    source = random.Random(len(body))
    positions = range(len(body)) if len(body) < 2_000 else sorted(source.sample(range(len(body)), 400))
    start = body.index(b'"attestation"')
    end = body.index(b"}", start)
    unsigned = (body.index(b'"app_version_hash"', start), end)
    respelt = 0
    for position in positions:
        for value in (body[position] ^ 1, body[position] ^ 0x20, source.randrange(256)):
            if value == body[position]:
                continue
            changed = body[:position] + bytes([value]) + body[position + 1 :]
            if verifies(secret, changed):
                assert says_the_same(body, changed), (position, value)
                respelt += not unsigned[0] < position < unsigned[1]
    assert respelt < 10


def test_the_hmac_and_the_sequence_are_bound() -> None:
    """Every digit of the HMAC and the sequence count, and neither can be taken away."""
    for secret, body in SIGNED:
        fields = json.loads(body)["attestation"]
        digits = fields["session_hmac"]
        for place in range(64):
            other = digits[:place] + ("0" if digits[place] != "0" else "1") + digits[place + 1 :]
            assert not verifies(secret, body.replace(digits.encode(), other.encode()))
        assert not verifies(secret, body.replace(b'"sequence":%d' % fields["sequence"], b'"sequence":%d' % 77, 1))
        assert not verifies(secret, body.replace(b'"attestation"', b'"attestatiom"'))


@pytest.mark.parametrize("claimed", ["", "0", "é" * 32, "é" * 64, r"\ud83d" * 64, "\\u0000" * 64, "0" * 63, "0" * 65])
def test_an_hmac_of_any_shape_is_just_wrong(claimed: str) -> None:
    """Text that is no HMAC is false, never an error."""
    body = '{"session_id":"s","attestation":{"session_hmac":"' + claimed + '","sequence":0}}'
    assert verify(SECRET, read(body.encode())) is False


def test_an_hmac_in_upper_case_is_wrong() -> None:
    """The comparison is of text, as in the contract."""
    digest = sign(SECRET, 0, [b'{"session_id":"s"}'])
    body = '{"session_id":"s","attestation":{"session_hmac":"%s","sequence":0}}'
    assert verifies(SECRET, (body % digest).encode())
    assert not verifies(SECRET, (body % digest.upper()).encode())


def test_without_an_attestation_nothing_verifies() -> None:
    """No attestation is no signature."""
    assert verify(SECRET, read(b'{"session_id":"s"}')) is False


@pytest.mark.parametrize(("secret", "body"), SIGNED)
@pytest.mark.parametrize(
    "style", [{"indent": 2}, {"ensure_ascii": False, "indent": "\t"}, {"separators": (" , ", " : ")}]
)
def test_real_bodies_written_anew_verify(secret: bytes, body: bytes, style: dict[str, Any]) -> None:
    """A body that was indented or escaped on its way verifies by its canonical text."""
    anew = json.dumps(json.loads(body), **style).encode("utf-8", "backslashreplace")
    assert anew != body
    assert verifies(secret, anew)
    assert not verifies(secret, anew.replace(b'"session_id"', b'"session_ie"'))


def test_signatures_over_canonical_text_verify() -> None:
    """Whatever a body's spelling, the signature over the text of Node.js verifies, but not where a name stands twice.

    At the top level the envelope is refused for it. Further in, the signed text has one of the two, and readers of the
    stored one could take the other.
    """
    refused = ambiguous = 0
    for row in vectors("canonical_json"):
        sequence = json.loads(row["body"])["attestation"]["sequence"]
        digest = sign(SECRET, sequence, [row["canonical"].encode()])
        body = re.sub(r'("session_hmac"\s*:\s*)"x"', rf'\1"{digest}"', row["body"], count=1).encode()
        envelope = read_envelope(body, nesting_max=64)
        if isinstance(envelope, Refusal):
            assert envelope.code is RefusalCode.DUPLICATE_MEMBER
            refused += 1
        else:
            is_ambiguous = has_a_name_twice(row["body"])
            ambiguous += is_ambiguous
            assert verify(SECRET, envelope) is not is_ambiguous, row["body"]
    assert refused < 100
    assert 0 < ambiguous < 100


def has_a_name_twice(text: str) -> bool:
    """Whether an object of the text has two members of one name."""
    found = []

    def looked_at(members: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in members]
        found.append(len(set(names)) < len(names))

    json.loads(text, object_pairs_hook=looked_at)
    return any(found)


def test_a_body_that_says_a_thing_twice_is_not_what_was_signed() -> None:
    """It would verify by the text that ECMAScript makes of it, in which the last one counts."""
    digest = sign(SECRET, 3, [b'{"session_id":"s","metadata":{"model":"a"}}'])
    for before, is_signed in ((" ", True), ('"model":"b",', False)):
        attestation = f'{{"session_hmac":"{digest}","sequence":3}}'
        body = f'{{"session_id":"s","metadata":{{{before}"model":"a"}},"attestation":{attestation}}}'
        assert verifies(SECRET, body.encode()) is is_signed


@pytest.mark.parametrize("place", ["first", "last", "middle"])
def test_the_attestation_may_stand_anywhere(place: str) -> None:
    """Its place is not signed."""
    text = {
        "first": '{%,"session_id":"s","b":1}',
        "middle": '{"session_id":"s",%,"b":1}',
        "last": '{"session_id":"s","b":1,%}',
    }
    digest = sign(SECRET, 3, [b'{"session_id":"s","b":1}'])
    body = text[place].replace("%", f'"attestation":{{"session_hmac":"{digest}","sequence":3}}')
    assert verifies(SECRET, body.encode())


def test_a_body_signed_as_it_was_sent_verifies_whatever_its_white_space() -> None:
    """Bytes signed as they are verify as they are, also where JSON.stringify would write others."""
    signed = b'{ "session_id": "s", "x": 1.0 }'
    digest = sign(SECRET, 0, [signed])
    body = signed.replace(b'"x"', b'"attestation":{"session_hmac":"%s","sequence":0}, "x"' % digest.encode())
    assert verifies(SECRET, body)


def test_the_deepest_nesting_that_settings_allow_is_verified() -> None:
    """At 200 levels the canonical text is still found."""
    canonical = b'{"session_id":"s","x":' + b"[" * 199 + b"]" * 199 + b"}"
    digest = sign(SECRET, 0, [canonical])
    body = canonical.replace(b'"x":', b'"attestation":{"session_hmac":"%s","sequence":0} , "x" : ' % digest.encode())
    envelope = read_envelope(body, nesting_max=200)
    assert isinstance(envelope, Envelope)
    assert verify(SECRET, envelope)
