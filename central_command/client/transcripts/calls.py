"""Tool calls and their results: each call is one action, each result follows it once, under the same `call_id`."""

from central_command.client.contract.steps import StepList


class Calls:
    """The calls of one session while it is read; what was taken before is passed over."""

    def __init__(self, steps: StepList) -> None:
        self._steps = steps
        self._tools: dict[str, str] = {}
        self._answered: set[str] = set()

    def act(self, at: float, tool: str, arguments: object, call_id: str) -> bool:
        """Add the action of a call and say whether it was new; a call without an id always is."""
        if call_id and call_id in self._tools:
            return False
        named = tool or "unnamed"
        if call_id:
            self._tools[call_id] = named
        self._steps.add_action(at, named, arguments, call_id or None)
        return True

    def know(self, call_id: str, tool: str) -> None:
        """Note a call that is another session's: no action of this one, but its result may be."""
        if call_id:
            self._tools.setdefault(call_id, tool or "unnamed")

    def know_answered(self, call_id: str) -> None:
        """Note a result that is another session's."""
        if call_id:
            self._answered.add(call_id)

    def answer(  # the members of one result
        self, at: float, call_id: str, content: str, *, failed: bool, original_tokens: int | None = None
    ) -> bool:
        """Add the result of a call and say whether it was new; one whose call was never read names no tool."""
        if call_id and call_id in self._answered:
            return False
        self._answered.add(call_id)
        self._steps.add(
            "error" if failed else "observation",
            at,
            content,
            tool=self._tools.get(call_id),
            call_id=call_id or None,
            original_tokens=original_tokens,
        )
        return True

    def knows(self, call_id: str) -> bool:
        """Whether the call has been read."""
        return call_id in self._tools

    def is_answered(self, call_id: str) -> bool:
        """Whether the result of the call has been read."""
        return call_id in self._answered
