"""`/settings`: the settings that are in force, by section, beside their defaults. For the scope `admin`."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from quart import Blueprint, Response

from central_command.access.tokens import Scope
from central_command.settings.configuration import Settings, is_secret_name
from central_command.settings.explanations import explanations
from central_command.web import figures
from central_command.web.site import Site

HIDDEN: Final = "set, and not shown"

_UNITS: Final = (
    (re.compile(r"(?:\A|_)bytes(?:_|\Z)"), "bytes"),
    (re.compile(r"_mib\Z"), "MiB"),
    (re.compile(r"_ms\Z"), "ms"),
    (re.compile(r"_per_minute\Z"), "a minute"),
    (re.compile(r"_per_(?:hour|h)\Z"), "an hour"),  # before the hours that it ends like
    (re.compile(r"_s(?:_max|_min)?\Z"), "seconds"),
    (re.compile(r"_h(?:_max|_min)?\Z"), "hours"),
    (re.compile(r"_days(?:_|\Z)"), "days"),
    (re.compile(r"_chars(?:_|\Z)"), "characters"),
)
"""What a name ends with, or holds, where it says a unit."""


class ShownSetting(msgspec.Struct, frozen=True):
    """A setting as people read it; `told` is the same in a larger unit, where that says more.

    `about` is what config.toml says of it.
    """

    name: str
    value: str
    told: str
    unit: str
    default: str
    is_set: bool
    about: str


class ShownSection(msgspec.Struct, frozen=True):
    """The settings of a section, and how many of them are not as they are built in."""

    name: str
    about: str
    settings: list[ShownSetting]

    @property
    def set_count(self) -> int:
        """How many differ from their defaults."""
        return sum(each.is_set for each in self.settings)


def settings_pages(site: Site) -> Blueprint:
    """The page; what is set is changed in `config.toml`, not here."""
    routes = Blueprint("pages_settings", __name__)

    @routes.get("/settings")
    async def settings() -> Response:
        await site.admit(Scope.ADMIN)
        return site.page("settings.html", title="Settings", sections=shown_settings(site.sources.settings()))

    return routes


def shown_settings(settings: Settings) -> list[ShownSection]:
    """All settings by section, secrets hidden."""
    built_in = Settings()
    return [
        ShownSection(
            name, _about(getattr(settings, name)), [*_shown(name, getattr(settings, name), getattr(built_in, name))]
        )
        for name in Settings.__struct_fields__
    ]


def _about(section: msgspec.Struct) -> str:
    """What the section is for: the first line of its type's docstring."""
    return (type(section).__doc__ or "").strip().partition("\n")[0]


def _shown(section: str, found: msgspec.Struct, built_in: msgspec.Struct) -> Iterator[ShownSetting]:
    for key in found.__struct_fields__:
        value, default = getattr(found, key), getattr(built_in, key)
        unit = next((unit for pattern, unit in _UNITS if pattern.search(key)), "")
        is_hidden = is_secret_name(key) and value is not None and not isinstance(value, int | float)
        yield ShownSetting(
            f"{section}.{key}",
            HIDDEN if is_hidden else _text(value, key),
            "" if is_hidden else _told(value, unit),
            "" if is_hidden or value is None else unit,
            _text(default, key),
            value != default,
            explanations()[f"{section}.{key}"],
        )


def _text(value: object, key: str = "") -> str:
    match value:
        case None:
            return figures.NONE
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value) if key.endswith("port") else figures.number(value)
        case float():
            return f"{value:,g}" if abs(value) < 1e6 else figures.number(value)
        case tuple() | list() | frozenset():
            return ", ".join(sorted(map(str, value)) if isinstance(value, frozenset) else map(str, value)) or "none"
        case dict():
            return ", ".join(f"{name} = {_text(each)}" for name, each in value.items()) or "none"
        case msgspec.Struct():
            return _text(msgspec.to_builtins(value))
        case _:
            return str(value)


def _told(value: object, unit: str) -> str:
    """The value in a larger unit; nothing where that is the same."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if unit == "bytes" and value >= 1_024:
        return figures.size(value)
    if unit == "seconds" and value >= 60:
        return figures.duration(value)
    return ""
