"""Characters by which a text could steer the terminal or the log that it is written to, made visible.

What a terminal acts on: the controls C0 and C1 (U+0080 to U+009F, of which U+009B begins a sequence as ESC [ does) and
DEL. What makes a text look like another one: overrides, isolates and marks of direction, and what was meant for other
programs than terminals (line and paragraph separators, byte order mark, annotations). Lone surrogates are here because
they cannot be written at all; Python reads the bytes of a name that is no UTF-8 as some of them (PEP 383).
"""

import re

_KEPT_IN_BLOCKS = "\t\n"
_STEERING = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
STEERING = re.compile(f"[{_STEERING}]")
STEERING_IN_BLOCKS = re.compile(f"(?![{_KEPT_IN_BLOCKS}])[{_STEERING}]")
"""The same, for texts of many lines, but without tab and newline."""

_FIRST_OF_BYTES, _LAST_OF_BYTES = 0xDC80, 0xDCFF
"""The surrogates that stand for the bytes 0x80 to 0xFF of a name."""


def escaped(text: str, pattern: re.Pattern[str] = STEERING) -> str:
    """`text` with what steers as `\\x1b` or `\\u202e`; a byte of a name that is no UTF-8 as `\\xff`."""
    return pattern.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if _FIRST_OF_BYTES <= code <= _LAST_OF_BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
