"""What reads exports in earnest: installed by `make .venv/.readers`, or these tests say that they are skipped.

Nothing is fetched: the libraries work offline, and what they remember is in a folder of the test run.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

UNPACKED = Path(sys.prefix) / "readers"
"""Wheels whose files are read and not installed (requirements-unpacked.lock)."""

collect_ignore_glob = [] if UNPACKED.is_dir() else ["test_*_read.py"]

REMEMBERED = tempfile.mkdtemp(prefix="readers-")
atexit.register(shutil.rmtree, REMEMBERED, ignore_errors=True)
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HOME=REMEMBERED,
    TRANSFORMERS_VERBOSITY="error",
)
if UNPACKED.is_dir():
    sys.path.append(str(UNPACKED))
