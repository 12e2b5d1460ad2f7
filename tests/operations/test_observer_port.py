"""The observer of a real server: on its own port, killed between two events, with what it does itself observed."""

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.server_process import HANGS_AFTER_S, ServerProcess, free_port, run_command

HOST = "127.0.0.1"


def ask(port: int, method: str, path: str, body: bytes | None = None) -> Any:
    with closing(http.client.HTTPConnection(HOST, port, timeout=HANGS_AFTER_S)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert answer.status == 200
        return json.loads(answer.read())


def test_a_killed_server_loses_no_acknowledged_operation(tmp_path: Path) -> None:
    root, port = tmp_path / "data", free_port()
    settings = {
        "CENTRAL_COMMAND__OBSERVER__LISTEN": "true",
        "CENTRAL_COMMAND__OBSERVER__PORT": str(port),
        "CENTRAL_COMMAND__OBSERVER__CYCLE_S": "3600",
    }
    with ServerProcess(root, settings=settings) as server:
        while not ask(port, "GET", "/health")["ops_in_ring"]:
            """The first look, just after the start, stores that there was one."""
        for number in range(30):
            event = json.dumps({"role": f"r{number}", "error": f"no worker in shift {number}"}).encode()
            assert ask(port, "POST", "/event", event)["ring_size"] == number + 2
        server.kill()
        server.start()
        figures = ask(port, "GET", "/stats")
        assert figures["by_source"]["scenario"] == 30
        assert [each["role"] for each in figures["recent_scenario_ops"]] == [f"r{number}" for number in range(20, 30)]
        shown = run_command("observer", "failures", "--json", "--data-dir", str(root), cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        [group] = json.loads(shown.stdout)["failures"]
        assert (group["endpoint"], group["count"]) == ("scenario:fill", 30)
        assert [each["what"].partition(",")[0] for each in group["before"]] == ["started"]
        assert server.terminate() == 0
    checked = run_command("verify", "--data-dir", str(root), cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    copied = run_command("backup", str(tmp_path / "backup"), "--data-dir", str(root), cwd=tmp_path)
    assert copied.returncode == 0, copied.stderr
    restored = run_command("restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "again"), cwd=tmp_path)
    assert restored.returncode == 0, restored.stderr
    figures = run_command("observer", "stats", "--json", "--data-dir", str(tmp_path / "again"), cwd=tmp_path)
    assert json.loads(figures.stdout)["by_source"] == {"central_command": 2, "scenario": 30}
