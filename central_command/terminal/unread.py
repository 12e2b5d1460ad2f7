"""What becomes of a command when nobody reads its output any more, as behind `| head`.

One that only prints ends, quietly, with status 1: click does so at the first line that nobody takes. One that works
while it prints (uploads, erases, copies) must not end there, in the middle of its work: it goes on, what nobody reads
is dropped, and its exit status is that of its work.
"""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Unread(io.FileIO):
    """A descriptor that takes everything; once nobody reads it, it is one of the null device."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write at least a part of `data`; gives how many bytes."""
        try:
            return super().write(data)
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)


@contextmanager
def going_on_unread() -> Iterator[None]:
    """Within it, standard output and standard error may lose their readers; it also decorates functions."""
    with ExitStack() as stack:
        for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
            if (lasting := _lasting(stream)) is not None:
                stack.callback(lasting.flush)
                stack.enter_context(redirect(lasting))
        yield


def is_unread(stream: TextIO | None) -> bool:
    """Whether `stream` is a pipe that nobody reads any more."""
    try:
        descriptor = -1 if stream is None else stream.fileno()
    except OSError:
        return False
    asked = select.poll()
    if descriptor >= 0:
        asked.register(descriptor, 0)  # errors are always told
    return any(event & select.POLLERR for _, event in asked.poll(0))


def _lasting(stream: TextIO | None) -> TextIO | None:
    """The same stream, which outlives its readers; None where it is none of the process's own descriptors."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    try:
        descriptor = stream.fileno()
        stream.flush()
    except OSError:
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_Unread(descriptor, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )
