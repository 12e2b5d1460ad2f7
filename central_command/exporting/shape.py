"""How rows are to look: the options that formats heed, each the reading of one command line option."""

from typing import Literal

import msgspec

ReasoningPlace = Literal["field", "inline", "drop", "last-only"]
SystemPlace = Literal["fold", "keep", "drop"]
Subagents = Literal["embed", "separate", "drop"]
Nesting = Literal["json", "struct"]
Documents = Literal["lines", "files"]

Row = dict[str, object]
"""One row as JSON would hold it: texts, numbers, booleans, None, lists and dicts of these, and nothing else."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of every format; one that has no use for a member passes it over."""

    reasoning: ReasoningPlace = "field"
    """`field`: a member of its own. `inline`: `<think>` within the content. `last-only`: a member, of the turns behind
    the last message of the user alone."""
    reasoning_key: str = "reasoning_content"
    """The name of that member: what it is depends on the chat template (gpt-oss reads `thinking`)."""
    split_parallel_calls: bool = False
    """Each of several calls of one turn becomes a turn of its own, with its result behind it."""
    system: SystemPlace = "keep"
    """`fold`: a system message becomes the beginning of the user message behind it."""
    subagents: Subagents = "separate"
    nested: Nesting = "json"
    """How Parquet holds lists of objects: as JSON texts that say so, or as structs."""
    keep_incomplete: bool = False
    """A call at the end without its result stays, and the row says `incomplete`; else the tail behind the last whole
    turn is dropped."""
    documents: Documents = "lines"
    """How ATIF's documents stand: each a line of a common file, or each in a file of its own."""
    judgements: bool = False
    """Whether rows say what the judge said, apart from what was derived."""
