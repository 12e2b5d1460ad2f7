"""Lines out of a journal's files, checked and in order, and what a line means that fails its check. Blocking.

Two kinds of callers. Recovery and copying have the files to themselves, take every line with `scan`, and decide what a
bad one means. Readers (`next_lines`) may read what another process is just writing, so a bad line is looked at again
before it counts: a batch begins only after the one before it was synced, so once a good line of a later batch is seen,
the bad one is either whole by now, or damaged.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Final

from persistence.files.file_system import File
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.day_files import DayFiles
from persistence.journals.day_names import name_of
from persistence.journals.framing import Frame, parse_frame
from persistence.journals.reading import BadLine, JournalDamage, Piece, StoredLine

READ_BYTES: Final = 1_048_576
"""What is read at once; a line that is longer takes several reads, and as much memory as it is long."""

KEPT_OPEN_READS: Final = 100
"""Lines that are read by their places before their file is opened anew."""

NOTHING: Final = Piece(())


def scan(files: DayFiles, start: Mark) -> Iterator[StoredLine | BadLine]:
    """Yield a journal's lines from `start` on, in order; a `BadLine`, if there is one, is the last item."""
    for piece in _pieces(files, start):
        yield from piece.lines
        if piece.torn is not None:
            yield piece.torn


def next_lines(name: JournalName, files: DayFiles, start: Mark, end: Mark | None) -> Piece:
    """Return the lines behind `start`, as many as a read completes: none at the end of the journal.

    `end` is how far the journal is known to be whole: nothing behind it is looked at, and nothing before it can be
    torn. Raises JournalDamage where a line is missing or changed.
    """
    try:
        piece = _first_piece(files, start, end)
    except FileNotFoundError:
        piece = _first_piece(files, start, end)  # that day was dropped after its name was read
    if piece.lines:
        return Piece(piece.lines)  # what is bad after them is the next call's
    if end is not None:
        if piece.torn is not None:
            raise damage(name, piece.torn, behind=_good_lines_behind(files, piece.torn, end))
        if start.n < end.n:
            raise JournalDamage(name, f"it ends after line {start.n}, and {end.n} were stored")
        return NOTHING
    if piece.torn is None:
        return NOTHING
    later = good_line_of_a_later_batch(files, piece.torn)
    if later is None:
        return piece
    again = _first_piece(files, start, end)
    if again.lines:
        return Piece(again.lines)
    raise damage(name, piece.torn, later)


def find(files: DayFiles, n: int) -> Mark:
    """Return where to begin so that line `n` comes after a part of one day at most: what its first lines say.

    A day's file without a good first line is passed over, towards the beginning.
    """
    days = files.days()
    low, high, found = 1, len(days) - 1, Mark()
    while low <= high and n > 1:
        middle = (low + high) // 2
        first, known = None, middle
        while known >= low and (first := first_number(files, days[known])) is None:
            known -= 1
        if first is not None and first <= n:
            low, found = middle + 1, Mark(first - 1, days[known], 0)
        else:
            high = known - 1
    return found


def find_near_end(files: DayFiles, n: int) -> Mark:
    """Return where to begin so that line `n` comes soon, where it is among the last of its day: its end is read.

    What stands before is not looked at, so what is wrong there is not seen.
    """
    found, days = find(files, n), files.days()
    day = found.day or min(days, default="")
    for start, frame, _ in _ends(files, day):
        if frame.n <= n:
            return start
    return found


def find_last_commits(files: DayFiles) -> Mark:
    """Return where to begin so that all lines come that a crash can have torn, without all of the newest day.

    A commit begins only after the one before was synced. So where the last line of two is of a later commit than the
    first, nothing is torn before the first.
    """
    present = files.present()
    for day in reversed(present.days):
        number = first_number(files, day)
        if number is None:
            continue
        for start, frame, last in _ends(files, day):
            if frame.batch != last.batch:
                return start
        return Mark(number - 1, day, 0)
    return Mark(present.dropped.n, present.dropped.day, 0)


def _ends(files: DayFiles, day: str) -> Iterator[tuple[Mark, Frame, Frame]]:
    """Yield larger and larger ends of a day's file, but not all of it: where each begins, its first and its last line.

    Lines that fail their check are passed over. Of a cold day nothing is yielded: it is never read from its middle.
    """
    if not day or day in files.present().cold:
        return
    size, end_bytes = files.size_bytes(day), READ_BYTES
    while end_bytes < size:
        good = list(_good_lines(files, day, size - end_bytes))
        if good:
            (first, offset), (last, _) = good[0], good[-1]
            yield Mark(first.n - 1, day, offset), first, last
        end_bytes *= 4


def _good_lines(files: DayFiles, day: str, offset: int) -> Iterator[tuple[Frame, int]]:
    """Yield the frames of the whole lines that begin behind an offset, and where each begins."""
    is_first = True
    for texts, is_whole in _texts(files, day, offset):
        for text in texts:
            frame = parse_frame(text) if is_whole and not is_first else None
            is_first = False
            if frame is not None:
                yield frame, offset
            offset += len(text) + 1


def read_lines(name: JournalName, files: DayFiles, places: Sequence[Position]) -> list[bytes]:
    """Read lines by their places, each without its newline; raises JournalDamage when one is not what it was."""
    lines: list[bytes] = []
    opened: dict[str, File] = {}
    try:
        for place in places:
            if place.day not in opened:
                opened[place.day] = _existing(name, files, place)
            lines.append(_line_at(name, opened[place.day], place))
    finally:
        for file in opened.values():
            file.close()
    return lines


class KeptOpen:
    """Reads lines by their places, one at a time, with the last one's file kept open for up to `KEPT_OPEN_READS` reads.

    So what an erasure has made anew is seen soon, and its old file is not held for long.
    """

    def __init__(self, name: JournalName, files: DayFiles) -> None:
        self._name = name
        self._files = files
        self._file: File | None = None
        self._day = ""
        self._reads_left = 0

    def __repr__(self) -> str:
        return f"<KeptOpen {self._name} {self._day}>"

    def read(self, place: Position) -> bytes:
        """Read a line, without its newline; raises JournalDamage when it is not what it was."""
        if self._file is None or place.day != self._day or not self._reads_left:
            self.close()
            self._file = _existing(self._name, self._files, place)
            self._day, self._reads_left = place.day, KEPT_OPEN_READS
        self._reads_left -= 1
        return _line_at(self._name, self._file, place)

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_part(files: DayFiles, place: Position, start: int, end: int) -> bytes:
    """Return some bytes of a line's text, as they are."""
    with files.reading(place.day) as file:
        return file.read_at(place.offset + start, end - start)


def good_line_of_a_later_batch(files: DayFiles, bad: BadLine) -> Position | None:
    """Return where a good line stands that cannot belong to the commit that the bad line was part of.

    A commit is in one file, so a good line in a later day's belongs to another one, whatever its number.
    """
    for day in files.days():
        if day < bad.day:
            continue
        offset = bad.offset if day == bad.day else 0
        for texts, is_whole in _texts(files, day, offset):
            for text in texts:
                frame = parse_frame(text) if is_whole else None
                if frame is not None and (day > bad.day or frame.batch > bad.expected_n or frame.n < bad.expected_n):
                    return Position(n=frame.n, day=day, offset=offset, length=len(text) + 1, at=frame.at)
                offset += len(text) + 1
    return None


def _good_lines_behind(files: DayFiles, bad: BadLine, end: Mark) -> Mark | None:
    """Return where the lines behind a bad one go on, at `end` at the latest; None where the journal is shorter."""
    reached = 0
    for day in files.days():
        if not bad.day <= day <= end.day:
            continue
        offset = bad.offset if day == bad.day else 0
        for texts, is_whole in _texts(files, day, offset, end.offset if day == end.day else None):
            for text in texts:
                frame = parse_frame(text) if is_whole else None
                if frame is not None and frame.n > bad.expected_n:
                    return Mark(frame.n - 1, day, offset)
                offset += len(text) + is_whole
        reached = offset if day == end.day else 0
    return end if reached == end.offset and end.n >= bad.expected_n else None


def damage(name: JournalName, bad: BadLine, later: Position | None = None, behind: Mark | None = None) -> JournalDamage:
    """Say where a journal is damaged; `later` is the line that shows that it is not torn, `behind` where it goes on."""
    follows = ""
    if later is not None:
        follows = f", and good lines follow (line {later.n} at byte {later.offset} of {name_of(later.day)})"
    return JournalDamage(name, f"{bad.where}{follows}", behind)


def _line_at(name: JournalName, file: File, place: Position) -> bytes:
    text = file.read_at(place.offset, place.length)
    frame = parse_frame(text) if len(text) == place.length and text.endswith(b"\n") else None
    if frame is None or frame.n != place.n:
        raise damage(name, BadLine(place.day, place.offset, place.n, f"no line {place.n} that is whole"))
    return text[:-1]


def _existing(name: JournalName, files: DayFiles, place: Position) -> File:
    try:
        return files.open_read_only(place.day)
    except FileNotFoundError:
        lost = "was dropped" if place.n <= files.dropped().n else "is missing"
        raise JournalDamage(name, f"{name_of(place.day)} {lost}, which holds line {place.n}") from None


def _first_piece(files: DayFiles, start: Mark, end: Mark | None) -> Piece:
    with closing(_pieces(files, start, end)) as pieces:
        return next(pieces, NOTHING)


def first_number(files: DayFiles, day: str) -> int | None:
    """Return the number of a day's first line; None where there is no good one."""
    with closing(_texts(files, day, 0)) as pieces:
        texts, is_whole = next(pieces, ([], False))
    frame = parse_frame(texts[0]) if is_whole else None
    return None if frame is None else frame.n


def _pieces(files: DayFiles, start: Mark, end: Mark | None = None) -> Generator[Piece, None, None]:
    """Yield the lines from `start` on, as many at a time as a read completes, up to `end`, or the first bad one.

    Lines that were dropped are passed over.
    """
    present = files.present()
    if start.n < present.dropped.n:
        start = Mark(present.dropped.n, "", 0)
    n = start.n
    for day in present.days:
        if day < start.day or (end is not None and day > end.day):
            continue
        offset = start.offset if day == start.day else 0
        limit = end.offset if end is not None and day == end.day else None
        for texts, is_whole in _texts(files, day, offset, limit):
            lines: list[StoredLine] = []
            for text in texts:
                frame = parse_frame(text) if is_whole else None
                if frame is None or frame.n != n + 1:
                    yield Piece(lines, BadLine(day, offset, n + 1, _what(frame.n if frame else None, n + 1, is_whole)))
                    return
                n += 1
                length = len(text) + 1
                lines.append(StoredLine(text, Position(n, day, offset, length, frame.at), frame.batch))
                offset += length
            yield Piece(lines)


def _what(found_n: int | None, expected_n: int, is_whole: bool) -> str:  # noqa: FBT001 (positional is clear here)
    if found_n is not None:
        return f"line number {found_n} where {expected_n} belongs"
    return "a line that fails its checksum" if is_whole else "an incomplete line"


def _texts(
    files: DayFiles, day: str, offset: int, end: int | None = None
) -> Generator[tuple[list[bytes], bool], None, None]:
    """Yield a file's lines from `offset` on without their newline, some at a time, and whether the newline was there.

    It was but for the last one, which comes alone. Nothing from byte `end` on is read.
    """
    with files.reading(day) as file:
        while block := file.read_at(offset, _bytes_at_once(offset, end)):
            behind = block.rfind(b"\n") + 1
            if behind:
                yield block[: behind - 1].split(b"\n"), True
                offset += behind
                continue
            # A line longer than a read: its end is looked for first, so that it is in memory once and not twice.
            line_end, is_whole = _line_end(file, offset + len(block), end)
            yield [file.read_at(offset, line_end - offset)], is_whole
            offset = line_end + is_whole


def _line_end(file: File, offset: int, end: int | None) -> tuple[int, bool]:
    """Return where the line that goes on at `offset` ends, and whether there is a newline or the file is at its end."""
    while block := file.read_at(offset, _bytes_at_once(offset, end)):
        found = block.find(b"\n")
        if found >= 0:
            return offset + found, True
        offset += len(block)
    return offset, False


def _bytes_at_once(offset: int, end: int | None) -> int:
    return READ_BYTES if end is None else min(READ_BYTES, end - offset)
