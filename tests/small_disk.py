"""A file system of a test's own, in memory, and every free byte of it taken."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class CannotMountError(Exception):
    """This process may not mount a file system; the text says why."""


@contextmanager
def mounted(folder: Path, *, size_bytes: int) -> Iterator[None]:
    """A file system of this size on `folder`, which is made; raises CannotMountError."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "central-command-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise CannotMountError("there is no mount command") from None
    if done.returncode:
        raise CannotMountError(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def fill_up(filler: Path) -> None:
    """Write to a file until nothing more fits, to the last byte."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (1_048_576, 4_096, 1):
            with suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)
