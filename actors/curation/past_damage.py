"""How curation goes on where a journal is damaged: the place is said, and passed by."""

import logging
from collections.abc import Awaitable, Callable

from persistence.format.records import Mark
from persistence.journals.reading import JournalDamage

log = logging.getLogger("central_command.curation")


async def follow_past_damage(
    followed: Callable[[], Mark],
    reached: Mark,
    follow_from: Callable[[Mark], Awaitable[None]],
    pass_by: Callable[[Mark], Awaitable[None]],
) -> None:
    """Have a journal followed from where it was `followed` to up to `reached`; `pass_by` moves it behind a damage.

    Raises JournalDamage where nothing is known behind it.
    """
    while followed().n < reached.n:
        try:
            await follow_from(followed())
        except JournalDamage as damage:
            if damage.behind is None or damage.behind <= followed():
                raise
            log.error("%s Curation goes on behind it.", damage)  # noqa: TRY400 (the sentence says it all)
            await pass_by(damage.behind)
