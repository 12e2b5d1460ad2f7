"""The operations journal checked: every line of it whole, in order, and an operation. No database speaks of them."""

from persistence.files.failures import StorageFailure
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalDamage
from persistence.journals.stored import StoredJournal
from persistence.upkeep.findings import Findings


async def check_operations(layout: DataLayout, findings: Findings) -> None:
    """Check the lines, if there are any; those that a server writes meanwhile may be torn yet."""
    journal = StoredJournal.of(layout, JournalName.OPERATIONS)
    for name in journal.foreign_names():
        findings.add(f"operations: {name!r} is none of its files, and is left alone: move it away")
    try:
        async for lines in journal.scan():
            for line in lines:
                try:
                    parse_line(JournalName.OPERATIONS, line.text)
                except LineError as error:
                    findings.add(f"operations: {line.where}: {error}")
    except (JournalDamage, StorageFailure) as damage:
        findings.add(str(damage))
