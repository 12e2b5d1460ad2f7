"""What `config.toml` says of each setting: the sentences above it, read in the copy that is part of the package.

`config.toml` beside this file is a link to the one at the top of the repository, and in an installed package a copy of
it: there is one file to write, and no second one that could differ.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

SHIPPED: Final = "config.toml"

_SECTION: Final = re.compile(r"\A\[([a-z_]+)\]\Z")
_SETTING: Final = re.compile(r"\A(?:# )?([a-z][a-z0-9_]*+) = ")
"""A setting, or one that is not set unless somebody takes the `#` away."""


@cache
def explanations() -> Mapping[str, str]:
    """Of each setting by its name (`http.port`), its unit, bounds and what it guards, as one paragraph."""
    return MappingProxyType(explained(files("central_command.settings").joinpath(SHIPPED).read_text(encoding="utf-8")))


def explained(text: str) -> dict[str, str]:
    """The same of a file that is written as `config.toml` is: the comment of a setting stands right above it. Pure."""
    found, section, above = dict[str, str](), "", list[str]()
    for line in text.splitlines():
        if begun := _SECTION.match(line):
            section = begun[1]
        if named := _SETTING.match(line):
            found.setdefault(f"{section}.{named[1]}", " ".join(above))
        is_sentence = line.startswith("# ") and named is None
        above = [*above, line.removeprefix("# ")] if is_sentence else []
    return found
