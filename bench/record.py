"""What `record` costs the program that calls it, while the server cannot be reached.

    python -m bench.record [--steps N] [--json FILE]

Each call is timed by itself, beside a call of `list.append` timed in the same way; the clock's own cost is in both.
The recorder's thread moves steps to the spool meanwhile, as it does in use.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.report import Measurement, Report, percentile, publish
from central_command.client import Recorder, RecorderSettings

NOWHERE = "http://127.0.0.1:9"
PAUSE_EVERY = 500
"""Steps between pauses: an agent does not take twenty thousand steps in a second."""


def step_of(content_chars: int) -> dict[str, object]:
    """A step such as agents take, with so much content."""
    return {
        "type": "action",
        "tool": "Bash",
        "arguments": {"command": "make test", "timeout": 120},
        "content": "x" * content_chars,
    }


def timed(call: Callable[[dict[str, object]], None], steps: int, content_chars: int) -> list[float]:
    """Seconds that each of so many calls took, each with a step of its own."""
    times = []
    for number in range(steps):
        step = step_of(content_chars)
        began = time.perf_counter()
        call(step)
        times.append(time.perf_counter() - began)
        if number % PAUSE_EVERY == PAUSE_EVERY - 1:
            time.sleep(0.2)
    return times


def measure(steps: int, content_chars: int, directory: Path) -> Measurement:
    """`record` and `list.append` with steps of one size."""
    kept: list[dict[str, object]] = []
    append_s = statistics.median(timed(kept.append, steps, content_chars))
    recorder = Recorder(
        NOWHERE, provider="codex", model="gpt-5.5", spool_path=directory / "spool.db", settings=RecorderSettings()
    )
    with recorder:
        session = recorder.session()
        times = timed(session.record, steps, content_chars)
        session.close()
        recorder.close(1)
        found = recorder.statistics()
    assert (found.steps_recorded, found.steps_spooled, found.steps_dropped) == (steps, steps, 0), found
    median_s = statistics.median(times)
    return Measurement(
        f"{content_chars} characters",
        {
            "append_p50_us": append_s * 1e6,
            "record_p50_us": median_s * 1e6,
            "record_p99_us": percentile(times, 0.99) * 1e6,
            "ratio": median_s / append_s,
        },
    )


def main() -> None:
    """Measure steps of three sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_CONFIG_HOME"] = directory  # the ids of a client that nobody credits
        measurements = _measure_all(arguments.steps)
    publish(Report("record, server out of reach", measurements), arguments.json)


def _measure_all(steps: int) -> list[Measurement]:
    measurements = []
    for content_chars in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as directory:
            measurements.append(measure(steps, content_chars, Path(directory)))
    return measurements


if __name__ == "__main__":
    main()
