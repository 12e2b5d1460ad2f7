"""`records`: the intake's training records, with the members of the contract's `export_jsonl`, in its order.

`user_id` is the user's pseudonym. What the corpus holds is scrubbed, and only of users who have agreed.
"""

from typing import Final

from central_command.corpus.trajectory import Record
from central_command.exporting.formats.format import Format, no_rows
from central_command.exporting.shape import Row


def row(record: Record) -> Row:
    """The row of a record."""
    return {
        "record_id": record.record_id,
        "user_id": record.contributor,
        "session_id": record.session_id,
        "timestamp": record.timestamp,
        "domain": record.domain,
        "content_type": record.content_type,
        "content": record.content,
        "metadata": record.metadata,
        "consent_version": record.consent_version,
    }


RECORDS: Final = Format(
    name="records",
    rows=no_rows,
    of_record=row,
    features=(
        ("record_id", "string"),
        ("user_id", "string"),
        ("session_id", "string"),
        ("timestamp", "float64"),
        ("domain", "string"),
        ("content_type", "string"),
        ("content", "string"),
        ("metadata", "json"),
        ("consent_version", "string"),
    ),
)
