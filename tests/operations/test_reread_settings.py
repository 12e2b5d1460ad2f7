"""SIGHUP: a running server reads its settings again, says what it did, and goes on whatever the file holds."""

import signal
from json import dumps
from pathlib import Path
from uuid import uuid4

from tests.operations.test_locked_database import Client, wait_for
from tests.server_process import INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient


def test_settings_are_read_again_and_wrong_ones_change_nothing(tmp_path: Path) -> None:
    """Levels, limits, bounds of the disk, tiers and agents; what needs a restart is named."""
    config = tmp_path / "settings.toml"
    config.write_text("[log]\naccess = true\n")
    with ServerProcess(tmp_path / "data", options=["--config", str(config)]) as server:

        def reread(text: str, count: int, word: str) -> None:
            config.write_text(text)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.said.count(word) == count, f"the settings to be read again: {server.said}")

        clients = Client(server)
        client = clients.open("sess_1")
        assert clients.post(INGEST, client.chunk()).status == 200
        reread(
            "[storage]\nquota_bytes = 1\nquota_warning_bytes = 1\n[http]\nbacklog = 7\n[scoring]\nmodel_tiers = {}\n",
            1,
            "SIGHUP: the settings were read again",
        )
        assert "changed: scoring.model_tiers, storage.quota_bytes, storage.quota_warning_bytes; only a restart" in (
            server.said
        )
        assert "only a restart changes: http.backlog" in server.said
        refused = client.chunk()
        assert clients.post(INGEST, refused).status == 507
        reread("[storage]\nquota_bites = 1\n", 1, "SIGHUP: nothing was changed: ")
        assert f"{config}: there is no setting storage.quota_bites; did you mean storage.quota_bytes?" in server.said
        assert clients.post(INGEST, refused).status == 507
        reread("[http]\ntrusted_proxies = ['10.0.0.0/99']\n", 2, "SIGHUP: nothing was changed: ")
        reread("[schema]\nproviders = ['gemini']\n", 2, "SIGHUP: the settings were read again")
        answer = server.post(INGEST, refused)
        assert (answer.status, answer.members["code"]) == (200, "schema")
        reread("[http]\nrequests_per_minute = 1\n", 3, "SIGHUP: the settings were read again")
        assert "Traceback" not in server.said
        assert server.terminate() == 0


def test_agents_that_are_taken_are_others_at_the_opening_too(tmp_path: Path) -> None:
    """What SIGHUP says was changed holds for every endpoint: an agent is taken, and then no more, without a restart."""
    config = tmp_path / "settings.toml"
    config.write_text("")
    with ServerProcess(tmp_path / "data", options=["--config", str(config)]) as server:

        def opened(provider: str) -> tuple[int, str]:
            opening = SigningClient(f"sess_{uuid4()}").opening() | {"provider": provider}
            answer = server.post(OPEN, dumps(opening).encode())
            return answer.status, answer.members.get("error", "")

        def reread(text: str, count: int) -> None:
            config.write_text(text)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.said.count("changed: schema.providers") == count, "the settings to be read again")

        assert opened("amp")[0] == 400
        reread("[schema]\nproviders = ['amp', 'codex']\n", 1)
        assert opened("amp") == (200, "")
        assert opened("gemini") == (400, "provider must be one of amp, codex.")
        reread("", 2)
        assert opened("gemini") == (200, "")
        assert opened("amp")[0] == 400


def test_a_log_that_says_less_from_now_on_says_so(tmp_path: Path) -> None:
    """The level counts from the next line on; what was taken over is said in whichever level has the word."""
    config = tmp_path / "settings.toml"
    config.write_text("")
    with ServerProcess(tmp_path / "data", options=["--config", str(config)]) as server:

        def reread(text: str, said: str) -> None:
            config.write_text(text)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: said in server.said, f"{said!r} to be said: {server.said}")

        reread('[log]\nlevel = "error"\n', "changed: log.level\n")
        reread(
            '[log]\nlevel = "debug"\n[http]\nbacklog = 7\n', "changed: log.level; only a restart changes: http.backlog"
        )
