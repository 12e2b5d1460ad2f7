"""What is left out is counted by kind, and the kinds have a bound."""

from central_command.client.transcripts.left_out import LeftOut


def test_kinds_are_counted_each_under_its_name() -> None:
    """None of nothing is no kind; what has no name is called so."""
    left_out = LeftOut()
    left_out.count("rewinds")
    left_out.count("rewinds", 2)
    left_out.count("info messages", 0)
    left_out.count("")
    assert left_out.counts() == {"rewinds": 3, "records without a type": 1}


def test_a_file_with_ever_new_kinds_takes_no_more_memory() -> None:
    """Those beyond the bound are counted together, and names are cut."""
    left_out = LeftOut()
    for number in range(1000):
        left_out.count(f"kind {number} " + "x" * 1000)
    counts = left_out.counts()
    assert (len(counts), sum(counts.values())) == (61, 1000)
    assert counts["records of further kinds"] == 940
    assert max(map(len, counts)) == 80
