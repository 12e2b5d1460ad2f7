"""File descriptors: connections must leave enough of them for the files that the server itself has to open.

A process that may open no more files cannot open tomorrow's journal, and then it ends. Whoever only holds connections
open could bring that about, so `connections_max` never reaches what the system allows.
"""

import logging
import resource
from collections.abc import Callable
from typing import Final

from msgspec import structs

from central_command.http.settings import HttpSettings, HttpSettingsError

RESERVED: Final = 128
"""Descriptors kept for journals, databases, listeners, threads' pipes and models: several times what was ever seen."""

log = logging.getLogger("central_command.http")


def raise_descriptor_limit(wanted: int) -> int:
    """Have the system let this process open `wanted` files, or as many as it may (RLIMIT_NOFILE); return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


def fitting(settings: HttpSettings, allow: Callable[[int], int] = raise_descriptor_limit) -> HttpSettings:
    """The settings with no more connections than there are descriptors for; says so when that is fewer than were set.

    Raises HttpSettingsError when there is room for none.
    """
    reserved = RESERVED + (0 if settings.admin_port is None else settings.admin_connections_max)
    allowed = allow(settings.connections_max + reserved)
    possible = allowed - reserved
    if possible < 1:
        raise HttpSettingsError(
            f"This process may open {allowed} files, and {reserved} are needed beside its connections: raise the limit "
            f"(LimitNOFILE, ulimit -n)."
        )
    if possible >= settings.connections_max:
        return settings
    log.warning(
        "http.connections_max is %d, but this process may open only %d files: it takes %d connections",
        settings.connections_max,
        allowed,
        possible,
    )
    return structs.replace(settings, connections_max=possible)
