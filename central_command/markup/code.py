"""Source code with its words marked by classes (`h-` and pygments' short names).

Only lexers of a list are used, on texts of a bounded size with lines of a bounded length, and for a bounded time: of
some texts (thousands of empty lines in C) pygments takes time that grows with the square of their length.
"""

import time
from collections.abc import Iterator
from io import StringIO
from pathlib import PurePosixPath
from typing import Final

from markupsafe import Markup
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import _TokenType
from pygments.util import ClassNotFound

from central_command.markup.visible import plain, visible

CODE_CHARS_MAX: Final = 16_384
"""Characters of one piece of code that are coloured; guards time. A longer one is shown plain."""
LINE_CHARS_MAX: Final = 2_000

PIECE_S_MAX: Final = 0.02
CHAR_S_MAX: Final = 0.000_02
"""Seconds of the thread's processor time that one piece of code may take, and more for each of its characters: ten
times what code takes. What takes longer is shown plain."""

PREFIX: Final = "h-"

LEXERS: Final = {
    "bash": ("sh", "shell", "zsh", "console"),
    "c": ("h",),
    "cpp": ("c++", "cc", "cxx", "hpp"),
    "csharp": ("cs", "c#"),
    "css": (),
    "diff": ("patch",),
    "docker": ("dockerfile",),
    "go": ("golang",),
    "html": ("htm",),
    "ini": ("cfg", "conf"),
    "java": (),
    "javascript": ("js", "jsx", "mjs", "cjs"),
    "json": ("jsonl", "json5"),
    "kotlin": ("kt",),
    "make": ("makefile", "mk"),
    "php": (),
    "python": ("py", "python3", "pyi"),
    "ruby": ("rb",),
    "rust": ("rs",),
    "scala": (),
    "sql": (),
    "swift": (),
    "toml": (),
    "typescript": ("ts", "tsx", "mts"),
    "xml": ("svg",),
    "yaml": ("yml",),
}
"""The languages that are coloured, with their other names and the endings of their files."""

_NAMES: Final = {name: lexer for lexer, others in LEXERS.items() for name in (lexer, *others)}
_FORMATTER: Final = HtmlFormatter(nowrap=True, classprefix=PREFIX)


def highlighted(code: str, language: str) -> Markup:
    """The code as HTML, coloured where its language is known and it is not too long."""
    lexer = _lexer(language)
    if lexer is None or len(code) > CODE_CHARS_MAX or any(len(line) > LINE_CHARS_MAX for line in code.split("\n")):
        return plain(code)
    shown = visible(code)
    written = StringIO()
    try:
        _FORMATTER.format(_words(lexer, shown), written)  # which escapes them
    except TimeoutError:
        return plain(code)
    html = written.getvalue()
    return Markup(html if code.endswith("\n") else html.removesuffix("\n"))  # noqa: S704


def _words(lexer: Lexer, code: str) -> Iterator[tuple[_TokenType, str]]:
    """Yield the words of a code with their types; raises TimeoutError where they take too long to be told apart."""
    until_s = time.thread_time() + PIECE_S_MAX + CHAR_S_MAX * len(code)
    for word in lexer.get_tokens(code):
        if time.thread_time() > until_s:
            raise TimeoutError
        yield word


def is_known(language: str) -> bool:
    """Whether a language is coloured."""
    return language.strip().lower() in _NAMES


def language_of(path: str) -> str:
    """The language of a file by its name; empty where that does not tell."""
    name = PurePosixPath(path.replace("\\", "/")).name.lower()
    _, dot, ending = name.rpartition(".")
    return _NAMES.get(ending if dot else name, "")


def _lexer(language: str) -> Lexer | None:
    name = _NAMES.get(language.strip().lower())
    if name is None:
        return None
    try:
        return get_lexer_by_name(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
