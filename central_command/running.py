"""A server's process, from its settings to its end: HTTP and what runs beside it, signals, and settings read again.

Leaving takes at most `shutdown_timeout_s`; then the process exits all the same, with a status that says so: everything
acknowledged is on disk, and the next start recovers the rest.
"""

import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from importlib.metadata import version
from pathlib import Path

import trio

from actors.jobs.engine import Jobs
from actors.jobs.events import JobEvent
from actors.observer.observer import Observer
from central_command.access.tokens import Scope
from central_command.background.beside import CurationBeside, ErasuresBeside, ExportsBeside, JobsBeside
from central_command.background.opening import open_jobs
from central_command.background.own_jobs import OwnJobs
from central_command.curating.supervision import CurationProcess
from central_command.export_queue.queue import ExportQueue
from central_command.http.app import Application, Offered, create_app, create_observer_app, observer_http
from central_command.http.connections.descriptors import fitting
from central_command.http.connections.server import serve
from central_command.http.connections.server_config import ServerConfig, hypercorn_config, reread_tls
from central_command.http.requests.networks import parse_networks
from central_command.http.settings import HttpSettings, HttpSettingsError, Side, link_url, own_machine_url
from central_command.judging.opening import open_judge
from central_command.metrics.exposition import Exposing
from central_command.observing.deliveries import ObservedDeliveries
from central_command.observing.jobs import ObservedJobs
from central_command.observing.opening import open_observer
from central_command.observing.own import export_ended, settings_reread, started
from central_command.observing.requests import observe_requests
from central_command.process.collector import Collector
from central_command.process.logs import set_levels
from central_command.rewriting.process import RewritingProcess
from central_command.service import Service, open_service
from central_command.settings.configuration import Settings, SettingsError
from central_command.settings.run_time import Change, change
from central_command.tallies.tallies import Tallies
from central_command.web.all_pages import WebPages
from central_command.web.site import Sources
from persistence.databases.browser_sessions import TooManyLinks
from persistence.databases.database import DatabaseFailure
from persistence.files.file_system import Offload
from persistence.files.lock import note_address
from persistence.files.writer_thread import writer_thread
from persistence.storage import Platform

log = logging.getLogger("central_command.service")

EXIT_SHUTDOWN_TIMEOUT = 4
"""The process's exit status when it did not stop in time."""


async def run_service(settings: Settings, data_directory: Path, reread: Callable[[], Settings] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop within `service.shutdown_timeout_s`.

    At SIGHUP the settings are read again by `reread`, which raises SettingsError for wrong ones.
    """
    http_settings = fitting(settings.http)
    platform = Platform(clock=time.time, environ=os.environ, writer=writer_thread)
    collector = Collector(settings.collector)
    async with trio.open_nursery() as nursery:
        stopping, rereading = trio.Event(), trio.Semaphore(0, max_value=1)
        await nursery.start(_watch_signals, stopping, rereading, settings.service.shutdown_timeout_s)
        nursery.start_soon(collector.run, name="collector")
        async with (
            aclosing(RewritingProcess(platform.offload, nursery)) as rewriter,
            open_service(settings, data_directory, platform, rewriter=rewriter) as service,
            open_judge(settings.enrichment, without="failures are not explained by a judge") as judge,
            open_observer(
                data_directory,
                settings.observer,
                settings.storage,
                platform,
                kept_days=settings.retention.operations_days,
                disk=service.disk,
                embeddings=service.embeddings,
                judge=judge,
                enrichment=settings.enrichment,
            ) as observer,
            open_jobs(settings, data_directory, platform, on_event=_observed_jobs(observer, settings)) as jobs,
        ):
            queue = ExportQueue(
                settings, data_directory, clock=platform.clock, random_bytes=os.urandom, offload=platform.offload
            )
            OwnJobs(
                settings,
                data_directory,
                jobs,
                expire=service.expiry.sweep,
                make_cold=service.tiers.make_cold,
                digest=service.ledger_digests.add,
                without_curation=service.without_curation,
                exports=queue,
                clock=platform.clock,
                offload=platform.offload,
            ).register()
            apps: list[Application] = []
            queues = _with_others(jobs, queue, service)
            offered = Offered(
                embedder=service.embeddings,
                desk=service.desk,
                intake=service.intake,
                exports=service.desks.exports(queue),
                access=service.access,
                monitoring=service.desks.monitoring(
                    Exposing(
                        service,
                        lambda: service.storage_settings,
                        collector.statistics,
                        jobs=queues.statistics,
                        observer=observer,
                    )
                ),
                search=service.desks.search(),
                live=service.desks.live_sessions(),
                jobs=service.desks.admin_jobs(queues),
                refused=service.desks.refused(),
                observing=service.desks.observing(observer),
                viewer=service.desks.viewer(),
                tallies=Tallies(data_directory, settings.search),
                open_sessions=service.desks.open_sessions(stopping),
            )
            offered["pages"] = WebPages(
                Sources(
                    gateway=service,
                    offered=offered,
                    settings=lambda: service.settings,
                    clock=platform.clock,
                    free_bytes=lambda: service.disk.free_bytes,
                )
            )
            for side, bounds in _sides(settings.http):
                beside = apps[0] if apps else None
                apps.append(
                    create_app(
                        service,
                        bounds,
                        schema=settings.schema,
                        clock=platform.clock,
                        side=side,
                        beside=beside,
                        **offered,
                    )
                )
            if observer is not None:
                _observe(observer, settings, apps, queue)
            collector.settle()
            if settings.curation.enabled:
                service.curation = CurationProcess(
                    settings,
                    data_directory,
                    reached_n=service.trajectories_n,
                    texts_n=service.texts_n,
                    clock=platform.clock,
                )
            configs = [hypercorn_config(http) for _, http in _sides(http_settings)]
            async with trio.open_nursery() as background:
                async with trio.open_nursery() as http:
                    urls: list[list[str]] = [
                        await http.start(partial(serve, app, config, shutdown_trigger=stopping.wait))
                        for app, config in zip(apps, configs, strict=True)
                    ]
                    log.info("serving %s, data in %s", ", ".join(itertools.chain(*urls)), data_directory)
                    await _make_known(service, urls[-1], platform.offload)
                    background.start_soon(service.check.run, name="background check")
                    background.start_soon(service.watch_space, name="free space")
                    background.start_soon(service.stalls.run, name="stalls")
                    background.start_soon(_until, stopping, queue.run, name="exports")
                    background.start_soon(_until, stopping, jobs.run, name="jobs")
                    if observer is not None:
                        background.start_soon(_until, stopping, observer.run, name="observer")
                        deliveries = ObservedDeliveries(apps[0].edge.figures.statistics, observer.note)
                        background.start_soon(deliveries.run, settings.observer.cycle_s, name="deliveries")
                        if settings.observer.listen:
                            await http.start(_observer_port, observer, service, settings, platform.clock, stopping)
                    if service.curation is not None:
                        background.start_soon(_until, stopping, service.curation.run, name="curation")
                    if reread is not None:
                        background.start_soon(
                            _reread_settings, rereading, reread, settings, service, apps, configs, queue, observer
                        )
                background.cancel_scope.cancel()
        log.info("stopped")
        nursery.cancel_scope.cancel()


def _sides(settings: HttpSettings) -> list[tuple[Side, HttpSettings]]:
    """What is served where: all on one address, or what needs a token or a session on another one, which comes last."""
    apart = settings.of_administration
    return [(Side.ALL, settings)] if apart is None else [(Side.PUBLIC, settings), (Side.ADMINISTRATION, apart)]


async def _make_known(service: Service, urls: list[str], offload: Offload) -> None:
    """Note where browsers on this machine reach the server, if that can be known, and print a link on a terminal."""
    reached = next((there for url in urls if (there := own_machine_url(url)) is not None), None)
    if reached is None:
        return
    await offload(note_address, service.layout.root, reached)
    if sys.stdout.isatty():
        await _print_link(service, reached)


async def _print_link(service: Service, reached: str) -> None:
    """Print a link to sign in with, for whoever sits at the terminal."""
    try:
        made = await service.access.desk.make_link([*Scope])
    except DatabaseFailure as failure:
        log.warning("there is no link to sign in with: %s", failure)
        return
    if not isinstance(made, TooManyLinks):
        url = link_url(reached, made.code)
        sys.stdout.write(f"To sign a browser in, open this link, which works once and for some minutes: {url}\n")
        sys.stdout.flush()


def _with_others(jobs: Jobs, exports: ExportQueue, service: Service) -> JobsBeside:
    """The jobs, and what has a queue of its own."""
    curation = CurationBeside(lambda: service.curation_lag, lambda: service.statistics().curation)
    return JobsBeside(jobs, [ExportsBeside(exports), ErasuresBeside(service.eraser), curation])


def _observed_jobs(observer: Observer | None, settings: Settings) -> Callable[[JobEvent], None] | None:
    """What tells the observer of jobs."""
    if observer is None:
        return None
    return ObservedJobs(observer.note, sample_every=settings.observer.own_sample_every).told


def _observe(observer: Observer, settings: Settings, apps: Sequence[Application], queue: ExportQueue) -> None:
    """Tell the observer what this server does, but for its jobs, which have events of their own."""
    observer.note(started(version("central-command")))
    for app in apps:
        observe_requests(app, observer.note, sample_every=settings.observer.own_sample_every)
    queue.ended = lambda report, duration_s: observer.note(export_ended(report, duration_s))


async def _observer_port(
    observer: Observer,
    service: Service,
    settings: Settings,
    clock: Callable[[], float],
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the observer's own port until the service begins to stop."""
    http = observer_http(settings.http, settings.observer)
    app = create_observer_app(service, observer, settings.observer, http, clock=clock)
    async with trio.open_nursery() as nursery:
        serving = partial(serve, app, hypercorn_config(http), shutdown_trigger=stopping.wait)
        urls: list[str] = await nursery.start(serving)
        log.info("the observer listens on %s", ", ".join(urls))
        task_status.started()


async def _until(stopping: trio.Event, run: Callable[[], Awaitable[None]]) -> None:
    """Run something until the service begins to stop, so that it has the time that requests have to end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await stopping.wait()
        nursery.cancel_scope.cancel()


async def _reread_settings(
    rereading: trio.Semaphore,
    reread: Callable[[], Settings],
    settings: Settings,
    service: Service,
    apps: list[Application],
    configs: list[ServerConfig],
    exports: ExportQueue,
    observer: Observer | None,
) -> None:
    """Each time it is asked for, read the settings and the TLS files again; what is wrong changes nothing."""
    while True:
        await rereading.acquire()
        try:
            found = change(settings, await trio.to_thread.run_sync(reread))
            parse_networks(found.settings.http.trusted_proxies)
            reread_files = [reread_tls(config, found.settings.http) for config in configs]
        except (SettingsError, HttpSettingsError) as error:
            log.error("SIGHUP: nothing was changed: %s", error)  # noqa: TRY400 (the sentence says it all)
            continue
        settings = found.settings
        service.reconfigure(settings)
        exports.providers = settings.schema.providers
        if observer is not None:
            observer.note(settings_reread(found.taken))
        for app in apps:
            app.reconfigure(settings.http, settings.schema)
        # That the log says less from now on is said, too.
        is_said = _say_change(found, has_read_files=any(reread_files))
        set_levels(settings.log)
        if not is_said:
            _say_change(found, has_read_files=any(reread_files))


def _say_change(found: Change, *, has_read_files: bool) -> bool:
    """Log what became of the settings that were read again; whether the log takes that at its present level."""
    level = logging.WARNING if found.need_restart else logging.INFO
    log.log(
        level,
        "SIGHUP: the settings were read again%s; changed: %s%s",
        ", and the TLS certificate" if has_read_files else "",
        ", ".join(found.taken) or "nothing",
        f"; only a restart changes: {', '.join(found.need_restart)}" if found.need_restart else "",
    )
    return log.isEnabledFor(level)


async def _watch_signals(
    stopping: trio.Event,
    rereading: trio.Semaphore,
    timeout_s: float,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Set `stopping` at the first signal, and end the process when stopping then takes too long.

    SIGHUP asks for `rereading`, once however often it comes meanwhile.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                if not rereading.value:
                    rereading.release()
                continue
            log.info("%s: stopping", signal.Signals(number).name)
            break
        stopping.set()
        await trio.sleep(timeout_s)
    # A thread that waits for a disk cannot be cancelled, and nothing acknowledged depends on it.
    log.error("not stopped within %g s; exiting, and the next start recovers", timeout_s)
    logging.shutdown()
    os._exit(EXIT_SHUTDOWN_TIMEOUT)
