"""Whether what somebody contributed may be shown and handed out: what follows from the last event of theirs. Pure, but
for the reader that asks a database.
"""

from typing import Final

from actors.consent.restrictions import subject_of
from actors.consent.settings import ConsentMode, ConsentSettings
from persistence.databases.consents import Consents, ConsentStanding
from persistence.format.consent_events import ConsentState, Decision

FIRST_VERSION: Final = "1.0"
"""The terms that the contract's clients ask for: what a first envelope is recorded as consent to."""


def state_of(standing: ConsentStanding, current_version: str) -> ConsentState:
    """What follows from what is stored (as `consent_events.state_of` has it from an event)."""
    match standing.decision:
        case None:
            return ConsentState.NONE
        case Decision.WITHDRAWN:
            return ConsentState.WITHDRAWN
        case Decision.GIVEN:
            return ConsentState.GIVEN if standing.version == current_version else ConsentState.OUTDATED


def is_consented(standing: ConsentStanding, settings: ConsentSettings) -> bool:
    """Whether a contributor's data may be used.

    In mode "client" somebody of whom there is no event yet has sent an envelope a moment ago, and is recorded as having
    given `FIRST_VERSION`: it counts before it is recorded.
    """
    state = state_of(standing, settings.current_version)
    if state is ConsentState.NONE:
        return settings.mode is ConsentMode.CLIENT and settings.current_version == FIRST_VERSION
    return state is ConsentState.GIVEN


class ConsentReader:
    """Answers for contributors by what sessions.db holds, which may be some tenths of a second old."""

    def __init__(self, consents: Consents, settings: ConsentSettings) -> None:
        self._consents = consents
        self._settings = settings

    async def consented(self, contributor_id: str) -> bool:
        """Whether a contributor's data may be used now."""
        return is_consented(await self._consents.standing(subject_of(contributor_id)), self._settings)
