"""What a server says of the consent of whom an upload is for: asked only when something depends on it."""

from collections.abc import Callable

import httpx
import trio

from central_command.client.consenting.statements import NotAnsweredError, ShownConsent, Statements
from central_command.client.contract.contributor_keys import ContributorKeyError
from central_command.client.contract.identity import Identity
from persistence.format.consent_events import ConsentState


class ConsentStanding:
    """Asks in the name of one identity; a server that does not say is taken for one that has changed nothing."""

    def __init__(self, client: httpx.AsyncClient, identity: Identity, *, now_s: Callable[[], float]) -> None:
        self._client = client
        self._identity = identity
        self._now_s = now_s
        self._turn = trio.Lock()
        self._said: ShownConsent | None = None
        self._has_asked = False
        self.is_reached = True
        """Whether a server answered, whatever it said, when it was asked."""

    def __repr__(self) -> str:
        return f"<ConsentStanding {'not asked' if not self._has_asked else self._said and self._said.state}>"

    async def said(self) -> ShownConsent | None:
        """What the server says, None where it does not; it is asked once, however many files ask."""
        async with self._turn:
            if not self._has_asked:
                self._said = await self._shown()
                self._has_asked = True
            return self._said

    async def is_given_again(self) -> bool:
        """Whether consent that was withdrawn is so no more, as far as `said` knows."""
        said = await self.said()
        return said is not None and not said.erased and said.state is not ConsentState.WITHDRAWN

    async def is_erased(self) -> bool:
        """Whether the server says that the contributor was erased there, as far as `said` knows."""
        said = await self.said()
        return said is not None and said.erased

    async def holds(self) -> bool:
        """Whether the server uses nothing of what was sent until its terms are agreed to, asked anew each time."""
        shown = await self._shown()
        return shown is not None and await self._statements().holds(shown)

    async def takes_as_agreement(self, said: ShownConsent) -> bool:
        """Whether what is sent first is taken as agreement, by one who has said nothing yet."""
        return said.state is ConsentState.NONE and not await self._statements().holds(said)

    async def _shown(self) -> ShownConsent | None:
        try:
            return await self._statements().shown()
        except NotAnsweredError as error:
            self.is_reached = not error.is_unreached
        except ContributorKeyError:
            pass
        return None

    def _statements(self) -> Statements:
        contributor_id = self._identity.contributor_id
        key = self._identity.key_of(contributor_id)
        return Statements(self._client, contributor_id, key, now_s=self._now_s)
