"""The environment variables that the program knows, and what is said of one that only looks like them.

A misspelt variable would otherwise be the same as none. What Kubernetes sets for a service named `central-command` has
the same beginning and is passed over.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from central_command.reaching.addresses import URL_VARIABLES

T = TypeVar("T")

ENVIRONMENT_PREFIX = "CENTRAL_COMMAND__"
"""`CENTRAL_COMMAND__HTTP__PORT=9000` sets `http.port`; lists and tables are written as TOML or JSON."""

PORT_VARIABLES = ("CENTRAL_COMMAND_PORT", "GROOVE_CENTRAL_PORT")
"""For `http.port`, also; the later wins: the contract's own name ("Environment Variables"). Empty counts as absent."""

OTHER_VARIABLES = ("CENTRAL_COMMAND_MASTER_KEY", "CENTRAL_COMMAND_JUDGE_KEY", "CENTRAL_COMMAND_TOKEN")

_BEGINNINGS = ("CENTRAL_COMMAND_", "GROOVE_CENTRAL_")
_NEARLY = 0.92
"""How alike a beginning of 15 or 16 letters must be to ours for one letter of them to be wrong, and no more."""
_KUBERNETES = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")


def is_kubernetes_link(name: str, value: str) -> bool:
    """Whether this is what Kubernetes tells every container of a service: `CENTRAL_COMMAND_PORT=tcp://10.0.0.1:80`."""
    return bool(_KUBERNETES.search(name)) or (name.endswith("_PORT") and "://" in value)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """The names that begin (nearly) as ours do and are none; those of settings are checked where they are read."""
    known = {*URL_VARIABLES, *PORT_VARIABLES, *OTHER_VARIABLES}
    return sorted(
        name
        for name, value in environ.items()
        if _behind_beginning(name) is not None
        and not name.startswith(ENVIRONMENT_PREFIX)
        and name not in known
        and not is_kubernetes_link(name, value)
    )


def _behind_beginning(name: str) -> str | None:
    """What stands behind our beginning in a name, or behind one that is nearly ours, in whatever letters; else None."""
    for beginning in _BEGINNINGS:
        if name.startswith(beginning):
            return name.removeprefix(beginning)
    upper = name.upper()
    for beginning in _BEGINNINGS:
        # Of a misspelt one a letter or an underscore is missing, doubled, or another one.
        for length in range(len(beginning) - 1, len(beginning) + 2):
            said = upper[:length]
            if said.endswith("_") and difflib.SequenceMatcher(None, said, beginning).ratio() > _NEARLY:
                return upper[length:]
    return None


def say_unknown(name: str, settings: Iterable[tuple[str, str]]) -> str:
    """A sentence on an unknown name, with the right one where it can be guessed; `settings` are sections and keys."""
    rights = {f"{section}_{key}".upper(): (section, key) for section, key in settings}
    keys = {key.upper(): (section, key) for section, key in rights.values()}
    others = {each.removeprefix(beginning): each for beginning in reversed(_BEGINNINGS) for each in _others(beginning)}
    said = re.sub("_+", "_", _behind_beginning(name) or "").strip("_").upper()
    meant = _nearest(said, others)
    if meant is None and (setting := _nearest(said, rights) or _nearest(said, keys)):
        meant = ENVIRONMENT_PREFIX + "__".join(setting).upper()
    meant = meant or _nearest(said, others, likeness_min=0.65)
    all_others = ", ".join(sorted(others.values()))
    hint = f"did you mean {meant}?" if meant else f"there are {all_others}, and {ENVIRONMENT_PREFIX}SECTION__KEY."
    return f"environment variable {name}: there is no such variable; {hint}"


def _others(beginning: str) -> list[str]:
    return [each for each in (*URL_VARIABLES, *PORT_VARIABLES, *OTHER_VARIABLES) if each.startswith(beginning)]


def _nearest(said: str, known: Mapping[str, T], *, likeness_min: float = 0.85) -> T | None:
    near = difflib.get_close_matches(said, known, 1, likeness_min)
    return known[near[0]] if near else None
