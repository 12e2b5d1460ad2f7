"""What can be asked about consent from outside: by contributors, and by the openings that they sign."""

import base64
from collections.abc import Callable
from typing import Final

import msgspec

from actors.consent.receipts import receipt_text
from actors.consent.register import (
    ConsentRegister,
    NotSigned,
    RegisterFailed,
    SayOutcome,
    Statement,
    TooManyContributors,
)
from actors.consent.restrictions import contributor_key, subject_of
from actors.consent.settings import ConsentSettings
from actors.consent.signatures import RequestProof, decoded_key, is_signed, opening_text
from persistence.format.consent_events import ConsentEvent, ConsentState, state_of
from persistence.journals.journal import AppendRefused
from persistence.keys.receipt_signing import ReceiptSigner

ALGORITHM: Final = "Ed25519"


class OpeningClaim(msgspec.Struct, frozen=True):
    """For whom a session is opened: the contributor, and, for one with a key, the key and the signature in base64."""

    contributor_id: str
    public_key: str | None
    signature: str | None

    def __repr__(self) -> str:
        return "<OpeningClaim>"


class Shown(msgspec.Struct, frozen=True):
    """What a contributor has said: the state that follows, and the last events, oldest first.

    Whatever it is, nothing is taken of who is erased, or is to be (`is_erased`).
    """

    state: ConsentState
    events: list[ConsentEvent]
    is_erased: bool


class SignedReceipt(msgspec.Struct, frozen=True):
    """A receipt's text, and the base64 of its signature by the key of that id."""

    text: bytes
    key_id: str
    signature: str


class ReceiptKey(msgspec.Struct, frozen=True):
    """The public half of the key that receipts are signed with: its id, base64 of 32 bytes, and PEM."""

    key_id: str
    public_key: str
    public_key_pem: str


ClaimOutcome = str | None | NotSigned | TooManyContributors | AppendRefused | RegisterFailed
"""The digest of who has signed the opening, None for nobody, or why it cannot be opened."""


class ConsentDesk:
    """Answers; who may ask is decided here, and by the register for what is recorded."""

    def __init__(self, register: ConsentRegister, signer: ReceiptSigner, clock: Callable[[], float]) -> None:
        self._register = register
        self._signer = signer
        self._clock = clock

    @property
    def settings(self) -> ConsentSettings:
        """The terms that are current."""
        return self._register.settings

    async def say(self, statement: Statement) -> SayOutcome:
        """Record what a contributor says: the answer comes after it is on disk."""
        return await self._register.say(statement)

    async def show(self, contributor_id: str, proof: RequestProof | None) -> Shown | NotSigned:
        """What a contributor has said; whoever never said anything is answered like whoever is not known."""
        refused = self._register.not_signed(contributor_id, proof)
        if refused is not None:
            return refused
        events = await self._register.events(contributor_id)
        is_erased = contributor_key(contributor_id) in self._register.restrictions.erased
        return Shown(state_of(events[-1] if events else None, self.settings.current_version), events, is_erased)

    async def receipt(self, contributor_id: str, proof: RequestProof | None) -> SignedReceipt | NotSigned | None:
        """A receipt of what a contributor has said; None when that is nothing."""
        refused = self._register.not_signed(contributor_id, proof)
        if refused is not None:
            return refused
        events = await self._register.events(contributor_id)
        if not events:
            return None
        text = receipt_text(events, self.settings, issued_at=self._clock())
        return SignedReceipt(text, self._signer.key_id, self._signer.signature(text))

    def receipt_key(self) -> ReceiptKey:
        """The key that receipts are verified with."""
        public_key = base64.b64encode(self._signer.public_key).decode()
        return ReceiptKey(self._signer.key_id, public_key, self._signer.public_key_pem)

    async def claimed(self, session_id: str, public_key: str, claim: OpeningClaim) -> ClaimOutcome:
        """Whether a session may be opened for a contributor; a key that comes first is registered, durably.

        For who was erased it is opened as nobody's: nothing of theirs is stored with it, and it takes none of their
        chunks.
        """
        if contributor_key(claim.contributor_id) in self._register.restrictions.erased:
            return None
        if claim.public_key is None or claim.signature is None:
            if contributor_key(claim.contributor_id) in self._register.restrictions.keys:
                return NotSigned("This contributor has registered a key, and the opening must be signed with it.")
            return None
        key = decoded_key(claim.public_key)
        text = opening_text(session_id, public_key, claim.contributor_id, claim.public_key)
        if key is None or not is_signed(key, text, claim.signature):
            return NotSigned("The signature is not that of this opening by the key that it names.")
        registered = await self._register.key_of(claim.contributor_id, key)
        if not isinstance(registered, bytes):
            return registered
        if registered != key:
            return NotSigned("This contributor has registered another key.")
        return subject_of(claim.contributor_id)
