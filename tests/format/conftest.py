"""What a server has written, once for all tests here, and copies of it to be changed."""

import shutil
from pathlib import Path

import pytest

from tests.format.written_data import Written, use, use_intake
from tests.server_process import REPOSITORY, ServerProcess, run_command

TRANSCRIPT = REPOSITORY / "tests" / "transcripts" / "short.jsonl"
ACCEPTING_GAPS = {"CENTRAL_COMMAND__SESSIONS__SEQUENCE_GAPS": "accept"}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A server's directory after use, its corpus, a backup of both, and what an upload to it has left."""
    written = Written(tmp_path_factory.mktemp("written"))
    homes = {"XDG_STATE_HOME": str(written.root / "state"), "XDG_CONFIG_HOME": str(written.root / "config")}
    with ServerProcess(written.data, settings=ACCEPTING_GAPS) as server:
        use(server)
        made = run_command("token", "create", "--scope", "intake", "--data-dir", str(written.data), cwd=written.root)
        assert made.returncode == 0, made.stderr
        use_intake(server, made.stdout.strip())
        done = run_command("upload", str(TRANSCRIPT), "--url", server.url, cwd=written.root, settings=homes)
        assert done.returncode == 0, done.stderr
        assert server.terminate() == 0
    done = run_command("curate", "--data-dir", str(written.data), cwd=written.root)
    assert done.returncode == 0, done.stderr
    done = run_command("backup", str(written.backup), "--data-dir", str(written.data), cwd=written.root)
    assert done.returncode == 0, done.stderr
    return written


@pytest.fixture
def copy(written: Written, tmp_path: Path) -> Path:
    """A copy of the directory, to be changed."""
    return Path(shutil.copytree(written.data, tmp_path / "data"))
