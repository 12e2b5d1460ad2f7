"""`/exports`: an export is asked for by a form, watched while it is made, fetched file by file, and removed."""

import re
import shlex
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.util import find_spec
from typing import Any, Final, get_args

import msgspec
from quart import Blueprint, Response, request

from actors.curation.enrichment.verdicts import CognitiveTarget, Tier
from central_command.access.tokens import Scope
from central_command.corpus.trajectory import FeedbackSignal, OutcomeStatus
from central_command.exporting.asked import OF_SELECTION, Asked
from central_command.exporting.formats.table import FORMATS
from central_command.exporting.selection import Dedup
from central_command.exporting.shape import Subagents
from central_command.http.endpoints.exports import (
    EXPORTS_PATH,
    ExportReport,
    Exports,
    ExportState,
    RefusedExport,
    ask_export,
    delete_export,
    found_export,
)
from central_command.web.site import Site, part
from persistence.format import times

PATH: Final = "/exports"
PAGE: Final = 50
FILES_SHOWN: Final = 200

DONE: Final[Mapping[str, str]] = {
    "asked": "The export was asked for; it begins when those before it are done.",
    "removed": "The export and all of its files are removed.",
}

FOR: Final[Mapping[str, str]] = {
    "messages": "chat rows: TRL, Axolotl, chat templates",
    "parquet": "the same rows: datasets, DuckDB, Polars, verl",
    "atif": "ATIF 1.7: harbor, readers of trajectories",
    "sharegpt": "turns that alternate: LLaMA-Factory",
    "openai": "OpenAI's fine-tuning rows",
    "kto": "labels: TRL",
    "dpo": "pairs: TRL",
    "swe-agent": "a .traj for each session",
    "otel": "OTLP JSON: viewers of traces",
    "traces": "Hugging Face's viewer",
    "jsonl": "our own record as it is",
    "records": "texts of the intake, exported alone",
}
"""What formats are for; a format that is not here is shown by its name alone."""

NEEDED: Final[Mapping[str, str]] = {"parquet": "pyarrow"}
"""Formats that another package is needed for, which a server may be without."""

WITHOUT_ROWS: Final[Mapping[str, str]] = {
    "dpo": "No pairs were found for dpo. A pair comes of a correction: what the agent did before its user corrected it "
    "is rejected, what it did then is chosen.",
    "kto": "No labels were found for kto. A label comes of the last feedback (accepted, rejected), else of the outcome "
    "that the client reported (SUCCESS, CRASH).",
}
"""What makes a row of formats that not every session has one for."""

OFFERED: Final[Mapping[str, tuple[str, ...]]] = {
    "tier": get_args(Tier),
    "outcome": get_args(OutcomeStatus),
    "feedback": get_args(FeedbackSignal),
    "cognitive_target": get_args(CognitiveTarget),
    "dedup": get_args(Dedup),
    "subagents": get_args(Subagents),
}
_TYPES: Final = {field.name: field.type for field in msgspec.structs.fields(Asked)}
_NUMBER: Final = re.compile(r"\A-?[0-9]{1,18}\Z")


def export_pages(site: Site) -> Blueprint:
    """The pages; without exports there are none, and the answer is 404."""
    routes = Blueprint("pages_exports", __name__)

    async def admitted() -> tuple[Exports, str]:
        by = await site.admit(Scope.EXPORT)
        return part(site.sources.offered.get("exports"), "This server makes no exports."), by

    @routes.get(PATH)
    async def exports() -> Response:
        known, _ = await admitted()
        return await _list(site, known)

    @routes.post(PATH)
    async def ask() -> Response:
        known, by = await admitted()
        fields = await site.form()
        asked = await _ask(site, known, fields, by)
        if isinstance(asked, RefusedExport):
            return await _list(site, known, fields, asked.sentence)
        return site.sent_to(f"{PATH}/{asked.id}", done="asked")

    @routes.get(f"{PATH}/<export_id>")
    async def export(export_id: str) -> Response:
        known, _ = await admitted()
        values = await _values(known, export_id)
        return site.page("export.html", title=export_id, **values)

    @routes.get(f"{PATH}/<export_id>/state")
    async def state(export_id: str) -> Response:
        known, _ = await admitted()
        if known.desk.report(export_id) is None:  # it was removed: whoever looks at it is to ask no more
            return site.fragment("gone.html", sentence="The export and its files are removed.")
        return site.fragment("export_state.html", **await _values(known, export_id))

    @routes.post(f"{PATH}/<export_id>/remove")
    async def remove(export_id: str) -> Response:
        known, by = await admitted()
        await delete_export(known, export_id, by)
        return site.sent_to(PATH, done="removed")

    return routes


async def _ask(site: Site, known: Exports, fields: Mapping[str, list[str]], by: str) -> ExportReport | RefusedExport:
    if "format" not in fields:
        return RefusedExport("Choose at least one format.")
    return await ask_export(known, members_of(fields), by, site.replies)


def members_of(fields: Mapping[str, list[str]]) -> dict[str, Any]:
    """What a form asks for, in the form that the API has it; several values of one are apart by commas, too."""
    selection, options = dict[str, Any](), dict[str, Any]()
    for name, values in fields.items():
        if name in _TYPES and name != "format":
            (selection if name in OF_SELECTION else options)[name] = _value(name, values)
    return {"formats": fields.get("format", []), "selection": selection, "options": options}


def _value(name: str, values: list[str]) -> object:
    kind = _TYPES[name]
    if kind is bool:
        return True
    if kind == tuple[str, ...]:
        return [part for value in values for each in value.split(",") if (part := each.strip())]
    text = values[-1].strip()
    is_text = kind is str or kind == str | None or name in OFFERED
    return int(text) if not is_text and _NUMBER.match(text) else text


async def _list(
    site: Site, exports: Exports, fields: Mapping[str, list[str]] | None = None, refused: str = ""
) -> Response:
    reports = exports.desk.reports()[::-1]
    cursor = request.args.get("cursor", "")
    begin = next((place for place, each in enumerate(reports, start=1) if each.id == cursor), 0)
    shown = reports[begin : begin + PAGE]
    return site.page(
        "exports.html",
        title="Exports",
        status=HTTPStatus.BAD_REQUEST if refused else HTTPStatus.OK,
        exports=shown,
        total=len(reports),
        cursor=shown[-1].id if len(reports) > begin + PAGE else None,
        is_first=not begin,
        notice=DONE.get(request.args.get("done", "")),
        refused=refused,
        fields=request.args.to_dict(flat=False) if fields is None else fields,
        is_open=fields is not None or "model" in request.args or not reports,
        formats=[(name, FOR.get(name, ""), _lacking(name)) for name in FORMATS],
        offered=OFFERED,
        offered_pairs={name: [(each, each) for each in values] for name, values in OFFERED.items()},
        defaults={"dedup": Asked().dedup, "subagents": Asked().subagents},
        models=[*await site.sources.gateway.models()],
        providers=[*await site.sources.gateway.providers()],
        is_over=_is_over,
    )


async def _values(exports: Exports, export_id: str) -> dict[str, Any]:
    report = found_export(exports.desk.report(export_id))
    files = await exports.desk.files(export_id)
    return {
        "export": report,
        "is_over": _is_over(report),
        "notice": "" if _is_over(report) else DONE.get(request.args.get("done", ""), ""),
        "without_rows": _without_rows(report, (each.name for each in files)),
        "files": files[:FILES_SHOWN],
        "files_count": len(files),
        "files_bytes": sum(each.size_bytes for each in files),
        "files_path": f"{EXPORTS_PATH}/{export_id}/files",
        "asked_at": times.from_text(report.asked_at),
        "command": shlex.join(["central-command", "export", "out", *exports.desk.arguments(export_id)]),
    }


def _lacking(name: str) -> str:
    """The package that a format lacks here; "" where it lacks none."""
    needed = NEEDED.get(name)
    return needed if needed is not None and find_spec(needed) is None else ""


def _without_rows(report: ExportReport, files: Iterable[str]) -> list[str]:
    """What there would have to be in the corpus for the formats that records were kept for and no row was made of."""
    if report.state is not ExportState.DONE or not report.kept:
        return []
    written = {name.partition("/")[0] for name in files}
    return [WITHOUT_ROWS[name] for name in report.formats if name in WITHOUT_ROWS and name not in written]


def _is_over(report: ExportReport) -> bool:
    return report.state in {ExportState.DONE, ExportState.FAILED}
