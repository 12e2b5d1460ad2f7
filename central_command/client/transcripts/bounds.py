"""How much of a session file is in memory at once, whatever stands in it.

A JSON text of dense values takes some thirty times its length once it is read: `[{},{},` is three bytes for a table of
64 and its place in a list. So a text has two bounds, one on its bytes (`LINE_BYTES_MAX` in `reader`, `TEXT_BYTES_MAX`)
and one on its values, and what one text takes is some 300 MB at most.
"""

import re
from itertools import islice

TEXT_BYTES_MAX = 32 * 1024 * 1024
"""Largest file that is one JSON text over many lines, in bytes; it is in memory as a whole."""
VALUES_MAX = 500_000
"""Most values of one JSON text that is read; those of a real line are some hundred."""

# One match is everything up to and with the next `,`, `[` or `{` outside of a string, or up to the end; a string that
# does not end goes there, too. Possessive and never without a match, so linear.
_UP_TO_VALUE = re.compile(
    rb'(?:[^",\[{]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+(?:([,\[{])|\Z)',
    re.DOTALL,
)


def has_values_over(text: bytes, values_max: int) -> bool:
    """Whether a JSON text has more than `values_max` values, about: each `,`, `[` and `{` outside of strings is one."""
    # Nearly every line is shorter than that, or has fewer of the three even with those in its strings.
    if len(text) <= values_max or text.count(b",") + text.count(b"[") + text.count(b"{") <= values_max:
        return False
    match = next(islice(_UP_TO_VALUE.finditer(text), values_max, None), None)
    return match is not None and match[1] is not None
