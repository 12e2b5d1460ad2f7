"""Settings of consent; `config.toml` explains what each guards or means."""

import hashlib
from enum import StrEnum
from typing import Annotated

import msgspec

from persistence.format.consent_events import CURRENT_CONSENT_VERSION, Sha256, Version
from persistence.settings.bounds import NonNegativeInt, PositiveInt

Text = Annotated[str, msgspec.Meta(max_length=20_000)]
Texts = Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...], msgspec.Meta(max_length=16)]


class ConsentMode(StrEnum):
    """What is made of a contributor who has said nothing."""

    CLIENT = "client"
    """Their client asked them: their first envelope is recorded as consent."""
    REQUIRED = "required"
    """They have not agreed: what they send stays out of the corpus until they do."""


class ConsentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asked what, on whose behalf, and how much of the answers is held at once."""

    mode: ConsentMode = ConsentMode.CLIENT
    hold_days: NonNegativeInt = 30
    current_version: Version = CURRENT_CONSENT_VERSION
    notice_version: Version = CURRENT_CONSENT_VERSION
    notice_text: Text = (
        "What your coding agents did in the sessions that you contribute (messages, tool calls and their results) is "
        "stored, and used for training data after personal data and secrets were replaced in it as far as they are "
        "found. You can withdraw at any time."
    )
    language: Annotated[str, msgspec.Meta(min_length=2, max_length=35)] = "en"
    purposes: Texts = ("training",)
    data_categories: Texts = ("agent sessions", "feedback")
    controller_name: Text = ""
    controller_contact: Text = ""
    storage_location: Text = ""
    retention: Text = "until the operator deletes it"
    jurisdiction: Text = ""
    recipients: Texts = ()
    withdrawal: Text = (
        "central-command contributor withdraw, or POST /v1/contributors/{your id}/consent with state withdrawn"
    )
    withdrawn_max: PositiveInt = 1_000_000
    keys_max: PositiveInt = 1_000_000
    waiting_max: PositiveInt = 1_024
    history_events_max: PositiveInt = 100

    @property
    def notice_sha256(self) -> Sha256:
        """The SHA-256 of the notice's text in UTF-8, 64 hexadecimal digits."""
        return hashlib.sha256(self.notice_text.encode()).hexdigest()
