"""Sessions as the source of an export: the rules by which one belongs in it, in order, and what is made of one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from central_command.corpus.reading import Read, UnreadableLine
from central_command.corpus.stored import ShownRecords, StoredCorpus
from central_command.corpus.trajectory import Embedded, Trajectory
from central_command.exporting.contents import Entry, Within
from central_command.exporting.formats.format import Format
from central_command.exporting.plan import Candidate, Plan
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.selection import Selection
from central_command.exporting.shape import Row
from central_command.exporting.source import Found, Left, Means, Rows, check_without_reading
from central_command.exporting.splits import split_of
from central_command.exporting.tokens import Fitted, Piece, fit


class Session(msgspec.Struct, frozen=True):
    """A session that was read, the pieces of it that have few enough tokens, and the sub-agents that are within it."""

    read: Read
    fitted: Fitted
    members: tuple["Member", ...] = ()


class Member(msgspec.Struct, frozen=True):
    """A sub-agent's session within its parent's, without those within it, which are members, too."""

    candidate: Candidate
    read: Read
    trajectory: Trajectory


class Sessions:
    """The sessions of a corpus; copies are those of what the plan has kept before."""

    def __init__(
        self,
        stored: StoredCorpus,
        plan: Plan,
        selection: Selection,
        formats: Sequence[Format],
        means: Means,
    ) -> None:
        self._stored = stored
        self._plan = plan
        self._selection = selection
        self._formats = formats
        self._benchmarks = means.benchmarks
        self._counter = means.counter
        self._family_bytes_max = means.family_bytes_max
        self._embeds = selection.shape.subagents == "embed"

    def __repr__(self) -> str:
        return f"<Sessions of {self._stored!r}>"

    def found(self, snapshot: ShownRecords) -> Iterator[Found]:
        """Yield what there is."""
        selection = self._selection
        if selection.shape.judgements:
            self._plan.put_judgements(snapshot.judgements())
        for stored in snapshot.records():
            row = stored.record
            contributor = self._stored.pseudonyms.of(row.contributor_id)
            candidate = Candidate(
                0,
                row.record_id,
                row.trajectory_id,
                row.session_id,
                contributor,
                row.cluster,
                row.sha256,
                split_of(contributor, selection.splits, selection.seed),
                stored.position,
            )
            code = selection.filters.against_row(row, contributor)
            yield Found(candidate, None if code is None else LeftOutReason(code))

    def check(self, candidate: Candidate, *, is_chosen: bool) -> None:
        """Raise Left for one that stands within another, or is a copy."""
        within = self._plan.within(candidate.record_id) if self._embeds else None
        if within is not None:
            raise Left(LeftOutReason.EMBEDDED, within)
        if not is_chosen:
            check_without_reading(candidate, plan=self._plan, selection=self._selection)

    def judged(self, candidate: Candidate) -> Session:
        """Read a session that passed its check, with its sub-agents; raises Left for one that does not belong."""
        return self._with_members(candidate, self._judged(candidate), self._judged_member)

    def _judged_member(self, candidate: Candidate) -> Read:
        check_without_reading(candidate, plan=self._plan, selection=self._selection)
        return self._judged(candidate)

    def _judged(self, candidate: Candidate) -> Read:
        read = self._read(candidate)
        trajectory = read.trajectory
        selection = self._selection
        code = selection.filters.against(trajectory)
        if code is not None:
            raise Left(LeftOutReason(code))
        if not trajectory.steps:
            raise Left(LeftOutReason.NO_STEPS)
        if trajectory.has_cut_arguments and not selection.keep_cut_arguments:
            raise Left(LeftOutReason.CUT_ARGUMENTS)
        if trajectory.sequence_gaps and not selection.keep_sequence_gaps:
            raise Left(LeftOutReason.SEQUENCE_GAPS)
        if trajectory.is_subagent and selection.shape.subagents == "drop":
            raise Left(LeftOutReason.SUBAGENT)
        for run in trajectory.copied_from:
            if self._plan.split_of_session(run.session_id) not in {None, candidate.split}:
                raise Left(LeftOutReason.BETWEEN_SPLITS, run.session_id)
        matched = self._benchmarks.found_in(trajectory)
        if matched is not None:
            raise Left(LeftOutReason.CONTAMINATED, matched)
        return read

    def read(self, candidate: Candidate) -> Session:
        """Read a session that was judged before; raises Left for one that is not there any more."""
        return self._with_members(candidate, self._read(candidate), self._read)

    def _with_members(self, candidate: Candidate, read: Read, read_another: Callable[[Candidate], Read]) -> Session:
        """A session, with what it has begun within it where that is asked for."""
        fitted = self._fitted(read)
        if not self._embeds:
            return Session(read, fitted)
        (piece,) = fitted.pieces  # with sub-agents nothing is cut to a length
        family = _Family(self._plan, self._selection, self._family_bytes_max, read_another, self._fitted)
        trajectory = family.of(candidate, msgspec.structs.replace(piece.trajectory, parent_session=None))
        whole = msgspec.structs.replace(piece, trajectory=trajectory)
        return Session(read, msgspec.structs.replace(fitted, pieces=(whole,)), tuple(family.members))

    def made(self, candidate: Candidate, item: Session) -> tuple[Rows, Entry]:
        """Make the rows of a session in each format, and say what is counted of it."""
        rows, left_out = self._rows_of(item)
        entry = self._entry(candidate, item.read, left_out, item.fitted)
        return rows, _with_counts_of(entry, item.members)

    def _read(self, candidate: Candidate) -> Read:
        try:
            return self._stored.read(candidate.position)
        except UnreadableLine:
            raise Left(LeftOutReason.UNREADABLE) from None

    def _fitted(self, read: Read) -> Fitted:
        """The trajectory, or its pieces that have few enough tokens, with what was asked for beside it."""
        trajectory = read.trajectory
        if self._selection.shape.judgements:
            said = self._plan.judgement(trajectory.trajectory_id)
            trajectory = msgspec.structs.replace(trajectory, judgement=said)
        if self._counter is None:
            return Fitted((Piece(trajectory),))
        tokens = self._counter.of_steps(trajectory.steps)
        fitted = fit(trajectory, tokens, self._selection.max_tokens, self._selection.overlong)
        if not fitted.pieces:
            raise Left(LeftOutReason.OVERLONG, f"{sum(tokens)} tokens")
        return fitted

    def _rows_of(self, item: Session) -> tuple[dict[str, list[Row | msgspec.Raw]], dict[str, str]]:
        """The rows of each format, and why it has none."""
        rows: dict[str, list[Row | msgspec.Raw]] = {}
        left_out: dict[str, str] = {}
        for known in self._formats:
            made: list[Row | msgspec.Raw] = []
            for piece in item.fitted.pieces:
                try:
                    made += self._of_piece(known, piece, item)
                except LeftOut as left:
                    left_out[known.name] = left.reason
            if made:
                rows[known.name] = made
                left_out.pop(known.name, None)
        return rows, left_out

    def _of_piece(self, known: Format, piece: Piece, item: Session) -> Iterable[Row | msgspec.Raw]:
        if known.of_line is not None:
            rows = [*known.of_line(piece.trajectory, item.read.line, piece.first)]
            return rows + [row for each in item.members for row in known.of_line(each.trajectory, each.read.line, 0)]
        made = known.rows(piece.trajectory, self._selection.shape)
        columns = self._selection.columns
        return made if columns is None else ({name: row[name] for name in columns if name in row} for row in made)

    def _entry(self, candidate: Candidate, read: Read, left_out: dict[str, str], fitted: Fitted) -> Entry:
        trajectory, pieces = read.trajectory, [piece.trajectory for piece in fitted.pieces]
        tags = trajectory.domain_tags.primary
        enrichment = trajectory.enrichment
        return Entry(
            record_id=candidate.record_id,
            session_id=candidate.session_id,
            split=self._selection.splits[candidate.split].name,
            cluster=candidate.cluster,
            sha256=candidate.sha256,
            provider=trajectory.provider,
            model=trajectory.model,
            domain=tags.domain if tags else None,
            cognitive_target=enrichment.cognitive_target.target,
            tier=enrichment.quality_assessment.tier,
            outcome=trajectory.outcome.status if trajectory.outcome else None,
            feedback=trajectory.feedback[-1].signal if trajectory.feedback else None,
            consent_version=trajectory.consent.version,
            rules=trajectory.rules,
            steps=sum(len(piece.steps) for piece in pieces),
            chars=sum(len(step.content or "") for piece in pieces for step in piece.steps),
            tokens=None if self._counter is None else sum(piece.tokens or 0 for piece in pieces),
            cut_steps=fitted.cut_steps,
            findings=trajectory.scrubbed.by_category,
            mended_numbers=read.mended.numbers,
            mended_surrogates=read.mended.surrogates,
            left_out=left_out,
        )


class _Family:
    """Gathers what a session has begun: sub-agents that belong in the export, as far as there is room for them.

    What is not taken in stands alone, when its own turn comes.
    """

    def __init__(
        self,
        plan: Plan,
        selection: Selection,
        bytes_max: int,
        read_another: Callable[[Candidate], Read],
        fitted: Callable[[Read], Fitted],
    ) -> None:
        self._plan = plan
        self._dedup = selection.dedup
        self._room = bytes_max
        self._read = read_another
        self._fitted = fitted
        self._seen: set[str] = set()
        self.members: list[Member] = []

    def of(self, candidate: Candidate, trajectory: Trajectory) -> Trajectory:
        """A trajectory with its sub-agents, and theirs; the plan bounds how deep."""
        self._seen.update(self._marks(candidate))
        found = []
        for place, child in self._plan.children(candidate.record_id):
            if child.position.length > self._room or not self._seen.isdisjoint(self._marks(child)):
                continue
            try:
                read = self._read(child)
            except Left:
                continue
            self._room -= child.position.length
            (piece,) = self._fitted(read).pieces
            own = msgspec.structs.replace(piece.trajectory, parent_session=trajectory.session_id)
            self.members.append(Member(child, read, own))
            found.append(Embedded(self.of(child, own), place))
        return msgspec.structs.replace(trajectory, subagents=tuple(found))

    def _marks(self, candidate: Candidate) -> set[str]:
        """By what its copies are told, as far as they are not wanted."""
        told = {"exact": (candidate.sha256,), "near": (candidate.sha256, candidate.cluster), "none": ()}
        return {each for each in told[self._dedup] if each}


def _with_counts_of(entry: Entry, members: Sequence[Member]) -> Entry:
    """What is counted of a session with its sub-agents."""
    if not members:
        return entry
    findings = Counter(entry.findings)
    for each in members:
        findings.update(each.trajectory.scrubbed.by_category)
    steps = [step for each in members for step in each.trajectory.steps]
    return msgspec.structs.replace(
        entry,
        embedded=tuple(
            Within(each.candidate.record_id, each.candidate.session_id, each.candidate.cluster, each.candidate.sha256)
            for each in members
        ),
        steps=entry.steps + len(steps),
        chars=entry.chars + sum(len(step.content or "") for step in steps),
        tokens=None if entry.tokens is None else entry.tokens + sum(each.trajectory.tokens or 0 for each in members),
        findings=dict(findings),
        mended_numbers=entry.mended_numbers + sum(each.read.mended.numbers for each in members),
        mended_surrogates=entry.mended_surrogates + sum(each.read.mended.surrogates for each in members),
    )
