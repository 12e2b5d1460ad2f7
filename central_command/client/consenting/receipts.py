"""Whether a receipt was made by a server: its signature, by a key that the server publishes. Pure."""

from typing import Any

import msgspec

from actors.consent.signatures import decoded_key, is_signed
from persistence.format.consent_events import ShownEvent, subject_digest

_CANONICAL = msgspec.json.Encoder(order="sorted")
ALGORITHM = "Ed25519"


class ReceiptSignature(msgspec.Struct, frozen=True):
    """Base64 of the signature, and the key that made it."""

    algorithm: str
    key_id: str
    value: str


class ReceiptAnswer(msgspec.Struct, frozen=True):
    """A receipt as a server gives it, and as it is kept in a file. The receipt is what was signed, as JSON members."""

    receipt: dict[str, Any]
    signature: ReceiptSignature


class ReceiptKey(msgspec.Struct, frozen=True):
    """A key that receipts are signed with; base64 of 32 bytes."""

    algorithm: str
    key_id: str
    public_key: str


class ReceiptKeys(msgspec.Struct, frozen=True):
    """What `/.well-known/central-command.json` says of them."""

    receipt_keys: list[ReceiptKey]


class ReceiptFacts(msgspec.Struct, frozen=True):
    """What is looked at of a receipt."""

    pii_principal_id: str
    state: str
    issued_at: str
    events: list[ShownEvent]


class NotGenuineError(Exception):
    """A receipt cannot be relied on; the text is one sentence that says why."""


def verify_receipt(answer: ReceiptAnswer, keys: ReceiptKeys) -> ReceiptFacts:
    """What a receipt says, if it was signed with one of these keys; raises NotGenuineError.

    Signed is the receipt as JSON by RFC 8785, so it may have been written anew with other white space meanwhile.
    """
    wanted = (answer.signature.key_id, ALGORITHM)
    named = [each for each in keys.receipt_keys if (each.key_id, each.algorithm) == wanted]
    if not named:
        raise NotGenuineError("The server publishes no key of the id that the receipt names.")
    text = _CANONICAL.encode(answer.receipt)
    octets = (decoded_key(key.public_key) for key in named)
    if not any(each is not None and is_signed(each, text, answer.signature.value) for each in octets):
        raise NotGenuineError("The signature is not that of this receipt: it was changed, or another server made it.")
    try:
        return msgspec.convert(answer.receipt, ReceiptFacts)
    except msgspec.ValidationError as error:
        raise NotGenuineError(f"What was signed is no receipt: {error}.") from error


def is_of(facts: ReceiptFacts, contributor_id: str) -> bool:
    """Whether a receipt is of this contributor."""
    return facts.pii_principal_id == subject_digest(contributor_id.lower())
