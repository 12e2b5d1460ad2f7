"""What all requests together may hold in memory: how many are handled at once, and the bytes of their bodies."""

import msgspec


class AdmissionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Requests handled now, bytes of bodies held now, and how many of each kind were refused since the start."""

    requests_in_flight: int
    bodies_bytes: int
    requests_refused: int
    bodies_refused: int


class Admission:
    """Counts what is held against its bounds; never waits, because whoever waits is held as well."""

    def __init__(self, *, requests_max: int, bodies_bytes_max: int) -> None:
        self._requests_max = requests_max
        self._bodies_bytes_max = bodies_bytes_max
        self._requests = 0
        self._bodies_bytes = 0
        self._requests_refused = 0
        self._bodies_refused = 0

    def enter(self) -> bool:
        """Take a request in, or say that there are too many; each one taken in must `leave`."""
        if self._requests >= self._requests_max:
            self._requests_refused += 1
            return False
        self._requests += 1
        return True

    def leave(self) -> None:
        """A request taken in has ended."""
        self._requests -= 1

    def hold(self, count_bytes: int) -> bool:
        """Take bytes of a body in, or say that there are too many; what is taken in must be released."""
        if self._bodies_bytes + count_bytes > self._bodies_bytes_max:
            self._bodies_refused += 1
            return False
        self._bodies_bytes += count_bytes
        return True

    def release(self, count_bytes: int) -> None:
        """Bytes of a body are no longer held."""
        self._bodies_bytes -= count_bytes

    def statistics(self) -> AdmissionStatistics:
        """What is held now, and what was refused."""
        return AdmissionStatistics(
            requests_in_flight=self._requests,
            bodies_bytes=self._bodies_bytes,
            requests_refused=self._requests_refused,
            bodies_refused=self._bodies_refused,
        )
