"""What lines of the operations journal come to: operations, failures to be grouped, and what changed. Pure."""

import logging
from collections.abc import Sequence

import msgspec

from actors.observer.failures import Found, change_of, failure_of
from actors.observer.operation import Operation, OperationRefused, stored
from actors.observer.recommended import advice_of
from persistence.format import times
from persistence.format.records import JournalName, Mark, OperationRecord
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_line
from persistence.journals.reading import StoredLine

log = logging.getLogger("central_command.observer")


class Digest(msgspec.Struct, frozen=True):
    """What the lines of a piece of the journal come to, in their order, and how far they reach."""

    found: list[Found]
    up_to: Mark


def read_line(line: StoredLine) -> tuple[OperationRecord, Operation] | None:
    """The operation of a line; None, which is logged, for one of another version of the program."""
    try:
        record = parse_line(JournalName.OPERATIONS, line.text)
        assert isinstance(record, OperationRecord), "the journal has no others"
        return record, stored(bytes(record.operation))
    except (LineError, OperationRefused) as error:
        log.warning("line %d of the operations journal is passed over: %s", line.position.n, error)
        return None


def digested(lines: Sequence[StoredLine]) -> Digest:
    """What is to be grouped, or remembered as a change, of lines that follow each other."""
    found: list[Found] = []
    for line in lines:
        read = read_line(line)
        if read is not None:
            at = times.to_text(line.position.at)
            said = (change_of(at, read[1]), failure_of(at, read[1]), advice_of(at, read[1]))
            found += [each for each in said if each is not None]
    return Digest(found, lines[-1].position.end)
