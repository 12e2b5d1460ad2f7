"""What is erased because its time is over, without anybody asking: looked for once a day.

What was held for want of consent goes as who asks for it does, by a durable request (`job`), so the credit stays as an
amount of nobody. More of that contributor may come, and is held again.
"""

import logging
from typing import Final

import trio

from actors.consent.settings import ConsentMode, ConsentSettings
from actors.erasure.job import Eraser, TooManyErasures
from actors.sessions.environment import Environment
from persistence.databases.database import DatabaseUnavailable
from persistence.format import times
from persistence.journals.erasure_register import ErasureState, ErasureSubject

log = logging.getLogger("central_command.storage")

DAY_S: Final = 86_400.0


class Expiry:
    """Looks once a day while `run` runs; `sweep` looks now."""

    def __init__(self, environment: Environment, eraser: Eraser, consent: ConsentSettings) -> None:
        self._environment = environment
        self._storage = environment.storage
        self._eraser = eraser
        self._consent = consent

    def __repr__(self) -> str:
        return f"<Expiry hold_days={self._consent.hold_days}>"

    async def run(self) -> None:
        """Look at the start, and then once a day; what is hindered waits for the next day."""
        while True:
            try:
                await self.sweep()
            except DatabaseUnavailable as unavailable:
                log.warning("%s; what is past its time is looked for tomorrow", unavailable)
            await trio.sleep(DAY_S)

    async def sweep(self) -> None:
        """Erase what is past its time."""
        if self._consent.mode is ConsentMode.REQUIRED and self._consent.hold_days:
            await self._erase_held()

    async def _erase_held(self) -> None:
        now = self._environment.clock()
        sessions_max = self._storage.erasure.settings.erasure_sessions_at_once_max
        while session_ids := await self._storage.consents.held(now - self._consent.hold_days * DAY_S, sessions_max):
            name = f"held until {times.to_text(now)}, {session_ids[0]}"
            asked = await self._eraser.ask(ErasureSubject.HELD, name, session_ids)
            if isinstance(asked, TooManyErasures):
                log.warning("what was held without consent is not erased: set storage.erasures_max higher")
                return
            await self._eraser.erase_pending()
            report = self._eraser.report(asked.request)
            if report is None or report.erasure.state is not ErasureState.DONE:
                return
