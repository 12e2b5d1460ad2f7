"""Whether what somebody contributed may be shown and handed out: what follows from the last event of theirs. Pure."""

from typing import Final

from actors.consent.settings import ConsentMode, ConsentSettings
from persistence.databases.consents import ConsentStanding
from persistence.format.consent_events import ConsentState, state_after

FIRST_VERSION: Final = "1.0"
"""The terms that the contract's clients ask for: what a first envelope is recorded as consent to."""


def is_consented(standing: ConsentStanding, settings: ConsentSettings) -> bool:
    """Whether a contributor's data may be used.

    In mode "client" somebody of whom there is no event yet has sent an envelope a moment ago, and is recorded as having
    given `FIRST_VERSION`: it counts before it is recorded.
    """
    state = state_after(standing.decision, standing.version, settings.current_version)
    if state is ConsentState.NONE:
        return settings.mode is ConsentMode.CLIENT and settings.current_version == FIRST_VERSION
    return state is ConsentState.GIVEN
