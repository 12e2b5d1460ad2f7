"""How far an upload is, as a terminal shows it."""

import io
import re

import pytest
from rich.console import Console

from central_command.client.delivering.deliverer import Waiting
from central_command.client.uploading.progress import Display

LONG = "rollout-2026-11-20T11-48-17-01a1f8c9-337a-7b82-9c80-f4faab7a70b9.jsonl"


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_numbers_are_whole_however_long_the_name_and_the_reason_of_a_wait(width: int) -> None:
    """A name keeps its beginning and end, a reason its beginning."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    with Display(console, files=440) as display, display.file(LONG, size=5_000_000) as bar:
        bar.begin(steps=48_300, done=10_000)
        display.refresh()
        bar.waiting(Waiting("Too many requests from this address; come back later.", 2, 1))
        display.refresh()
    lines = re.sub(r"\x1b\[[0-9?;]*[A-Za-z]", "\n", out.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    assert any(re.search(r"^  rollout-20.*70b9\.jsonl .* 10000/48300 steps 0:00:0\d", line) for line in lines)
    assert any(re.search(r"^  roll.*waiting 2 s: Too .* 10000/48300 steps 0:00:0\d", line) for line in lines)
    assert any(re.search(r"^  all .* 0/440 +files 0:00:0\d", line) for line in lines)
