"""What joins a session with its sub-agents tells nobody else anything."""

from central_command.client.contract.placing import Placing
from central_command.client.uploading.authoring import Author
from central_command.client.uploading.history import SourceState
from central_command.client.uploading.lineage import lineage_of

CONTRIBUTOR = "0123456789abcdef" * 2


def test_a_sub_agents_parent_is_the_id_of_its_parent() -> None:
    """Whichever is sent first; by the same contributor and agent alone, and without the agent's own ids."""
    parent = lineage_of(CONTRIBUTOR, "codex", session_key="root", parent_key="")
    child = lineage_of(CONTRIBUTOR, "codex", session_key="root/a", parent_key="root")
    assert list(parent) == ["id"]
    assert child["parent_id"] == parent["id"] != child["id"]
    assert "root" not in str(child)
    for contributor, provider in (("f" * 32, "codex"), (CONTRIBUTOR, "claude-code")):
        assert lineage_of(contributor, provider, session_key="root", parent_key="") != parent
    assert lineage_of(CONTRIBUTOR, "codex", session_key="", parent_key="") == {}


def test_what_was_begun_before_goes_on_as_it_was() -> None:
    """A state of an earlier version has no lineage, and its envelopes say none: nothing is sent anew for it."""
    state = SourceState(path="a", contributor_id=CONTRIBUTOR, metadata={"provider": "codex"})
    assert "lineage" not in Author("sess_1", state, "1.0", is_scrubbed=True)._metadata(Placing())
    lineage = lineage_of(CONTRIBUTOR, "codex", session_key="a", parent_key="b")
    told = SourceState(path="a", contributor_id=CONTRIBUTOR, metadata={}, lineage=lineage)
    assert Author("sess_1", told, "1.0", is_scrubbed=True)._metadata(Placing())["lineage"] == lineage
