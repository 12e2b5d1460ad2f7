"""Makes a data directory with so many bytes of envelopes, by the server's own code below HTTP.

Sessions are opened, signed, verified, journalled, projected, stitched and credited like any other; what is left out is
HTTP and threads. The service's clock moves, so that the envelopes lie in several daily files as a real corpus does.
"""

import argparse
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from actors.envelopes.reading import read_envelope
from actors.sessions.outcomes import Accepted, Opened
from bench.sessions import MEDIUM, BenchSession, Logs
from central_command.service import Service, open_service
from central_command.settings.configuration import Settings
from persistence.databases.opening import open_inline_database
from persistence.files.file_system import inline
from persistence.storage import Platform

CHUNKS: Final = 10
"""Chunks of one session."""
SESSIONS_AT_ONCE: Final = 16
"""As many lines share one sync."""
DAYS: Final = 6
"""The clock begins so many days ago and ends now; the contract takes steps of the last seven days."""
SECONDS_PER_DAY: Final = 86_400


class Corpus(msgspec.Struct, frozen=True):
    """What was made, and how long that took."""

    envelope_bytes: int
    sessions: int
    seconds: float


class _Maker:
    """Sends whole sessions into a service until there are enough bytes."""

    def __init__(self, service: Service, logs: Logs, bytes_wanted: int, began_at_s: float) -> None:
        self._service = service
        self._logs = logs
        self._bytes_wanted = bytes_wanted
        self._began_at_s = began_at_s
        self._bytes_begun = 0
        self._session_bytes = sum(len(logs.log(chunk)) for chunk in range(CHUNKS))
        self.bytes_sent = 0
        self.sessions = 0

    def clock(self) -> float:
        """From `began_at_s` to now, in step with what was sent."""
        share = min(1.0, self.bytes_sent / self._bytes_wanted)
        return self._began_at_s + share * (time.time() - self._began_at_s)

    async def run(self) -> None:
        """Send sessions, one after the other; several of these run at once."""
        while self._bytes_begun < self._bytes_wanted:
            self._bytes_begun += self._session_bytes
            session = BenchSession(self._logs)
            outcome = await self._service.open_session(session.opening())
            assert isinstance(outcome, Opened), outcome
            session.opened(outcome.server_public_key)
            for _ in range(CHUNKS):
                await self._send(session.chunk())
            await self._send(session.close())
            self.sessions += 1

    async def _send(self, body: bytes) -> None:
        envelope = read_envelope(body, nesting_max=64)
        outcome = await self._service.ingest(envelope)  # type: ignore[arg-type] # a refusal fails below
        assert isinstance(outcome, Accepted), outcome
        self.bytes_sent += len(body)


async def make_corpus(data_directory: Path, bytes_wanted: int) -> Corpus:
    """Fill a new data directory with at least `bytes_wanted` of envelopes, all sessions closed and credited."""
    began_at_s = time.time() - DAYS * SECONDS_PER_DAY
    began_at = time.perf_counter()
    makers: list[_Maker] = []
    platform = Platform(
        clock=lambda: makers[0].clock() if makers else began_at_s,
        environ={},
        offload=inline,
        open_database=open_inline_database,
        bridge=nullcontext,
    )
    async with open_service(Settings(), data_directory, platform) as service:
        maker = _Maker(service, Logs(MEDIUM, at_s=began_at_s), bytes_wanted, began_at_s)
        makers.append(maker)
        async with trio.open_nursery() as nursery:
            for _ in range(SESSIONS_AT_ONCE):
                nursery.start_soon(maker.run)
    return Corpus(maker.bytes_sent, maker.sessions, time.perf_counter() - began_at)


def main() -> int:
    """Make one from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_directory", type=Path)
    parser.add_argument("--megabytes", type=float, default=1_000.0, help="of envelopes, in units of 10^6 bytes")
    options = parser.parse_args()
    if options.data_directory.exists():
        print(f"{options.data_directory} exists already", file=sys.stderr)
        return 1
    made = trio.run(partial(make_corpus, options.data_directory, int(options.megabytes * 1e6)))
    print(f"{made.sessions} sessions, {made.envelope_bytes / 1e6:.0f} MB of envelopes in {made.seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
