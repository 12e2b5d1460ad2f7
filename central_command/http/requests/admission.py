"""What all requests together may hold, and each address of it: places, the bytes of bodies, large bodies, connections.

Theory of operation. A pool counts what is held, in all and by each address. An address may hold at most a share of what
the others leave free (`share_per_address`), so however much one address asks for, room is left for the next one, and
whoever is alone is not kept short. With a share of a quarter one address gets a quarter of everything; four that ask
for all they can get a seventh each, and three sevenths stay free (this is the dynamic threshold of shared switch
buffers: Choudhury and Hahne, 1998). Nothing here waits, because whoever waits is held as well.

A body is held by its bytes, not by its request: the request may be over (its client has gone) while the envelope waits
in a mailbox. So the bytes are counted by a permit that goes wherever they go, in the envelope itself, and they are
given back when the last reference to it is dropped, however that came about: answered, refused, cancelled or failed.
That may be in another thread or in the middle of a garbage collection, so a permit only notes what it gives back, and
the pools take note of that at their next question.

Rejected: releasing in each place that ends an envelope (there are many, and the first one that is forgotten leaks for
good), counting announced bytes (an announcement costs nothing), one fixed bound an address (too much for four addresses
together, or too little for one).
"""

from collections import deque
from collections.abc import Callable, Hashable

import msgspec
import trio

from central_command.process.allocator import return_free_memory

RETURNED_BYTES_MIN = 67_108_864
"""Bytes by which bodies must have become fewer for their memory to be returned to the system: it takes time."""

RETURN_CHECK_S = 5.0
"""Seconds between two looks whether they have."""


class AdmissionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is held now, by how many addresses bodies are, and how many of each kind were refused since the start."""

    requests_in_flight: int
    bodies_bytes: int
    bodies_addresses: int
    large_bodies: int
    connections: int
    requests_refused: int
    bodies_refused: int
    large_bodies_refused: int
    connections_refused: int


class Pool:
    """A number of things that are held, at most `total_max`, and of these by one key a share of what others leave free.

    A key may hold `key_min` as long as there is room at all.
    """

    def __init__(self, *, total_max: int, key_share: float, key_min: int) -> None:
        self._total_max = total_max
        self._key_share = key_share
        self._key_min = key_min
        self._by_key: dict[Hashable, int] = {}
        self.held = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"<Pool {self.held} of {self._total_max} held by {len(self._by_key)} keys>"

    @property
    def keys(self) -> int:
        """By how many keys something is held."""
        return len(self._by_key)

    def take(self, key: Hashable, count: int) -> bool:
        """Take `count` for `key` if they are there; what is taken must be given back."""
        if not count:
            return True
        own = self._by_key.get(key, 0)
        held = self.held
        if held + count > self._total_max or (
            own + count > self._key_min and own + count > self._key_share * (self._total_max - held + own)
        ):
            self.refused += 1
            return False
        self.held = held + count
        self._by_key[key] = own + count
        return True

    def give_back(self, key: Hashable, count: int) -> None:
        """What `key` has taken is not held any more."""
        self.held -= count
        own = self._by_key[key] - count
        assert own >= 0
        if own:
            self._by_key[key] = own
        else:
            del self._by_key[key]


class BodyPermit:
    """The memory that one body takes: counted for its address until nobody holds the permit any more.

    Whoever holds bytes of the body holds its permit, and drops both together.
    """

    __slots__ = ("_address", "_admission", "_bytes", "is_large")

    def __init__(self, admission: "Admission", address: str) -> None:
        self._admission = admission
        self._address = address
        self._bytes = 0
        self.is_large = False

    def __repr__(self) -> str:
        return f"<BodyPermit {self._bytes} bytes{', large' if self.is_large else ''}>"

    def hold(self, count_bytes: int) -> bool:
        """Take more bytes of the body in, or say that there is no room for them."""
        if self.is_large:
            return True
        taken = self._admission.take_bytes(self._address, count_bytes)
        if taken:
            self._bytes += count_bytes
        return taken

    def become_large(self) -> bool:
        """Take one of the places for large bodies instead of bytes, or say that there is none."""
        if not self._admission.take_large(self._address):
            return False
        self.release()
        self.is_large = True
        return True

    def release(self) -> None:
        """Give back what is held, now; after this the permit holds nothing."""
        if self._bytes or self.is_large:
            self._admission.returned.append((self._address, self._bytes, self.is_large))
            self._bytes = 0
            self.is_large = False

    def __del__(self) -> None:
        self.release()


class Admission:
    """Counts what is held against its bounds."""

    def __init__(
        self,
        *,
        requests_max: int,
        bodies_bytes_max: int,
        body_bytes_max: int,
        large_bodies_max: int,
        large_body_bytes: int,
        connections_max: int,
        share_per_address: float,
    ) -> None:
        def pool(total_max: int, key_min: int) -> Pool:
            return Pool(total_max=total_max, key_share=share_per_address, key_min=key_min)

        self._requests = pool(requests_max, 1)
        self._bodies = pool(bodies_bytes_max, body_bytes_max)
        self._large_bodies = pool(large_bodies_max, 1)
        self._large_body_bytes = large_body_bytes
        self._most_bytes = 0
        self._connections = pool(connections_max, 1)
        self.returned: deque[tuple[str, int, bool]] = deque()
        """What permits gave back, from whatever thread: address, bytes, whether it was a place for a large body."""

    def enter(self, address: str) -> bool:
        """Take a request in, or say that there are too many; each one taken in must `leave`."""
        return self._requests.take(address, 1)

    def leave(self, address: str) -> None:
        """A request taken in has ended."""
        self._requests.give_back(address, 1)

    def connect(self, address: str) -> bool:
        """Take a connection in, or say that there are too many; each one taken in must `disconnect`."""
        return self._connections.take(address, 1)

    def disconnect(self, address: str) -> None:
        """A connection taken in has ended."""
        self._connections.give_back(address, 1)

    def permit(self, address: str) -> BodyPermit:
        """A permit for a body of which nothing has come yet."""
        return BodyPermit(self, address)

    def take_bytes(self, address: str, count_bytes: int) -> bool:
        """Take bytes of a body in (for permits)."""
        self._settle()
        return self._bodies.take(address, count_bytes)

    def take_large(self, address: str) -> bool:
        """Take a large body in (for permits)."""
        self._settle()
        return self._large_bodies.take(address, 1)

    async def return_memory(self, return_free: Callable[[], None] = return_free_memory) -> None:
        """Have the memory of bodies returned to the system whenever many have gone; runs until it is cancelled."""
        while True:
            await trio.sleep(RETURN_CHECK_S)
            self._settle()
            if self._most_bytes - self._bytes_held >= RETURNED_BYTES_MIN:
                self._most_bytes = self._bytes_held
                await trio.to_thread.run_sync(return_free)

    @property
    def _bytes_held(self) -> int:
        return self._bodies.held + self._large_bodies.held * self._large_body_bytes

    def statistics(self) -> AdmissionStatistics:
        """What is held now, and what was refused."""
        self._settle()
        return AdmissionStatistics(
            requests_in_flight=self._requests.held,
            bodies_bytes=self._bodies.held,
            bodies_addresses=self._bodies.keys,
            large_bodies=self._large_bodies.held,
            connections=self._connections.held,
            requests_refused=self._requests.refused,
            bodies_refused=self._bodies.refused,
            large_bodies_refused=self._large_bodies.refused,
            connections_refused=self._connections.refused,
        )

    def _settle(self) -> None:
        if not self.returned:
            return
        # Just before something goes, the most is held that was held since the last time.
        self._most_bytes = max(self._most_bytes, self._bytes_held)
        while self.returned:
            address, count_bytes, is_large = self.returned.popleft()
            if count_bytes:
                self._bodies.give_back(address, count_bytes)
            if is_large:
                self._large_bodies.give_back(address, 1)
