"""What the endpoints of administration and the pages ask, each made of the parts of a service that it needs."""

from functools import partial

import trio

from actors.embedding.nursery import EmbeddingNursery
from actors.observer.observer import Observer
from actors.sessions.letter_desk import LetterDesk
from central_command.access.audit import Audit
from central_command.access.gate import Gate
from central_command.corpus.titles import summaries_of
from central_command.export_queue.offering import offered
from central_command.export_queue.queue import ExportQueue
from central_command.exporting.history import find_history
from central_command.http.endpoints.exports import Exports
from central_command.http.endpoints.job_questions import AdminJobs, JobDesk
from central_command.http.endpoints.live_sessions import LiveSessions
from central_command.http.endpoints.metrics import MetricsSource, Monitoring
from central_command.http.endpoints.observer import Observing
from central_command.http.endpoints.refused import Refused
from central_command.http.endpoints.search import Search
from central_command.live_sessions.chain import IndexedChain
from central_command.live_sessions.desk import SessionDesk
from central_command.live_sessions.history import HistoryDesk
from central_command.search.desk import SearchDesk
from central_command.search.searching import Searcher
from central_command.settings.configuration import Settings
from central_command.viewing.desk import ViewerDesk
from central_command.viewing.open_sessions import OpenSessions
from persistence.storage import Storage


class Desks:
    """Makes them, with the settings that a service starts with."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        gate: Gate,
        audit: Audit,
        embeddings: EmbeddingNursery | None,
        letters: LetterDesk,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._gate = gate
        self._audit = audit
        self._embeddings = embeddings
        self._letters = letters

    def exports(self, queue: ExportQueue) -> Exports:
        """What the endpoints of exports need."""
        root = self._storage.layout.root
        return offered(queue, self._settings.export, root, self._gate, self._audit)

    def monitoring(self, source: MetricsSource) -> Monitoring:
        """What the endpoint of the metrics needs."""
        return Monitoring(source, self._gate, self._settings.metrics)

    def search(self) -> Search:
        """What the endpoint of search needs."""
        settings = self._settings.search
        searcher = Searcher(self._storage.layout.root, settings)
        return Search(SearchDesk(searcher, settings, self._embeddings), self._gate)

    def live_sessions(self) -> LiveSessions:
        """What the endpoints of sessions as they are now need."""
        settings, storage = self._settings.live, self._storage
        figures = SessionDesk(
            storage.registry,
            storage.envelopes,
            storage.trajectories,
            storage.erasure.register,
            IndexedChain(storage.layout, self._settings.search.timeout_s),
            settings,
            summary=lambda session_id: summaries_of(storage.layout, [session_id]).get(session_id),
        )
        find = partial(find_history, storage.layout.root, settings.history_bytes_max)
        return LiveSessions(figures, HistoryDesk(find, settings), self._gate)

    def viewer(self) -> ViewerDesk:
        """What the pages of sessions need."""
        return ViewerDesk(self._storage.layout.root, self._settings.viewer)

    def open_sessions(self, stopping: trio.Event) -> OpenSessions:
        """What the pages of open sessions need; `stopping` is set when the service begins to stop."""
        read_line = self._storage.envelopes.read_now
        return OpenSessions(self._storage.registry, read_line, self._settings.viewer, stopping=stopping)

    def admin_jobs(self, jobs: JobDesk) -> AdminJobs:
        """What the endpoints of jobs need."""
        bounds = self._settings.jobs
        return AdminJobs(
            jobs, self._gate, self._audit, bounds.requests_per_minute, bounds.requests_per_hour, bounds.page_max
        )

    def refused(self) -> Refused:
        """What the endpoints of dead letters need."""
        bounds = self._settings.access
        return Refused(self._letters, self._gate, self._audit, bounds.requests_per_minute, bounds.requests_per_hour)

    def observing(self, observer: Observer | None) -> Observing | None:
        """What the endpoints of the observer need."""
        return None if observer is None else Observing(observer, self._gate, self._settings.observer)
