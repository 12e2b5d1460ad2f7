"""Whether what somebody contributed may be in the corpus: what curation asks, and the answers that are recorded."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from actors.consent.restrictions import subject_of
from actors.consent.settings import ConsentSettings
from actors.consent.standing import FIRST_VERSION, is_consented
from persistence.databases.consents import Consents
from persistence.format.consent_events import ConsentSource, ConsentState, state_after


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What a contributor agreed to when the record was made: written into it as it is."""

    given: bool
    version: str | None = None
    source: str | None = None


Consented = Callable[[str], Awaitable[Agreement]]
"""Says what the contributor with that id has agreed to; asked once for each record."""


BY_CLIENT: Final = Agreement(given=True, version=FIRST_VERSION, source=ConsentSource.CLIENT)
"""Consent as published clients have it: they send only for people who opted in (`consent.mode` "client")."""


class RecordedConsent:
    """What a sessions.db has of each contributor's last event, judged by the settings; some tenths of a second old."""

    def __init__(self, consents: Consents, settings: ConsentSettings) -> None:
        self._consents = consents
        self._settings = settings

    @property
    def terms(self) -> str:
        """What of the settings decides: where it changes, every record is looked at again."""
        return f"{self._settings.mode} {self._settings.current_version}"

    async def __call__(self, contributor_id: str) -> Agreement:
        """What the contributor has agreed to."""
        standing = await self._consents.standing(subject_of(contributor_id))
        is_given = is_consented(standing, self._settings)
        if is_given and standing.decision is None:
            return BY_CLIENT
        return Agreement(given=is_given, version=standing.version, source=standing.source)

    async def of_user(self, subject: str) -> Agreement:
        """What a user of an application has agreed to: only what they said counts, whatever the mode."""
        standing = await self._consents.standing(subject)
        state = state_after(standing.decision, standing.version, self._settings.current_version)
        return Agreement(given=state is ConsentState.GIVEN, version=standing.version, source=standing.source)
