"""`POST /v1/training/ingest/batch`: many envelopes in one request, a line each, each treated as if it had come alone.

The envelopes of one session go to its actor together and in order, those of different sessions at the same time. The
answer is written as it becomes known: a result's line goes out once it and all lines before it are there, with
whatever else is ready then.

What a line is refused for is told in its result; only a body that is no batch at all is refused as a whole. Past the
budgets of its session and its address every further line is refused, also should there be room again meanwhile: a
client takes the wrong sequence that a later envelope of the same session would be told for delivered.
"""

import logging
from collections.abc import Sequence

import trio

from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal
from actors.sessions.outcomes import ActorFailed, IngestOutcome
from central_command.http.endpoints.ingest import EnvelopeIntake, settle
from central_command.http.gateway import Gateway
from central_command.http.requests.direct import ReceivedBody, WritePiece
from central_command.http.requests.limits import Charge
from central_command.http.requests.ndjson import lines_of
from central_command.http.requests.replies import BATCH_PATH, HttpProblem, Replies, Reply, problem, result_line
from central_command.http.requests.request_figures import RequestFigures
from central_command.http.settings import HttpSettings

TURN_BYTES = 131_072
"""Bytes of envelopes that are read before others get their turn: about a millisecond's work."""

ENVELOPE_BYTES = 4_096
"""What reading an envelope takes, however small it is, in bytes that are read in the same time."""

logger = logging.getLogger("central_command.http")


class _Results:
    """Lines of the answer, put in any order and handed out in theirs."""

    def __init__(self, count: int) -> None:
        self._lines: list[bytes | None] = [None] * count
        self._handed_out = 0
        self._changed = trio.Event()
        self.refusal_codes: list[str] = []

    def put(self, index: int, reply: Reply) -> None:
        """The answer to the envelope on line `index` is known."""
        self._lines[index] = result_line(reply)
        if reply.code:
            self.refusal_codes.append(reply.code)
        if index == self._handed_out:
            self._changed.set()

    async def next(self) -> tuple[bytes, bool]:
        """All lines that are ready and were not handed out, at least one, and whether there will be more."""
        while self._lines[self._handed_out] is None:
            self._changed = trio.Event()
            await self._changed.wait()
        ready: list[bytes] = []
        for line in self._lines[self._handed_out :]:
            if line is None:
                break
            ready.append(line)
        self._handed_out += len(ready)
        return b"".join(ready), self._handed_out < len(self._lines)


Shares = dict[str, list[tuple[int, Charge, Envelope]]]
"""A batch's envelopes by session, each with its line's index and what it costs, in order."""


class BatchEndpoint:
    """What answers a batch."""

    def __init__(
        self,
        gateway: Gateway,
        replies: Replies,
        settings: HttpSettings,
        read: EnvelopeIntake,
        figures: RequestFigures,
    ) -> None:
        self._gateway = gateway
        self._figures = figures
        self._replies = replies
        self._lines_max = settings.batch_lines_max
        self._read_envelope = read
        self._line = trio.Lock()
        """Batches stand in line for it, so that in a turn of the event loop only one is being read."""

    async def __call__(self, write: WritePiece, received: ReceivedBody) -> Reply | None:
        """Write the answer to a whole body, or return it where the body is no batch.

        The request itself is counted against its address already, and stands for its first line.
        """
        lines = lines_of(received.text, lines_max=self._lines_max, of="envelope", code="empty_batch")
        if isinstance(lines, HttpProblem):
            return problem(BATCH_PATH, lines)
        results = _Results(len(lines))
        received.text = b""  # the lines have their own copies
        shares = await self._read(received, lines, results)
        del received, lines
        async with trio.open_nursery() as nursery:
            for session_id, share in shares.items():
                nursery.start_soon(self._ingest, session_id, share, results)
            del shares
            more = True
            while more:
                piece, more = await results.next()
                await write(piece, more=more)
        self._figures.refused(results.refusal_codes)
        return None

    async def _read(self, received: ReceivedBody, lines: Sequence[bytes], results: _Results) -> Shares:
        """Read the envelopes; the answer to what is none, or has no budget any more, is known at once."""
        shares: Shares = {}
        turn_bytes = 0
        for index, line in enumerate(lines):
            turn_bytes += len(line) + ENVELOPE_BYTES
            if turn_bytes > TURN_BYTES:
                turn_bytes = len(line) + ENVELOPE_BYTES
                async with self._line:
                    pass
            envelope = await self._read_envelope(line, received.permit)
            session_id = envelope.session_id if isinstance(envelope, Envelope) else None
            charge = received.charge.another(session_id) if index else received.charge
            if isinstance(charge, HttpProblem):
                for behind in range(index, len(lines)):
                    results.put(behind, problem(BATCH_PATH, charge))
                break
            if isinstance(envelope, Refusal):
                results.put(index, self._replies.ingested(envelope))
                continue
            charge.belongs_to(envelope.session_id)
            shares.setdefault(envelope.session_id, []).append((index, charge, envelope))
        return shares

    async def _ingest(self, session_id: str, share: list[tuple[int, Charge, Envelope]], results: _Results) -> None:
        """Have one session's envelopes taken in; a fault there is that session's alone."""
        places = [(index, charge) for index, charge, _ in share]
        envelopes = tuple(envelope for _, _, envelope in share)
        share.clear()
        outcomes: tuple[IngestOutcome, ...]
        try:
            outcomes = await self._gateway.ingest_many(session_id, envelopes)
        except Exception:
            logger.exception("POST %s failed.", BATCH_PATH)
            outcomes = (ActorFailed(),) * len(places)
        for (index, charge), outcome in zip(places, outcomes, strict=True):
            settle(charge, session_id, outcome)
            results.put(index, self._replies.ingested(outcome))
