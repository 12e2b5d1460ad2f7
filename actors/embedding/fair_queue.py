"""Whose text is next: fair queueing by address, and within an address by request. A pure data structure.

Theory of operation. What is shared is the engine's time, so turns are counted in what texts cost (`batching.text_cost`)
and not in texts or requests. Every address has a lane, and a lane has been `served` so much. The next text is that of
the lane whose service would be the least after it: `served + cost`, its virtual finishing time.

Within a lane requests come in the order of virtual finishing times too, but as wholes, because an answer needs all of
its texts: that of when the request would be done if all requests of the lane were served alike. So a client that starts
behind the address of somebody's bulk load does not wait for all of that, while of two bulk loads the first is done
first, as it was told when it was let in, instead of both too late. A request's own texts go in order of their length,
because texts of one length make the best batches.

A lane that was empty starts where the turn is, at the finishing time of what was taken last. So nobody saves up turns
by keeping silent, nobody pays for what he had while nobody else wanted it, and an empty lane can be forgotten. That is
self-clocked fair queueing (Golestani, 1994). A short text of an address that asks rarely comes before all that others
have queued, but for those whose turn is nearly over. A long one is not passed for ever: the turn moves on with every
text taken, and whoever comes later starts later.

A batch holds texts of many lanes: as many as fit, in the order of their turns. One that does not fit is passed over (it
is among the first of the next batch), but not by texts that come more than a batch later in turn: else short texts, for
which there is room in every batch, would have more than their share. Were a batch to choose by length among more than
these, somebody who sends the lengths that others send would go with each of their batches, in their place. Not to costs
up to 5 percent of the engine's time; so a lane that is alone has more to choose from. What a batch costs by itself is
shared by its lanes.

A text that several ask for is in each of their lanes, goes with the first turn that comes to it, and is charged to
that lane: whoever asks for what somebody else has queued far behind does not wait as long as he would.

Bounds count in each lane the texts that wait or are computed, and the requests that wait for them. A lane may hold
`address_inputs_max`, but never more than what is still free of `inputs_max`: with n lanes that ask without end,
1/(n + 1) is left for others (dynamic thresholds; Choudhury and Hahne, 1998). The last quarter is for first texts of
addresses that have none, which is all that a starting client asks for at a time.

Rejected:
- First come, first served with a bound for each address: whoever comes with long texts from two addresses keeps all
  others waiting as long as the bounds allow.
- Deficit round robin: cheaper with thousands of lanes, but a short text waits for a whole round, in which each lane may
  take its quantum, and a quantum must not be less than the longest text. With some hundred waiting requests at most
  the order can be found anew for each batch.
- Least served first (start-time fair queueing): every lane's longest text may come before a newcomer's shortest.
- A share of each batch for each address: batches would be part empty, or no share at all.
- Dropping from the longest lane when a newcomer finds no room: a request is answered whole or not at all, so what was
  computed for it would be lost.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import count, islice
from math import inf
from typing import NamedTuple

from actors.embedding.batching import BATCH_OVERHEAD_COST, HORIZON_INPUTS, BatchBounds
from actors.embedding.computation import Computation


class Asking:
    """One request in its lane, and those of its texts that wait."""

    __slots__ = ("computations", "finished", "lane", "number", "waiting")

    def __init__(self, lane: "_Lane", number: int, computations: Sequence[Computation]) -> None:
        self.lane = lane
        self.number = number
        self.computations = computations
        self.waiting = sorted((found for found in computations if not found.is_taken), key=lambda found: found.cost)
        self.finished = lane.turn + self.waiting_cost

    def __repr__(self) -> str:
        return f"<Asking of {self.lane.address} for {len(self.computations)} texts, {len(self.waiting)} waiting>"

    @property
    def waiting_cost(self) -> float:
        """What its waiting texts cost."""
        return sum(computation.cost for computation in self.waiting)


class Turn(NamedTuple):
    """A text, the request whose turn it is, and the virtual finishing time of its lane."""

    computation: Computation
    asking: Asking
    finished: float


class _Lane:
    """One address: its requests, and how many of them want each text.

    `served` is its own virtual time, among the lanes; `turn` that of the requests in it.
    """

    __slots__ = ("address", "askings", "number", "served", "turn", "wanted")

    def __init__(self, address: str, number: int) -> None:
        self.address = address
        self.number = number
        self.served = 0.0
        self.turn = 0.0
        self.askings: dict[Asking, None] = {}
        self.wanted: Counter[Computation] = Counter()

    @property
    def waiting(self) -> list[Asking]:
        """The requests with texts that wait."""
        return [asking for asking in self.askings if asking.waiting]

    def in_turn(self) -> Iterator[Turn]:
        """Return its texts that wait, in the order of their turns."""
        finished = self.served
        for asking in sorted(self.waiting, key=lambda asking: (asking.finished, asking.number)):
            for computation in asking.waiting:
                finished += computation.cost
                yield Turn(computation, asking, finished)


class FairQueue:
    """Texts that wait, and whose turn is next. `inputs_max` bounds all lanes, `address_inputs_max` each."""

    def __init__(self, *, inputs_max: int, address_inputs_max: int) -> None:
        self._free_inputs = self._free_requests = inputs_max
        self._reserved = inputs_max // 4
        self._address_inputs_max = address_inputs_max
        self._lanes: dict[str, _Lane] = {}
        self._waiting: dict[Computation, dict[Asking, None]] = {}
        self._numbers = count()
        self._turn = 0.0

    def __repr__(self) -> str:
        return f"<FairQueue of {len(self)} texts for {len(self._lanes)} addresses>"

    def __len__(self) -> int:
        """How many texts wait."""
        return len(self._waiting)

    @property
    def waiting_addresses(self) -> int:
        """How many addresses have texts that wait."""
        return sum(bool(lane.waiting) for lane in self._lanes.values())

    # Coming and going

    def has_room(self, address: str, known: Iterable[Computation], new_inputs: int) -> bool:
        """Whether a request may come in that wants these computations and `new_inputs` more."""
        lane = self._lanes.get(address) or _Lane(address, 0)
        inputs = len(lane.wanted) + new_inputs + sum(computation not in lane.wanted for computation in known)
        requests = len(lane.askings) + 1
        reserved = 0 if inputs == requests == 1 else self._reserved
        free = min(self._free_inputs - inputs, self._free_requests - requests)
        return free >= reserved and max(inputs, requests) <= self._address_inputs_max

    def add(self, address: str, computations: Collection[Computation]) -> Asking:
        """Take a request in; those of its computations wait that are not taken yet. It must `leave` in the end."""
        lane = self._lanes.get(address)
        if lane is None:
            lane = self._lanes[address] = _Lane(address, next(self._numbers))
        if not lane.waiting:
            lane.served = max(lane.served, self._turn)
        asking = Asking(lane, next(self._numbers), tuple(computations))
        for computation in asking.waiting:
            self._waiting.setdefault(computation, {})[asking] = None
        lane.askings[asking] = None
        self._free_requests -= 1
        self._count_inputs(lane, asking.computations, 1)
        return asking

    def leave(self, asking: Asking) -> list[Computation]:
        """Let a request go; return those of its computations that waited for nobody else and are out of the queue."""
        lane = asking.lane
        del lane.askings[asking]
        self._free_requests += 1
        self._count_inputs(lane, asking.computations, -1)
        dropped = []
        for computation in asking.waiting:
            askings = self._waiting[computation]
            del askings[asking]
            if not askings:
                del self._waiting[computation]
                dropped.append(computation)
        asking.waiting.clear()
        if not lane.askings:
            del self._lanes[lane.address]
        return dropped

    def remove(self, computation: Computation) -> None:
        """Take a computation out of the queue, if it is in it; nobody's turn is used up by that."""
        for asking in self._waiting.pop(computation, ()):
            asking.waiting.remove(computation)

    def _count_inputs(self, lane: _Lane, computations: Iterable[Computation], by: int) -> None:
        before = len(lane.wanted)
        for computation in computations:
            lane.wanted[computation] += by
            if not lane.wanted[computation]:
                del lane.wanted[computation]
        self._free_inputs -= len(lane.wanted) - before

    # Turns

    def in_turn(self) -> Iterator[Turn]:
        """Return the waiting texts in the order of their turns; one that several ask for may come more than once."""
        heap = []
        for lane in self._lanes.values():
            turns = lane.in_turn()
            for turn in turns:  # the first
                heap.append((turn.finished, lane.number, turn, turns))
                break
        heapify(heap)
        while heap:
            _, number, turn, turns = heap[0]
            yield turn
            following = next(turns, None)
            if following is None:
                heappop(heap)
            else:
                heapreplace(heap, (following.finished, number, following, turns))

    def untokenised(self, inputs_max: int) -> list[Computation]:
        """Return the next texts that are not tokenised yet, of those that the next batches may come to."""
        upcoming = (turn.computation for turn in islice(self.in_turn(), HORIZON_INPUTS))
        return list(islice((computation for computation in upcoming if computation.tokens is None), inputs_max))

    def window(self, bounds: BatchBounds) -> list[Turn]:
        """Return the tokenised texts that the next batch may choose from, in the order of their turns.

        They are as many as fit into one batch; of a lane alone as many as a decision looks at.
        """
        window: dict[Computation, Turn] = {}
        contended = self.waiting_addresses > 1
        inputs_max, tokens_left = (bounds.inputs_max, bounds.tokens_max) if contended else (HORIZON_INPUTS, inf)
        passed_over_at = inf
        for turn in islice(self.in_turn(), HORIZON_INPUTS):
            tokens = turn.computation.tokens
            if tokens is None or turn.computation in window:
                continue
            if turn.finished > passed_over_at + bounds.tokens_max:
                break
            if len(tokens) > tokens_left:
                passed_over_at = min(passed_over_at, turn.finished)
                continue
            window[turn.computation] = turn
            tokens_left -= len(tokens)
            if len(window) == inputs_max:
                break
        return list(window.values())

    def take(self, turns: Sequence[Turn]) -> None:
        """These texts make up the next batch: they wait no more, and their lanes were served."""
        lanes: dict[_Lane, float] = {}
        for computation, asking, _ in turns:
            computation.is_taken = True
            lanes[asking.lane] = lanes.get(asking.lane, 0.0) + computation.cost
        for lane, cost in lanes.items():
            lane.served += cost + BATCH_OVERHEAD_COST / len(lanes)
            lane.turn += cost / len(lane.waiting)
            self._turn = max(self._turn, lane.served)
        for turn in turns:
            self.remove(turn.computation)

    def cost_until_done(self, address: str, cost: float) -> float:
        """Return what the engine has to do until texts of `cost`, were they asked for now, are done.

        That is what comes before them in their lane, and as much for each other lane at most. It errs to the long side
        where several wait for the same text, to the short side because others may come.
        """
        own = cost
        others = 0.0
        lane = self._lanes.get(address)
        if lane is not None:
            finished = lane.turn + cost
            own += sum(asking.waiting_cost for asking in lane.askings if asking.finished <= finished)
        for other in self._lanes.values():
            if other is not lane:
                others += min(sum(asking.waiting_cost for asking in other.askings), own)
        return own + others
