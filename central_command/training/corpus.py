"""The records of this machine, as JSON lines in a file a UTC day."""

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from central_command.training.day_files import LOCK_TIMEOUT_S, DayFiles, LockedDayFiles, whole_lines
from central_command.training.local_user import TRAINING_DATA_PATH
from central_command.training.records import RecordFilter, TrainingRecord, log, read_filter, record_line
from persistence.files.file_system import OsFileSystem
from persistence.format.submitted_texts import is_id
from persistence.format.times import day_of

_WRITE_BYTES: Final = 1_048_576


class CorpusWriter:
    """Appends while the corpus is locked for it (`TrainingCorpus.writing`)."""

    def __init__(self, files: LockedDayFiles) -> None:
        self._files = files

    def __repr__(self) -> str:
        return f"<CorpusWriter {self._files!r}>"

    def append(self, records: Sequence[TrainingRecord]) -> None:
        """Append records to the files of their days; on disk when this returns. Raises OSError."""
        lines: dict[str, list[bytes]] = {}
        for record in records:
            lines.setdefault(day_of(record.timestamp), []).append(record_line(record))
        for day, of_day in sorted(lines.items()):
            self._files.append(day, of_day)


class TrainingCorpus:
    """Records in `training_YYYY-MM-DD.jsonl` below `data_dir`; safe from any thread and process.

    What reads takes no lock: it sees each file as it was when it came to it. Raises TrainingDataError when another
    writer holds the lock for more than `lock_timeout_s`, and OSError.
    """

    def __init__(self, data_dir: str | Path = TRAINING_DATA_PATH, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._days = DayFiles(Path(data_dir).expanduser().absolute(), lock_timeout_s=lock_timeout_s)

    def __repr__(self) -> str:
        return f"<TrainingCorpus {self._days.folder}>"

    @contextmanager
    def writing(self) -> Iterator[CorpusWriter]:
        """Lock the corpus, to append to it."""
        with self._days.locked() as files:
            yield CorpusWriter(files)

    def add_record(self, record: TrainingRecord) -> None:
        """Append a record, as it is; on disk when this returns."""
        with self.writing() as writer:
            writer.append([record])

    def export_jsonl(
        self,
        output_path: str | Path,
        domain: str | None = None,
        after: float | None = None,
        user_id: str | None = None,
    ) -> int:
        """Write the records to a file, 0600, as they are stored, oldest first; how many those are.

        Only those of a domain, those later than `after` (seconds since the epoch), those of a user, if these are
        given. A file that is there is replaced, once the new one is whole. Raises OSError.
        """
        path = Path(output_path).expanduser().absolute()
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        files = OsFileSystem()
        try:
            file = files.create(draft)
        except OSError as error:
            error.filename = str(path)
            raise
        count = offset = size = 0
        lines: list[bytes] = []
        try:
            for line, record in self._lines():
                if not _is_chosen(record, domain, after, user_id):
                    continue
                count += 1
                lines.append(line)
                size += len(line)
                if size >= _WRITE_BYTES:
                    file.write_at(lines, offset)
                    offset, size, lines = offset + size, 0, []
            file.write_at(lines, offset)
            file.sync()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            file.close()
        files.sync_directory(path.parent)
        return count

    def delete_user(self, user_id: str) -> int:
        """Delete the records of a user from all files; how many those were. Gone from the disk when this returns.

        A line that is damaged goes with them if it names the user.
        """
        if not is_id(user_id) or not self._days.folder.exists():
            return 0
        named = msgspec.json.encode(user_id)

        def is_theirs(line: bytes) -> bool:
            if named not in line and b"\\" not in line:
                return False  # most lines are of others or hold no escape: told without decoding them
            record = read_filter(line)
            return named in line if record is None else record.user_id == user_id

        with self._days.locked() as files:
            return files.drop(is_theirs)

    def size_bytes(self) -> int:
        """What the files take."""
        return self._days.size_bytes()

    def counts(self) -> Counter[tuple[str, str]]:
        """How many records there are, by day (`2026-04-26`) and domain."""
        return Counter((day_of(record.timestamp), record.domain) for _, record in self._lines())

    def _lines(self) -> Iterator[tuple[bytes, RecordFilter]]:
        for path in self._days.paths():
            damaged = 0
            for line in whole_lines(path):
                record = read_filter(line)
                if record is None:
                    damaged += 1
                else:
                    yield line, record
            if damaged:
                log.warning("%s has %d line(s) that are no records: they are passed over", path, damaged)


def _is_chosen(record: RecordFilter, domain: str | None, after: float | None, user_id: str | None) -> bool:
    return (
        (domain is None or record.domain == domain)
        and (after is None or record.timestamp > after)
        and (user_id is None or record.user_id == user_id)
    )
