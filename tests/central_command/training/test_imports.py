"""What an application loads for a user who has not opted in: nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from central_command.training import ConsentManager, get_or_create_user_id, is_capture_enabled
from tests.server_process import REPOSITORY

MODULES = """
import json, os, sys
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
ROOM = [
    *("central_command", "central_command.training"),
    *("central_command.training.local_user", "central_command.training.permission"),
]


def loaded_by(code: str, home: Path) -> list[Any]:
    """The modules that some code adds to those of a bare interpreter."""
    code = MODULES.format(code=code)
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n{code}", str(REPOSITORY)],
        env={"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def test_importing_the_packages_loads_nothing_else(home: Path) -> None:
    assert loaded_by("import central_command", home) == ["central_command"]
    assert loaded_by("import central_command.training", home) == ROOM


def test_asking_for_somebody_who_has_not_opted_in_loads_nothing_and_makes_nothing(home: Path) -> None:
    code = "from central_command.training import is_capture_enabled; assert not is_capture_enabled()"
    assert loaded_by(code, home) == ROOM
    assert list(home.iterdir()) == []
    user_id = get_or_create_user_id()
    assert loaded_by(code, home) == ROOM
    ConsentManager().record_consent(user_id, opted_in=True, consent_version="1.0")
    assert is_capture_enabled()
    ConsentManager().revoke_consent(user_id)
    assert loaded_by(code, home) == ROOM
