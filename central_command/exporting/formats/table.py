"""The formats by their names: whatever `--format` takes."""

from typing import Final

import msgspec

from central_command.exporting.columns import FEATURES, JUDGEMENT, PARENT
from central_command.exporting.formats.atif import ATIF
from central_command.exporting.formats.dpo import DPO
from central_command.exporting.formats.format import Format
from central_command.exporting.formats.kto import KTO
from central_command.exporting.formats.messages import MESSAGES
from central_command.exporting.formats.openai import OPENAI
from central_command.exporting.formats.otel import OTEL
from central_command.exporting.formats.parquet import PARQUET
from central_command.exporting.formats.record import JSONL
from central_command.exporting.formats.record import JUDGEMENT as JUDGEMENT_OF_RECORD
from central_command.exporting.formats.records import RECORDS
from central_command.exporting.formats.sharegpt import SHAREGPT
from central_command.exporting.formats.swe_agent import SWE_AGENT
from central_command.exporting.formats.traces import TRACES
from central_command.exporting.selection import Selection

FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (MESSAGES, PARQUET, ATIF, SHAREGPT, OPENAI, KTO, DPO, SWE_AGENT, OTEL, TRACES, JSONL, RECORDS)
}


def formats_of(selection: Selection) -> list[Format]:
    """The formats that are asked for, as they are asked for."""
    return [_as_asked(FORMATS[name], selection) for name in selection.formats]


def _as_asked(known: Format, selection: Selection) -> Format:
    shape = selection.shape
    if known is ATIF and shape.documents == "files":
        return msgspec.structs.replace(known, ending="json", file_each=True)
    features = known.features
    has_columns = features[-len(FEATURES) :] == FEATURES
    if shape.subagents == "embed" and has_columns:
        features += PARENT
    if shape.judgements:
        features += JUDGEMENT_OF_RECORD if known is JSONL else JUDGEMENT if has_columns else ()
    return msgspec.structs.replace(known, features=features)
