"""The process that writes large bodies anew (`worker`): started when the first one comes, asked one at a time."""

import fcntl
import sys
from contextlib import suppress
from typing import Final

import trio

from actors.sessions.rewriting import OffloadedRewriter, Rewriter
from central_command.process.children import start, stop
from central_command.process.piped import LENGTH_BYTES
from central_command.rewriting.worker import REPEATED_NAME, TEXT
from persistence.files.file_system import Offload

COMMAND: Final = (sys.executable, "-P", "-m", "central_command.rewriting.worker")
BESIDE_BYTES_MIN: Final = 65_536
"""A smaller body is written by the server itself: that takes a millisecond or so."""
ANSWER_S_MAX: Final = 30.0
"""A process that takes longer stands still. Guards the session that waits."""
PIPE_BYTES: Final = 1_048_576
STOP_GRACE_S: Final = 2.0
TRIES: Final = 2
"""The first may meet a process that is just ending, since nothing was asked for a while."""


class NoAnswer(Exception):  # noqa: N818 (a state of the world, in one sentence)
    """The process has ended, or says that it cannot read the body."""


class RewritingProcess:
    """A Rewriter; what the process does not do, this one does: what is verified is the same. Close it at the end.

    A task of `nursery` waits for the end of the process, which comes by itself when nothing is asked for a while.
    """

    def __init__(self, offload: Offload, nursery: trio.Nursery) -> None:
        self._otherwise: Rewriter = OffloadedRewriter(offload)
        self._nursery = nursery
        self._line = trio.Lock()
        self._process: trio.Process | None = None

    def __repr__(self) -> str:
        return f"<RewritingProcess {self.pid}>"

    @property
    def pid(self) -> int | None:
        """Of the process, where one is there."""
        return None if self._process is None else self._process.pid

    async def text_of(self, body: bytes) -> bytes | None:
        """See Rewriter."""
        if len(body) >= BESIDE_BYTES_MIN:
            async with self._line:
                for _ in range(TRIES):
                    with suppress(NoAnswer, OSError, trio.BrokenResourceError):
                        return await self._asked(body)
        return await self._otherwise.text_of(body)

    async def aclose(self) -> None:
        """End the process; not to be cancelled."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdout is not None
            process.kill()
            await stop(process, grace_s=STOP_GRACE_S)
            with trio.CancelScope(shield=True):
                await process.stdout.aclose()

    async def _asked(self, body: bytes) -> bytes | None:
        """What the process answers. Raises NoAnswer, OSError, BrokenResourceError, after which it is gone."""
        if self._process is None:
            self._process = await start(COMMAND)
            self._nursery.start_soon(self._reap, self._process, name="end of the rewriting process")
            for stream in (self._process.stdin, self._process.stdout):
                assert isinstance(stream, trio.lowlevel.FdStream)
                with suppress(OSError):
                    fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        is_answered = False
        try:
            with trio.move_on_after(ANSWER_S_MAX):
                text = await _answer(self._process, body)
                is_answered = True
                return text
            raise NoAnswer
        finally:
            if not is_answered:
                await self.aclose()

    async def _reap(self, process: trio.Process) -> None:
        """Let go of a process that has ended by itself: of its place in the system's table, and of its pipes."""
        await process.wait()
        async with self._line:
            if self._process is process:
                await self.aclose()


async def _answer(process: trio.Process, body: bytes) -> bytes | None:
    assert process.stdin is not None
    await process.stdin.send_all(len(body).to_bytes(LENGTH_BYTES, "big"))
    await process.stdin.send_all(body)
    kind = await _received(process, 1)
    if kind == REPEATED_NAME:
        return None
    if kind != TEXT:
        raise NoAnswer
    return bytes(await _received(process, int.from_bytes(await _received(process, LENGTH_BYTES), "big")))


async def _received(process: trio.Process, size_bytes: int) -> bytearray:
    assert process.stdout is not None
    found = bytearray()
    while len(found) < size_bytes:
        if not (piece := await process.stdout.receive_some(size_bytes - len(found))):
            raise NoAnswer
        found += piece
    return found
