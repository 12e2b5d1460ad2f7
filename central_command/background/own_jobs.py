"""The server's own queues, each with its schedule, but for those that others keep (exports, erasures, curation).

Each may be cut off anywhere and run again: it comes to the same.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from actors.jobs.engine import Jobs
from actors.jobs.queue import NotRetried, Run
from central_command.background.drafts import remove_drafts
from central_command.background.processes import done
from central_command.background.tiers import Say
from central_command.background.worker import BACKUP_PREFIX, Order
from central_command.curating.orders import Order as CurationOrder
from central_command.export_queue.queue import folder_of
from central_command.http.endpoints.exports import ExportReport, ExportState, NotTaken
from central_command.settings.configuration import Settings
from persistence.databases.access_tokens import TokenFile
from persistence.files.file_system import Offload
from persistence.format import times
from persistence.format.layout import DataLayout

DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0
FINDINGS_LOGGED: Final = 50


class Nothing(msgspec.Struct, frozen=True):
    """The payload of a job that needs to know nothing: what it is about, the server knows."""


class KeptExports(Protocol):
    """The exports that were asked for over HTTP."""

    def reports(self) -> list[ExportReport]:
        """All that there are, the earliest first."""
        ...

    async def delete(self, export_id: str) -> ExportReport | NotTaken | None:
        """Remove all of one."""
        ...


class OwnJobs:
    """What the server's own jobs do."""

    def __init__(
        self,
        settings: Settings,
        data_directory: Path,
        jobs: Jobs,
        *,
        expire: Callable[[], Awaitable[Counter[str]]],
        make_cold: Callable[[Say], Awaitable[dict[str, int]]],
        digest: Callable[[], Awaitable[dict[str, object]]],
        without_curation: Callable[[], AbstractAsyncContextManager[None]],
        exports: KeptExports,
        clock: Callable[[], float],
        offload: Offload,
    ) -> None:
        self._settings = settings
        self._layout = DataLayout(data_directory.resolve())
        self._jobs = jobs
        self._expire = expire
        self._make_cold = make_cold
        self._digest = digest
        self._without_curation = without_curation
        self._exports = exports
        self._tokens = TokenFile(self._layout.access_database, clock)
        self._clock = clock
        self._offload = offload

    def __repr__(self) -> str:
        return f"<OwnJobs {self._layout.root}>"

    def register(self) -> None:
        """Add the queues, and what is repeated in them."""
        jobs, settings = self._jobs, self._settings.jobs
        jobs.register("verify", Nothing, self.verify, timeout_s=settings.process_timeout_s)
        jobs.register("retention", Nothing, self.expire, timeout_s=settings.process_timeout_s)
        jobs.register("gc", Nothing, self.collect)
        jobs.register("summarization", Nothing, self.summarize, timeout_s=settings.process_timeout_s)
        jobs.register("ledger-digest", Nothing, self.digest)
        crons = {
            "verify": settings.verify_cron,
            "retention": settings.retention_cron,
            "gc": settings.gc_cron,
            "ledger-digest": settings.ledger_digest_cron,
            "summarization": settings.summarization_cron,
        }
        if self._settings.tiers.compress_after_days:
            jobs.register("tier-management", Nothing, self.manage_tiers, timeout_s=settings.process_timeout_s)
            crons["tier-management"] = settings.tier_management_cron
        if settings.backup_dir is not None:
            jobs.register("backup", Nothing, self.back_up, timeout_s=settings.process_timeout_s)
            crons["backup"] = settings.backup_cron
        for name, cron in crons.items():
            if cron:
                jobs.add_repeatable(name, name, Nothing(), cron)

    async def verify(self, run: Run[Nothing]) -> dict[str, int]:
        """Check everything stored, as `central-command verify` does; a difference is a failure that no retry mends."""
        answer = await done(Order(data_directory=str(self._layout.root), storage=self._settings.storage))
        for finding in answer.findings[:FINDINGS_LOGGED]:
            run.log(finding)
        if answer.findings:
            raise NotRetried(f"The stored data differs in {len(answer.findings)} place(s): {answer.findings[0]}")
        return {"findings": 0}

    async def expire(self, _run: Run[Nothing]) -> dict[str, int]:
        """Erase what is past its time, as `central-command expire` does."""
        return dict(await self._expire())

    async def manage_tiers(self, run: Run[Nothing]) -> dict[str, int]:
        """Compress the days that are past `tiers.compress_after_days`, and move them to the archive."""
        return await self._make_cold(run.log)

    async def summarize(self, _run: Run[Nothing]) -> dict[str, int]:
        """Make titles and summaries of records of the corpus that have none; curation goes on in between."""
        made, at_once = 0, self._settings.jobs.summaries_at_once_max
        if not self._layout.corpus_database.exists():
            return {"summaries": 0}
        order = Order(
            data_directory=str(self._layout.root),
            storage=self._settings.storage,
            curation=CurationOrder.of(self._settings, self._layout.root),
            summaries_max=at_once,
        )
        while True:
            async with self._without_curation():
                answer = await done(order)
            made += answer.summaries
            if answer.summaries < at_once:
                return {"summaries": made}

    async def digest(self, _run: Run[Nothing]) -> dict[str, object]:
        """Add a digest of the credits of each day that is over and has none."""
        return await self._digest()

    async def collect(self, run: Run[Nothing]) -> dict[str, int]:
        """Remove what nobody needs any more: old jobs, dead tokens, old exports, drafts of what a crash cut off."""
        settings, now = self._settings.jobs, self._clock()
        exports = folder_of(self._settings, self._layout.root)
        drafts = await self._offload(
            partial(remove_drafts, self._layout, exports, before=now - settings.drafts_hours * HOUR_S)
        )
        for name in drafts:
            run.log(f"removed {name}")
        dead_before = times.to_text(now - settings.tokens_days * DAY_S)
        return {
            "jobs": await self._jobs.prune(),
            "tokens": await self._offload(self._tokens.remove_dead, dead_before),
            "exports": await self._remove_exports(now),
            "drafts": len(drafts),
        }

    async def _remove_exports(self, now: float) -> int:
        days = self._settings.jobs.exports_days
        if not days:
            return 0
        before, removed = times.to_text(now - days * DAY_S), 0
        for report in self._exports.reports():
            if report.asked_at < before and report.state in {ExportState.DONE, ExportState.FAILED}:
                removed += isinstance(await self._exports.delete(report.id), ExportReport)
        return removed

    async def back_up(self, run: Run[Nothing]) -> dict[str, object]:
        """Make a backup in a folder of its own, named for the job: another try of it goes there, too."""
        settings = self._settings.jobs
        assert settings.backup_dir is not None, "without it there is no such queue"
        name = f"{BACKUP_PREFIX}{run.created_at[:10]}-{run.job_id.rpartition('__')[2]}"
        answer = await done(
            Order(
                data_directory=str(self._layout.root),
                storage=self._settings.storage,
                target=f"{settings.backup_dir}/{name}",
                kept=settings.backups_kept,
            )
        )
        return {"folder": name, "size_bytes": answer.size_bytes, "removed": answer.removed}
