"""What is said once, before anything is delivered: who is credited, and what the delivery is taken for.

It is said where it means something: not where there is nothing to deliver, or no server, nor that a first delivery is
taken as agreement to somebody who has agreed.
"""

from collections.abc import Callable, Iterable, Iterator

import trio

from central_command.client.contract.contributor_keys import shown_contributor
from central_command.client.contract.endpoints import DEFAULT_URL
from central_command.client.uploading.standing import ConsentStanding
from central_command.reaching.unreachable import printable
from persistence.format.consent_events import ConsentState


class Introduction:
    """Said once a run, by whichever file is to be delivered first; the others wait until it is.

    `is_known` says that something went to this server before; it counts where the server does not say how consent
    stands. `is_brief` leaves out who is credited.
    """

    def __init__(self, contributor_id: str, url: str, *, is_known: bool, is_brief: bool = False) -> None:
        self._contributor_id = contributor_id
        self._url = url
        self._is_known = is_known
        self._is_brief = is_brief
        self._turn = trio.Lock()
        self._is_made = False

    def __repr__(self) -> str:
        return f"<Introduction{' made' if self._is_made else ''}>"

    async def make(
        self, consent: ConsentStanding, say: Callable[[Iterable[str]], None], *, is_sure: bool = False
    ) -> None:
        """Say it, unless it was said. Where no server is there nothing is, unless `is_sure`: it waits, or was sent."""
        async with self._turn:
            if self._is_made:
                return
            said = await consent.said()
            if not consent.is_reached and not is_sure:
                return
            is_first = not self._is_known if said is None else await consent.takes_as_agreement(said)
            agreed = said.current_version if said is not None and said.state is ConsentState.GIVEN else None
            self._is_made = True
            say(self._lines(agreed, is_first=is_first))

    def _lines(self, agreed: str | None, *, is_first: bool) -> Iterator[str]:
        if not self._is_brief:
            terms = "" if agreed is None else f"; terms {printable(agreed)} agreed"
            yield f"Credited to {shown_contributor(self._contributor_id)} (central-command whoami){terms}."
        if is_first:
            yield describe_agreement(self._url)


def describe_agreement(url: str) -> str:
    """What is said before the first delivery to a server."""
    at = "" if url == DEFAULT_URL else f" --url {printable(url)}"
    first = "The first upload to a server is taken as your agreement to its terms, unless it asks for that by itself"
    return f"{first}: central-command contributor show{at} prints them, and withdraw takes it back."


def describe_credited(contributor_id: str | None) -> str:
    """Who would be credited: of a dry run, which makes no id where there is none."""
    if contributor_id is None:
        return "It would be credited to an id of your own, which the first upload makes (central-command whoami)."
    return f"It would be credited to {shown_contributor(contributor_id)} (central-command whoami)."
