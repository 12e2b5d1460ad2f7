"""Whether a server takes several envelopes at once, and how many bytes of them.

A server without batches (404, 405) is sent one envelope at a time for as long as this process lives. Where a batch gets
no answer, the next envelope goes alone: if that arrives, the batch was too much for the way there, and the next one is
half as large. After the third in a row the way is taken to be none for batches.
"""

from central_command.client.contract.endpoints import BATCH_BYTES_MAX

_BYTES_MIN = 65_536
_FAILURES_MAX = 3


class Batching:
    """What is known of batches to one server."""

    def __init__(self) -> None:
        self._bytes_max = BATCH_BYTES_MAX
        self._failures = 0
        self._is_alone_next = False

    def __repr__(self) -> str:
        return f"<Batching {self.bytes_max} bytes>"

    @property
    def bytes_max(self) -> int:
        """The most that the next request may hold of several envelopes; 0 when it must be one alone."""
        return 0 if self._is_alone_next or self._failures >= _FAILURES_MAX else self._bytes_max

    def unknown(self) -> None:
        """The server does not know batches, or what answers is none."""
        self._failures = _FAILURES_MAX

    def failed(self) -> None:
        """A batch was not answered."""
        self._failures += 1
        self._bytes_max = max(_BYTES_MIN, self._bytes_max // 2)
        self._is_alone_next = True

    def arrived(self) -> None:
        """A batch was answered."""
        self._failures = 0
        self._bytes_max = min(BATCH_BYTES_MAX, self._bytes_max * 2)

    def arrived_alone(self) -> None:
        """An envelope that was sent alone was answered."""
        self._is_alone_next = False


_by_url: dict[str, Batching] = {}


def batching_for(url: str) -> Batching:
    """What this process knows of the server at `url`."""
    return _by_url.setdefault(url, Batching())
