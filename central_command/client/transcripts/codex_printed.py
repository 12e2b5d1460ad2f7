"""What sessions have in common that `codex exec --json` printed: no times, and nothing that a later line changes."""

from central_command.client.contract.steps import StepList
from central_command.client.transcripts.calls import Calls
from central_command.client.transcripts.codex_usage import CountedUsage
from central_command.client.transcripts.left_out import LeftOut

NO_TIME = 0.0
"""Where all steps of such a session stand."""


class PrintedSession:
    """A session while what was printed of it is read, in order."""

    is_subagent = False
    parent_key = ""

    def __init__(self) -> None:
        self.list = StepList()
        self.session_key = ""
        self.left_out = LeftOut()
        self.calls = Calls(self.list)
        self.counted = CountedUsage(self.list.usage)

    @property
    def settled_steps(self) -> int:
        """All of them."""
        return self.list.count

    def finish(self) -> None:
        """Nothing is left open."""
