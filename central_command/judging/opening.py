"""The judge of the settings, opened and closed; one that cannot be asked is said, and keeps nothing else up."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import Judge

log = logging.getLogger("central_command.curation")


@asynccontextmanager
async def open_judge(settings: EnrichmentSettings, *, without: str) -> AsyncIterator[Judge | None]:
    """The judge, None where none is set; `without` says what is not done where it cannot be asked."""
    if settings.judge_url is None:
        yield None
        return
    # Loaded only where there is a judge: nothing else of who asks one knows HTTP.
    from central_command.judging.openai_compatible import new_judge  # noqa: PLC0415

    try:
        judge = new_judge(settings, os.environ)
    except ValueError as error:
        log.error("%s: %s", without, error)  # noqa: TRY400 (the sentence says it all)
        yield None
        return
    try:
        yield judge
    finally:
        with trio.CancelScope(shield=True):
            if judge is not None:
                await judge.aclose()
