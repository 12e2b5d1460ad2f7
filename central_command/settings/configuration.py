"""The settings: built-in defaults, then `config.toml`, then the environment, then options of the command line.

Each section is a type of the layer that it configures; the bounds stand in those types (`msgspec.Meta`), and what is
said about a wrong value is taken from there, so that the two cannot differ. `config.toml` explains every setting.
"""

import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from actors.consent.settings import ConsentSettings
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.settings import CurationSettings
from actors.embedding.settings import EmbeddingSettings
from actors.envelopes.settings import SchemaSettings
from actors.intake.settings import IntakeSettings
from actors.jobs.schedule import wrong_cron
from actors.jobs.settings import JobsSettings
from actors.observer.settings import ObserverSettings
from actors.sessions.settings import SessionSettings
from actors.trajectories.settings import ScoringSettings
from central_command.access.settings import AccessSettings
from central_command.exporting.settings import ExportSettings
from central_command.http.settings import HttpSettings, MetricsSettings
from central_command.live_sessions.settings import LiveSettings
from central_command.process.collector import CollectorSettings
from central_command.process.logs import LogSettings
from central_command.settings.variables import (
    ENVIRONMENT_PREFIX,
    PORT_VARIABLES,
    is_kubernetes_link,
    say_unknown,
    unknown_variables,
)
from central_command.viewing.settings import ViewerSettings
from persistence.files.regular import open_file
from persistence.settings.retention import RetentionSettings
from persistence.settings.search import SearchSettings
from persistence.settings.storage import StorageSettings
from persistence.settings.tiers import TierSettings

BUILT_IN = "built-in defaults"
"""The source of a setting that nobody gave."""

FILE_BYTES_MAX = 1_048_576
"""Largest file of settings that is read; config.toml, which explains every one of them, has 14,000 bytes."""

_SHOWN_CHARS_MAX = 80
_SECRET_NAME = re.compile(r"(^|_)(key|secret|password|passphrase|token)(_path|_file)?$")


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process as a whole: how long it may take to stop."""

    shutdown_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 5.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, by section."""

    service: ServiceSettings = msgspec.field(default_factory=ServiceSettings)
    http: HttpSettings = msgspec.field(default_factory=HttpSettings)
    sessions: SessionSettings = msgspec.field(default_factory=SessionSettings)
    schema: SchemaSettings = msgspec.field(default_factory=SchemaSettings)
    scoring: ScoringSettings = msgspec.field(default_factory=ScoringSettings)
    enrichment: EnrichmentSettings = msgspec.field(default_factory=EnrichmentSettings)
    embedding: EmbeddingSettings = msgspec.field(default_factory=EmbeddingSettings)
    consent: ConsentSettings = msgspec.field(default_factory=ConsentSettings)
    access: AccessSettings = msgspec.field(default_factory=AccessSettings)
    metrics: MetricsSettings = msgspec.field(default_factory=MetricsSettings)
    intake: IntakeSettings = msgspec.field(default_factory=IntakeSettings)
    storage: StorageSettings = msgspec.field(default_factory=StorageSettings)
    retention: RetentionSettings = msgspec.field(default_factory=RetentionSettings)
    tiers: TierSettings = msgspec.field(default_factory=TierSettings)
    curation: CurationSettings = msgspec.field(default_factory=CurationSettings)
    export: ExportSettings = msgspec.field(default_factory=ExportSettings)
    search: SearchSettings = msgspec.field(default_factory=SearchSettings)
    viewer: ViewerSettings = msgspec.field(default_factory=ViewerSettings)
    live: LiveSettings = msgspec.field(default_factory=LiveSettings)
    jobs: JobsSettings = msgspec.field(default_factory=JobsSettings)
    observer: ObserverSettings = msgspec.field(default_factory=ObserverSettings)
    collector: CollectorSettings = msgspec.field(default_factory=CollectorSettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)


class SettingsError(Exception):
    """A setting is wrong; the text is one sentence with its place, its name, what was found and what is allowed."""


class Entry(msgspec.Struct, frozen=True):
    """One value as it was given: where, for which setting, and whether it is text still to be read as that type."""

    source: str
    section: str
    key: str
    value: object
    is_text: bool = False

    @property
    def name(self) -> str:
        """The setting's name, as `http.port`."""
        return f"{self.section}.{self.key}"


def load_settings(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Read the settings; `overrides` maps names (`http.port`) to values of the command line, None where not given.

    Every value is checked, also one that a later source replaces. A table (`scoring.model_tiers`) or list replaces its
    default as a whole. Raises SettingsError for the first thing that is wrong.
    """
    for found in _read(path, environ, overrides):
        if isinstance(found, SettingsError):
            raise found
        return found
    raise AssertionError("either something is wrong, or there are settings")


def check_settings(path: Path, environ: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """Read a file of settings as `load_settings` does; return everything that is wrong, a sentence each.

    The settings are None where anything is wrong with one of them by itself.
    """
    settings, wrong = None, []
    for found in _read(path, environ, {}):
        if isinstance(found, Settings):
            settings = found
        else:
            wrong.append(str(found))
    return settings, wrong


def _read(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Iterator[SettingsError | Settings]:
    """Yield what is wrong, and the settings last, unless one of them is wrong by itself."""
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    sources: dict[str, str] = {}
    is_right = True
    for entry in _entries(path, environ, overrides):
        try:
            if isinstance(entry, SettingsError):
                raise entry
            values[entry.section][entry.key] = _checked(entry)
            sources[entry.name] = entry.source
        except SettingsError as error:
            is_right = False
            yield error
    if is_right:
        sections: dict[str, Any] = {name: kind(**values[name]) for name, kind in SECTIONS.items()}
        settings = Settings(**sections)
        yield from _wrong_together(settings, sources)
        yield settings


def _entries(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Iterator[Entry | SettingsError]:
    try:
        yield from _file_entries(path) if path is not None else ()
    except SettingsError as error:
        yield error
    yield from _environment_entries(environ)
    yield from _option_entries(overrides)


def setting_types(section: type[msgspec.Struct]) -> dict[str, Any]:
    """The settings of a section with their annotated types, in the order of their definition."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(section)}


SECTIONS: dict[str, type[msgspec.Struct]] = setting_types(Settings)
"""The sections by name, in the order of `Settings`."""


def check_names(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for the first environment variable that looks like the program's own and is none."""
    if unknown := unknown_variables(environ):
        raise SettingsError(_say_unknown(unknown[0]))


def _say_unknown(variable: str) -> str:
    names = ((section, key) for section, kind in SECTIONS.items() for key in setting_types(kind))
    return say_unknown(variable, names)


def _file_entries(path: Path) -> Iterator[Entry | SettingsError]:
    """The entries of a TOML file; what is wrong with the file itself is raised, and said with its line."""
    try:
        with os.fdopen(open_file(path, follows_links=True), "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{path}: the settings cannot be read: {error.strerror or error}.") from error
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError(f"{path}: this is larger than {FILE_BYTES_MAX:,} bytes, which no settings are.")
    try:
        tables = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: line {line} is not UTF-8 text, which TOML must be.") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        lines = content.count(b"\n") + 1
        end = f"at line {lines}, the end of the file"
        raise SettingsError(f"{path}: this is not valid TOML: {reason.replace('at end of document', end)}.") from error
    for section, members in tables.items():
        if section not in SECTIONS:
            yield SettingsError(f"{path}: {_unknown_section(section, is_table=isinstance(members, dict))}")
            continue
        if not isinstance(members, dict):
            yield SettingsError(f"{path}: {section} is {_shown(members)}, but must be a section, written [{section}].")
            continue
        for key, value in members.items():
            yield Entry(str(path), section, key, value)


def _environment_entries(environ: Mapping[str, str]) -> Iterator[Entry | SettingsError]:
    """The entries of the environment, in the order of their names; the port's own variables come last."""
    try:
        check_names(environ)
    except SettingsError as error:
        yield error
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        source = f"environment variable {variable}"
        section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if section not in SECTIONS and not key:
            yield SettingsError(_say_unknown(variable))
            continue
        if section not in SECTIONS:
            yield SettingsError(f"{source}: {_unknown_section(section, is_table=True)}")
            continue
        if not key:
            yield SettingsError(
                f"{source}: this names a section, but no setting; write {ENVIRONMENT_PREFIX}{section.upper()}__KEY."
            )
            continue
        yield Entry(source, section, key, environ[variable], is_text=True)
    for variable in PORT_VARIABLES:
        if (port := environ.get(variable)) and not is_kubernetes_link(variable, port):
            yield Entry(f"environment variable {variable}", "http", "port", port, is_text=True)


def _option_entries(overrides: Mapping[str, object]) -> Iterator[Entry]:
    """The entries of the command line, without those that were not given."""
    for name, value in overrides.items():
        section, _, key = name.partition(".")
        if value is not None:
            yield Entry(f"option --{key.replace('_', '-')}", section, key, value)


def _checked(entry: Entry) -> object:
    """The entry's value as its setting's type, or SettingsError."""
    types = setting_types(SECTIONS[entry.section])
    if entry.key not in types:
        raise SettingsError(f"{entry.source}: {_unknown_key(entry.section, entry.key)}")
    annotation = types[entry.key]
    kind = inspect.type_info(annotation)
    try:
        value = _read_text(str(entry.value), kind) if entry.is_text else entry.value
        converted = msgspec.convert(value, annotation, strict=not entry.is_text)
        if _is_finite(converted):
            return converted
        also = ", and finite"
    except (ValueError, RecursionError):
        also = ""  # no cause is chained: it would hold the value, and some values are secrets
    found = _shown(entry.value, entry.key)
    raise SettingsError(f"{entry.source}: {entry.name} is {found}, but must be {_allowed(kind)}{also}.")


def _read_text(text: str, kind: inspect.Type) -> object:
    """Text of the environment as a value that msgspec can convert: lists and tables are parsed, the rest is kept."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if text == "" and any(isinstance(each, inspect.NoneType) for each in kinds):
        return None
    if not any(isinstance(each, inspect.CollectionType | inspect.VarTupleType | inspect.DictType) for each in kinds):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        parsed = tomllib.loads(f"value = {text}")
        if len(parsed) != 1:
            raise ValueError("more than one value") from None
        return parsed["value"]


def _is_finite(value: object) -> bool:
    """Whether no number in `value` is infinite or NaN, which pass msgspec's bounds."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(_is_finite(each) for each in value.values())
        case tuple() | list():
            return all(_is_finite(each) for each in value)
        case _:
            return True


def is_secret_name(key: str) -> bool:
    """Whether what a key stands for might be a secret, or lead to one, and is shown to nobody."""
    return _SECRET_NAME.search(key) is not None


def _shown(value: object, key: str = "") -> str:
    """What was found, on one line and not too long; never what might be a secret."""
    if is_secret_name(key):
        return "something else (not shown here)"
    try:
        text = str(value) if isinstance(value, float) else json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return "too large to show"
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}… ({len(text)} characters)"


def _allowed(kind: inspect.Type) -> str:
    """What a type allows, in words: `a whole number from 1 to 65535`."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            words = noun + _range(kind.ge, kind.gt, kind.le, kind.lt)
        case inspect.EnumType() | inspect.LiteralType():
            choices = list(kind.cls) if isinstance(kind, inspect.EnumType) else kind.values
            words = "one of " + ", ".join(json.dumps(choice) for choice in choices)
        case inspect.StrType():
            form = f" of the form {kind.pattern}" if kind.pattern else ""
            words = f"text{_length(kind.min_length, kind.max_length, 'character')}{form}"
        case inspect.CollectionType() | inspect.VarTupleType():
            of = _allowed(kind.item_type)
            words = f"a list{_length(kind.min_length, kind.max_length, 'value')} in which each is {of}"
        case inspect.DictType():
            words = f"a table in which each value is {_allowed(kind.value_type)}"
        case inspect.UnionType():
            words = " or ".join(_allowed(each) for each in kind.types if not isinstance(each, inspect.NoneType))
        case inspect.Metadata():
            words = _allowed(kind.type)
        case _:
            words = "true or false" if isinstance(kind, inspect.BoolType) else type(kind).__name__
    return words


def _range(ge: float | None, gt: float | None, le: float | None, lt: float | None) -> str:
    if ge is not None and le is not None:
        return f" from {ge} to {le}"
    bounds = ((ge, "of at least"), (gt, "above"), (le, "of at most"), (lt, "below"))
    parts = [f"{words} {bound}" for bound, words in bounds if bound is not None]
    return f" {' and '.join(parts)}" if parts else ""


def _length(minimum: int | None, maximum: int | None, unit: str) -> str:
    bounds = ((minimum, "at least"), (maximum, "at most"))
    parts = [f"{words} {bound} {unit}{'' if bound == 1 else 's'}" for bound, words in bounds if bound is not None]
    return f" of {' and '.join(parts)}" if parts else ""


def _unknown_section(section: str, *, is_table: bool) -> str:
    shown = _shown(section)[1:-1]
    if not is_table and (homes := [name for name, kind in SECTIONS.items() if section in setting_types(kind)]):
        return f"{shown} stands outside of any section, but belongs below [{homes[0]}]."
    near = difflib.get_close_matches(section, SECTIONS, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SECTIONS)}."
    return f"there is no section {shown}; {hint}"


def _unknown_key(section: str, key: str) -> str:
    names = [f"{each}.{name}" for each, kind in SECTIONS.items() for name in setting_types(kind)]
    own = list(setting_types(SECTIONS[section]))
    if elsewhere := [name for name in names if name.endswith(f".{key}")]:
        hint = f"did you mean {elsewhere[0]}?"
    elif near := difflib.get_close_matches(key, own, 1):
        hint = f"did you mean {section}.{near[0]}?"
    else:
        hint = f"the settings of {section} are {', '.join(own)}."
    return f"there is no setting {section}.{_shown(key)[1:-1]}; {hint}"


def _wrong_together(settings: Settings, sources: Mapping[str, str]) -> Iterator[SettingsError]:
    """Find values that are right each for itself, but not together."""
    http = settings.http
    if (http.tls_certificate is None) != (http.tls_key is None):
        given, missing = (
            ("tls_key", "tls_certificate") if http.tls_certificate is None else ("tls_certificate", "tls_key")
        )
        place = sources.get(f"http.{given}", BUILT_IN)
        yield SettingsError(f"{place}: http.{given} is set, but http.{missing} is not: TLS needs both, or neither.")
    ordered = (
        ("http.body_bytes_max", "http.bodies_bytes_max"),
        ("http.body_bytes_max", "storage.journal_queue_bytes_max"),
        ("http.body_bytes_max", "http.body_bytes_hard_max"),
        ("http.body_bytes_hard_max", "storage.journal_queue_bytes_max"),
        ("intake.record_bytes_max", "http.body_bytes_max"),
        ("observer.body_bytes_max", "http.body_bytes_max"),
        ("schema.nesting_max", "schema.nesting_hard_max"),
        ("http.daily_days_default", "http.daily_days_max"),
        ("http.leaderboard_limit_default", "http.leaderboard_limit_max"),
        ("storage.quota_warning_bytes", "storage.quota_bytes"),
        ("storage.journal_batch_bytes_max", "storage.journal_queue_bytes_max"),
        ("storage.projection_batch_lines_max", "storage.projection_lag_lines_max"),
        ("sessions.chunk_buffer_bytes_max", "sessions.chunk_buffers_total_bytes_max"),
        ("scoring.quality_steps_min", "scoring.steps_max"),
        ("enrichment.tier_b_points_min", "enrichment.tier_a_points_min"),
    )
    for low, high in ordered:
        small, large = _value(settings, low), _value(settings, high)
        if small > large:
            place = sources.get(low) or sources.get(high) or BUILT_IN
            yield SettingsError(f"{place}: {low} is {small}, but must be at most {high}, which is {large}.")
    yield from _wrong_schedules(settings, sources)


def _wrong_schedules(settings: Settings, sources: Mapping[str, str]) -> Iterator[SettingsError]:
    for name in (each for each in setting_types(SECTIONS["jobs"]) if each.endswith("_cron")):
        cron = getattr(settings.jobs, name)
        try:
            wrong = wrong_cron(cron) if cron else None
        except ModuleNotFoundError:
            return  # what comes with the server: nothing is scheduled by who reads settings without it
        if wrong:
            place = sources.get(f"jobs.{name}", BUILT_IN)
            yield SettingsError(f"{place}: jobs.{name} is {_shown(cron)}, which is no schedule: {wrong}.")


def _value(settings: Settings, name: str) -> Any:  # noqa: ANN401 settings are of many types
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)
