"""A running service behind its HTTP application, whose metrics are asked for with a token."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from actors.envelopes.settings import SchemaSettings
from central_command.http.app import create_app
from central_command.http.settings import HttpSettings
from central_command.metrics.exposition import Exposing
from central_command.process.collector import CollectorStatistics
from tests.running_service import Running, running, settings_with
from tests.submitted_texts import leave_token

METRICS = "/metrics"
COLLECTED = CollectorStatistics(full_collections=3, uncollected_blocks=0)
OPENMETRICS = "application/openmetrics-text; version=1.0.0; q=0.7, text/plain; version=0.0.4; q=0.3"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scraped:
    """What Prometheus sees; `token` has the scope `read`."""

    def __init__(self, run: Running) -> None:
        self.run = run
        self.token, _ = leave_token(run.root, "read", now=run.clock.now)
        self.exposing = Exposing(run.service, lambda: run.service.storage_settings, lambda: COLLECTED)
        self.app = create_app(
            run.service,
            HttpSettings(),
            schema=SchemaSettings(),
            clock=run.clock,
            monitoring=run.service.desks.monitoring(self.exposing),
        )
        self.client: Any = self.app.test_client()

    async def ask(self, *, accept: str = "", token: str | None = None, path: str = METRICS) -> Any:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        answer = await self.client.get(path, headers=headers | ({"Accept": accept} if accept else {}))
        answer.text = (await answer.get_data()).decode()
        return answer

    async def samples(self, accept: str = "") -> Samples:
        answer = await self.ask(accept=accept)
        assert answer.status_code == 200
        return samples_of(answer.text)


def samples_of(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families_of(text)
        for sample in family.samples
    }


def families_of(text: str) -> Iterator[Any]:
    """The metrics, by the library's own parsers."""
    yield from (openmetrics_families if text.endswith("# EOF\n") else text_families)(text)


@asynccontextmanager
async def scraping(root: Path, **metrics: Any) -> AsyncIterator[Scraped]:
    async with running(root, settings=settings_with(metrics=metrics)) as run:
        yield Scraped(run)
