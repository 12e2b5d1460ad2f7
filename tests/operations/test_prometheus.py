"""A real Prometheus scrapes a running server with the configuration that docs/operations.md gives."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.server_process import CLOSE, INGEST, OPEN, REPOSITORY, ServerProcess, free_port, request
from tests.signing_client import SigningClient
from tests.submitted_texts import leave_token

PROMETHEUS = shutil.which("prometheus")
ANSWER_S_MAX = 60.0
MONITORING = REPOSITORY / "docs" / "monitoring"


def documented() -> dict[str, Any]:
    """The scrape configuration of the page."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    (text,) = (part.partition("```")[0] for part in page.split("```yaml\n") if part.startswith("scrape_configs:"))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **arguments: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self._base}/{path}?{urlencode(arguments)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:  # it has not started yet
            return None

    def value(self, expression: str) -> float | None:
        """Of the one series that there is, or None as long as there is none."""
        found = self.ask("query", query=expression)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def until(self, expression: str, value: float) -> None:
        end = time.monotonic() + ANSWER_S_MAX
        while (found := self.value(expression)) != value:
            assert time.monotonic() < end, f"{expression} is {found}; {self.ask('targets')}"
            time.sleep(0.1)  # another process' scrapes are waited for


@contextmanager
def prometheus(folder: Path, server: ServerProcess) -> Iterator[Prometheus]:
    """One that scrapes the server as the page says, but for where it is, and each second."""
    assert PROMETHEUS is not None
    token, _ = leave_token(server.data_directory, "read", now=time.time())
    (folder / "token").write_text(token)
    configuration = documented()
    (scrape,) = configuration["scrape_configs"]
    scrape |= {"scheme": "http", "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}
    scrape["authorization"]["credentials_file"] = str(folder / "token")
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(MONITORING / "alerts.yml")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "series",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROMETHEUS, *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log, cwd=folder
        )
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_prometheus_reads_what_stats_says_and_loads_the_rules(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, prometheus(tmp_path, server) as scraping:
        connection = server.connect()
        clients = [SigningClient(f"sess_{number}") for number in range(3)]
        for client in clients:
            opened = request(connection, "POST", OPEN, json.dumps(client.opening()).encode())
            client.opened(opened.members["server_public_key"])
            assert request(connection, "POST", INGEST, client.chunk(4)).members["accepted"]
        request(connection, "POST", INGEST, clients[0].close())
        request(connection, "POST", CLOSE, json.dumps({"session_id": "sess_0"}).encode())
        scraping.until('up{job="central-command"}', 1)
        scraping.until("central_command_steps", 12)
        summary = request(connection, "GET", "/v1/stats/summary").members
        connection.close()
        scraping.until("central_command_envelopes", summary["totalEnvelopes"])
        scraping.until("central_command_open_sessions", 2)
        scraping.until("central_command_credited_points", summary["totalPointsAwarded"])
        scraping.until("central_command_ready", 1)
        ingested = 'http_server_request_duration_seconds_count{http_route="/v1/training/ingest"}'
        scraping.until(f"sum({ingested})", 4)
        (group,) = scraping.ask("rules")["groups"]
        rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
        assert {rule["name"] for rule in group["rules"]} == {rule["alert"] for rule in rules}
        assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
        assert scraping.ask("alerts")["alerts"] == []
        server.kill()
        scraping.until('up{job="central-command"}', 0)
        scraping.until('ALERTS{alertname="CentralCommandDown",alertstate="pending"}', 1)
