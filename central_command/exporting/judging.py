"""Whether a record belongs in an export, and if not, why: the rules in their order, from the cheapest on."""

from central_command.corpus.reading import Read, UnreadableLine
from central_command.corpus.stored import StoredCorpus
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.plan import Candidate, Plan
from central_command.exporting.reasons import LeftOutReason
from central_command.exporting.selection import Selection


class Left(Exception):  # noqa: N818 (no error: the expected end for a record)
    """A record is left out for a reason; `detail` is what there is to say of it beside that."""

    def __init__(self, reason: LeftOutReason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail


class Judge:
    """Judges records one after the other; copies are those of what the plan has kept before."""

    def __init__(self, selection: Selection, stored: StoredCorpus, plan: Plan, benchmarks: Benchmarks) -> None:
        self._selection = selection
        self._stored = stored
        self._plan = plan
        self._benchmarks = benchmarks

    def __repr__(self) -> str:
        return "<Judge>"

    def judged(self, candidate: Candidate) -> Read:
        """The record, read; raises Left for one that does not belong in the export."""
        self._without_reading(candidate)
        read = self.read(candidate)
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

    def read(self, candidate: Candidate) -> Read:
        """Read a record; raises Left for one that is not there any more."""
        try:
            return self._stored.read(candidate.position)
        except UnreadableLine:
            raise Left(LeftOutReason.UNREADABLE) from None

    def _without_reading(self, candidate: Candidate) -> None:
        is_split = len(self._selection.splits) > 1
        owner = self._plan.split_of_cluster(candidate.cluster) if candidate.cluster and is_split else None
        if owner is not None and owner != candidate.split:
            raise Left(LeftOutReason.BETWEEN_SPLITS, candidate.cluster)
        dedup = self._selection.dedup
        if dedup != "none" and candidate.sha256 and self._plan.has_steps(candidate.sha256):
            raise Left(LeftOutReason.EXACT_COPY, candidate.sha256)
        if dedup == "near" and candidate.cluster and self._plan.has_cluster(candidate.cluster):
            raise Left(LeftOutReason.NEAR_COPY, candidate.cluster)
