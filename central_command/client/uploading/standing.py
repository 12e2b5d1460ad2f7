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
        self._is_given_again: bool | None = None

    def __repr__(self) -> str:
        return f"<ConsentStanding {self._is_given_again}>"

    async def is_given_again(self) -> bool:
        """Whether consent that was withdrawn is so no more; the server is asked once, however many files ask."""
        async with self._turn:
            if self._is_given_again is None:
                shown = await self._shown()
                self._is_given_again = shown is not None and shown.state is not ConsentState.WITHDRAWN
            return self._is_given_again

    async def holds(self) -> bool:
        """Whether the server says that it uses nothing of what was sent until its terms are agreed to."""
        shown = await self._shown()
        return shown is not None and await self._statements().holds(shown)

    async def is_erased(self) -> bool:
        """Whether the server says that the contributor was erased there."""
        shown = await self._shown()
        return shown is not None and shown.erased

    async def _shown(self) -> ShownConsent | None:
        try:
            return await self._statements().shown()
        except (NotAnsweredError, ContributorKeyError):
            return None

    def _statements(self) -> Statements:
        contributor_id = self._identity.contributor_id
        key = self._identity.key_of(contributor_id)
        return Statements(self._client, contributor_id, key, now_s=self._now_s)
