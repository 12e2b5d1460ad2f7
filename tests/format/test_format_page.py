"""docs/format.md is true: tables are those of the databases, the tree is that of the files, examples are good."""

import base64
import hashlib
import json
import re
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
import trio

from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, JudgementRecord
from persistence.journals.erasing import expiring
from persistence.journals.framing import parse_frame
from persistence.journals.lines import parse_line
from persistence.journals.stored import StoredJournal
from tests.format.page_reader import (
    JOURNALS,
    Damage,
    check_backup,
    check_events,
    envelope_is_signed,
    event_of,
    key_id,
    kind_of,
    kind_of_record,
    read_journal,
    read_line,
    read_master_key,
    refused_is_signed,
    unsealed,
)
from tests.format.page_tables import SessionsDatabase, corpus_tables, ledger_tables
from tests.format.written_data import ALL_DATABASES, Written, framed, journals_of, newest, rows_of, sessions_of
from tests.server_process import REPOSITORY

PAGE = (REPOSITORY / "docs" / "format.md").read_text()

# Backups and files


def test_a_backup_is_as_its_manifest_says(written: Written) -> None:
    """Every file but the manifest is in it, and the reader reads the copies."""
    manifest = check_backup(written.backup)
    files = {str(path.relative_to(written.backup)) for path in written.backup.rglob("*") if path.is_file()}
    assert {file["path"] for file in manifest["files"]} == files - {"manifest.json"}
    assert manifest["key_id"] == key_id(written.master_key)
    assert journals_of(written.backup) == journals_of(written.data)


def test_a_backup_of_which_a_byte_was_changed_is_damaged(written: Written, tmp_path: Path) -> None:
    """Whatever still looks right."""
    backup = Path(shutil.copytree(written.backup, tmp_path / "backup"))
    path = newest(backup / "refused")
    path.write_bytes(path.read_bytes().replace(b"nobody", b"nob0dy", 1))
    with pytest.raises(Damage, match="refused"):
        check_backup(backup)


def test_every_file_and_mode_stands_in_the_pages_tree(written: Written) -> None:
    """What the server, the upload and the backup have made has the names and the modes that the page gives."""
    modes = tree_of_the_page("data/")
    for path in (written.data, *written.data.rglob("*")):
        name = re.sub(r"\d{4}-\d\d-\d\d", "2026-11-20", path.relative_to(written.data.parent).as_posix())
        name = re.sub(r"\w+\.db-(wal|shm)", "*.db-wal", name) + "/" * path.is_dir()
        assert f"{stat.S_IMODE(path.stat().st_mode):04o}" == modes[name], name
    for folder in (written.spool.parent, written.config):
        for path in folder.iterdir():
            assert re.sub(r"_[0-9a-f]{32}\.pem", "_0123….pem", path.name) in PAGE
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.backup.rglob("*")} == {0o600, 0o700}


def tree_of_the_page(root: str) -> dict[str, str]:
    """The mode of each path in the tree that begins with `root`; folders end in `/`."""
    (block,) = [block for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if block.startswith(root)]
    modes, folders = {}, [""]
    for line in block.splitlines():
        found = re.fullmatch(r"([│├└─ ]*)(\S+)(?:, \S+)? +(0[67]00).*", line)
        assert found is not None, line
        depth = len(found[1]) // 4
        folders[depth + 1 :] = [found[2]]
        modes["".join([*folders[1 : depth + 1], found[2]])] = found[3]
    return modes


def test_what_stands_on_the_contributors_machine_is_as_the_page_says(written: Written) -> None:
    """The ids are 32 digits; the spool says its version, and knows the session that it has delivered."""
    for name in ("contributor_id", "machine_id"):
        assert re.fullmatch(r"[0-9a-f]{32}\n", (written.config / name).read_text())
    with closing(sqlite3.connect(f"file:{written.spool}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (1,)
    (session,) = rows_of(written.spool)["sessions"]
    (stored,) = [
        row
        for row in rows_of(written.data / "sessions.db")["sessions"]
        if row["session_id"].startswith("sess_") and row["provider"] == "claude-code"
    ]
    assert session["session_id"] == stored["session_id"]
    assert session["shared_secret"] == written.secret(session["session_id"])
    assert (session["state"], session["private_key"]) == ("closed", None)
    (credit,) = [
        row for row in rows_of(written.data / "ledger.db")["credits"] if row["session_id"] == session["session_id"]
    ]
    assert (session["points"], session["steps"]) == (credit["points"], stored["step_count"])
    assert credit["contributor_id"] == (written.config / "contributor_id").read_text().strip()


# The page itself


def section_of(database: str) -> str:
    """The page's section about a database."""
    return PAGE.split(f"\n## {database}\n", 1)[1].split("\n## ", 1)[0]


def page_tables_of(database: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Type and meaning of each column of each table (and view) that the page lists for a database, in its order."""
    tables = {}
    for part in section_of(database).split("\n#### ")[1:]:
        name = re.match(r"`(\w+)`", part)
        assert name is not None, part
        columns = re.findall(r"^\| `(\w+)` \| (\w*) ?\| ?(.*) ?\|$", part.split("\n### ")[0], re.MULTILINE)
        tables[name[1]] = {column: (kind, meaning) for column, kind, meaning in columns}
    return tables


def database_of(written: Written, name: str) -> Path:
    """Where a database lies."""
    return written.spool if name == "spool.db" else written.data / name


@pytest.mark.parametrize("database", [*ALL_DATABASES, "spool.db"])
def test_every_table_and_column_of_a_database_stands_on_the_page_and_no_other(written: Written, database: str) -> None:
    """In the same order, with the same type."""
    with closing(sqlite3.connect(database_of(written, database))) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        real = {
            name: [(column[1], column[2]) for column in connection.execute(f"PRAGMA table_info({name})")]
            for (name,) in names
        }
    page = page_tables_of(database)
    assert {name: [(column, kind) for column, (kind, _) in columns.items()] for name, columns in page.items()} == real


@pytest.mark.parametrize("database", [*ALL_DATABASES, "spool.db"])
def test_every_index_and_trigger_of_a_database_stands_on_the_page_and_no_other(written: Written, database: str) -> None:
    """Those that SQLite makes by itself are not listed."""
    with closing(sqlite3.connect(database_of(written, database))) as connection:
        real = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('index', 'trigger') AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    listed = re.findall(
        r"^\| `(\w+)` \|", section_of(database).split("\n### Indexes", 1)[1].split("\n### `")[0], re.MULTILINE
    )
    assert sorted(listed) == sorted(name for (name,) in real)


def test_the_columns_that_no_line_gives_are_those_that_the_page_calls_facts_of_their_own(written: Written) -> None:
    """What the journals do not give is what the page says is lost with a database."""
    journals = journals_of(written.data)
    for database, tables in (
        ("sessions.db", SessionsDatabase(journals, dict.fromkeys(sessions_of(journals), "")).tables()),
        ("ledger.db", ledger_tables(journals["trajectories"])),
        ("corpus.db", corpus_tables(journals)),
    ):
        own = {
            (table, column)
            for table, columns in page_tables_of(database).items()
            for column, (_, meaning) in columns.items()
            if table in tables
            and (meaning.startswith("opening:") or "a fact of its own" in meaning)
            and column != "session_id"
        }
        missing = {
            (table, column)
            for table, rows in tables.items()
            for column in page_tables_of(database)[table]
            if rows and column not in rows[0]
        }
        assert missing == own, database


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """The data directory that the page's examples are."""
    blocks = re.findall(r"^```\w+ (\S+/\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name, content in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with (tmp_path / name).open("a") as file:
            file.write(content)
    assert {name.split("/")[0] for name, _ in blocks} == {*JOURNALS, "keys"}
    return tmp_path


def test_every_example_line_on_the_page_passes_the_reader(examples: Path) -> None:
    """They are whole journals, with every kind of line; no line that looks like one stands elsewhere."""
    journals = journals_of(examples)
    kinds = {kind_of(line.members) for line in journals["envelopes"]}
    assert kinds == {"CHUNK", "SESSION_CLOSE", "USER_FEEDBACK", "SERVER_CLOSE"}
    assert len(re.findall(r"^\{.*\}$", PAGE, re.MULTILINE)) == sum(map(len, journals.values()))


def test_a_judges_line_is_a_row_of_its_own(examples: Path) -> None:
    """It is about the record whose steps it names, and has the members that the page lists."""
    journals = journals_of(examples)
    record, judged, _ = (line.members for line in journals["corpus"])
    listed = re.findall(r"`judgement\.(\w+)`", PAGE.split("### Judgements of records")[1].split("\n## ", 1)[0])
    assert [*judged["judgement"]] == listed
    (row,) = corpus_tables(journals)["judgements"]
    assert [*row] == [*page_tables_of("corpus.db")["judgements"]]
    assert (row["trajectory_id"], row["sha256"]) == (record["trajectory_id"], record["duplicates"]["sha256"])
    assert parse_line(JournalName.CORPUS, judged_text(examples)) == JudgementRecord(
        **{name: judged[name] for name in ("record_id", "trajectory_id", "session_id", "contributor_id", "rules")},
        **judged["judgement"],
    )


def judged_text(examples: Path) -> bytes:
    """The example's second line."""
    return (examples / "corpus" / "2026-11-20.jsonl").read_bytes().splitlines()[1]


def test_the_pages_keys_open_its_secrets_and_these_verify_its_lines(examples: Path) -> None:
    """The example key, its id, the check of it, and the signature of each example envelope."""
    key = read_master_key((examples / "keys" / "master.key").read_text())
    assert f"whose id is `{key_id(key)}`" in PAGE
    check = re.search(r"the `key_check` is `(v1\S+)`", PAGE)
    assert check is not None
    assert unsealed(check[1], key, "key_check") == "central-command"
    sealed = dict(re.findall(r"^\| `(sess_\w)` \| `(v1\S+)` \|$", PAGE, re.MULTILINE))
    secrets = {
        session: base64.b64decode(unsealed(text, key, "shared_secret", session)) for session, text in sealed.items()
    }
    journals = journals_of(examples)
    for line in journals["envelopes"]:
        members = line.members
        if kind_of(members) != "SERVER_CLOSE":
            assert envelope_is_signed(line, secrets[members["session_id"]])
    for line in journals["refused"]:
        assert refused_is_signed(line, secrets[line.members["session_id"]])


def test_events_of_consent_follow_each_other_as_the_page_says(examples: Path, written: Written) -> None:
    """In the examples and in what a server wrote; one that was changed is found."""
    for root in (examples, written.data):
        lines, torn = read_journal(root / "consent")
        assert torn is None
        check_events(lines)
        events = [event for line in lines if (event := event_of(line.members)) is not None]
        assert {event["state"] for event in events} == {"given", "withdrawn"}
        assert len(events) < len(lines), "there is a key, too"
        for event in events[:-1]:
            rest = [line for line in lines if line.members.get("id") != event["id"]]
            with pytest.raises(Damage, match="does not follow"):
                check_events(rest)


def test_the_members_of_an_event_are_listed_in_their_order(written: Written) -> None:
    """And those of a key."""
    section = PAGE.split("\n## consent/\n", 1)[1].split("\n## ", 1)[0]
    listed = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`\w.*?) \|", section.split("*hash*")[0], re.MULTILINE)))
    of_key = re.findall(r"`contributor_key\.(\w+)`", section)
    lines = journals_of(written.data)["consent"]
    events = [event for line in lines if (event := event_of(line.members)) is not None]
    keys = [line.members["contributor_key"] for line in lines if event_of(line.members) is None]
    assert {tuple(event) for event in events} == {tuple(listed)}
    assert {tuple(key) for key in keys} <= {tuple(of_key)}


def test_the_members_of_a_servers_own_line_are_listed_in_their_order(written: Written) -> None:
    """Of dead letters, trajectories, texts and records, whose members are all the server's."""
    first = PAGE.split("\n## corpus/\n", 1)[1].split("\n\n| member |", 1)[0]
    names = [row.split(" | ")[0] for row in first.splitlines() if row.startswith("| `")]
    listed = re.findall(r"`(\w+)`", " ".join(names))
    second = PAGE.split("\n### Records of texts\n", 1)[1].split("\n\n```", 1)[0]
    of_texts = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`\w.*?) \|", second, re.MULTILINE)))
    for line in journals_of(written.data)["corpus"]:
        members = [*line.members][:-2]
        if kind_of_record(line.members) == "text":
            assert members == of_texts
            continue
        members += [] if "repeated_members" in members else ["repeated_members"]
        assert sorted(members) == sorted(listed)
        assert [name for name in members if name != "repeated_members"] == [
            name for name in listed if name != "repeated_members"
        ]
    for name in ("refused", "trajectories", "intake"):
        listed = re.findall(r"^\| `(\w+)[`.]", PAGE.split(f"\n## {name}/\n", 1)[1].split("\n## ", 1)[0], re.MULTILINE)
        for line in journals_of(written.data)[name]:
            members = [*line.members][:-2]
            if name == "refused":
                ways = listed[listed.index("body") : listed.index("body") + 3]
                assert ways == ["body", "body_deflate", "body_bytes"]
                if members[-1] == "body_sha256":
                    assert line.members["refused"]["code"] == "consent_withdrawn"
                    members[-2:] = ["body"]
                    assert ways[2] == "body_bytes"
                else:
                    assert members[-1] in ways[:2]
                    members[-1] = "body"  # one of those that stand for each other
            if name == "trajectories" and "repeated_members" not in members:
                members.insert(listed.index("repeated_members"), "repeated_members")  # it may be missing
            assert members == listed[: len(members)], name
            if name == "trajectories":
                assert [*line.members["score"]] == re.findall(r"`(\w+)`", " ".join(score_rows()))


def test_the_pages_word_of_dropped_days_is_a_good_line_with_the_members_listed() -> None:
    (text,) = re.findall(r'^    (\{"dropped":.*)$', PAGE, re.MULTILINE)
    line = read_line(text.encode())
    assert line is not None
    listed = re.findall(r"`dropped\.(\w+)`", PAGE)
    assert [*line.members["dropped"]] == listed


def test_the_pages_erased_lines_are_good_lines_with_members_that_are_listed_in_their_order() -> None:
    section = PAGE[PAGE.index("### Erased lines") : PAGE.index("### Erasures")]
    closed, expired = (read_line(text.encode()) for text in re.findall(r"(?m)^    (\{.*\})$", section))
    assert closed is not None
    assert expired is not None
    listed = [name for cell in re.findall(r"(?m)^\| (`.*?`) \|", section) for name in re.findall(r"`(\w+)`", cell)]
    for members in (closed.members["erased"], expired.members["erased"]):
        assert sorted(members, key=listed.index) == [*members]
    assert closed.head.endswith(b"}" + b" " * 12)
    of_kept = listed[listed.index("session_id") :]
    kept = expired.members["erased"]["kept"]
    assert sorted(kept, key=of_kept.index) == [*kept]


def test_the_pages_text_that_is_past_its_time_is_that_of_its_example() -> None:
    """As the server takes from it what it held."""
    section = PAGE[PAGE.index("#### Lines past their time") : PAGE.index("### Erasures")]
    (text,) = re.findall(r"(?m)^    (\{.*\})$", section)
    (before,) = re.findall(r"(?m)^(\{.*\})$", PAGE.split("\n## intake/\n", 1)[1].split("\n## ", 1)[0])
    framed_before = parse_frame(f"{before}\n".encode())
    assert framed_before is not None
    at = times.from_text(json.loads(text)["erased"]["at"])
    assert expiring(JournalName.INTAKE, at)(before.encode(), framed_before) == text.encode()
    assert parse_line(JournalName.INTAKE, text.encode()) == parse_line(JournalName.INTAKE, before.encode())


def test_the_pages_request_for_erasure_is_a_good_line_with_members_that_are_listed() -> None:
    (text,) = re.findall(r'^    (\{"erasure":.*)$', PAGE, re.MULTILINE)
    line = read_line(text.encode())
    assert line is not None
    assert {*line.members["erasure"]} < {*re.findall(r"`erasure\.(\w+)`", PAGE)}
    assert line.members["erasure"]["sha256"] == hashlib.sha256(b"0123456789abcdef" * 2).hexdigest()


def test_what_was_dropped_is_read_as_the_page_says(tmp_path: Path) -> None:
    """By the page's reader as by the server's: leftovers count for nothing, and so does what is torn."""
    folder = tmp_path / "refused"
    folder.mkdir()
    letters = [framed(b'"x":%d' % n, n=n).text + b"\n" for n in range(1, 7)]
    for day, lines in (("2026-11-20", letters[:2]), ("2026-11-21", letters[2:4]), ("2026-11-22", letters[4:])):
        (folder / f"{day}.jsonl").write_bytes(b"".join(lines))
    said = b'"dropped":{"n":%d,"day":"%b","files":%d,"size_bytes":9}'
    words = [framed(said % (2, b"2026-11-20", 1), n=1), framed(said % (4, b"2026-11-21", 2), n=2)]
    for text, first in (
        (b"", 1),
        (words[0].text[:20], 1),
        (words[0].text + b"\n" + words[1].text[:30], 3),
        (words[0].text + b"\n" + words[1].text + b"\n", 5),
    ):
        (folder / "dropped.jsonl").write_bytes(text)
        lines, torn = read_journal(folder)
        assert torn is None
        assert [line.n for line in lines] == list(range(first, 7))
        journal = StoredJournal.of(DataLayout(tmp_path), JournalName.REFUSED)
        assert journal.dropped().n == first - 1
        assert trio.run(_numbers, journal) == [line.n for line in lines]


async def _numbers(journal: StoredJournal) -> list[int]:
    return [line.position.n async for lines in journal.scan() for line in lines]


def score_rows() -> list[str]:
    """The first cells of the table of `score`."""
    table = PAGE.split("| member of `score`", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)


def test_the_page_names_no_part_of_the_program() -> None:
    """It speaks of bytes on disk alone: what is moved in the code moves nothing on the page."""
    assert re.findall(r"\b\w+\.py\b|\b(?:persistence|actors|central_command)[./]\w*", PAGE) == []


def test_every_link_within_the_page_leads_somewhere() -> None:
    """The names of its headings, as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {target for target in re.findall(r"\]\(#([^)]*)\)", PAGE) if target not in anchors} == set()
