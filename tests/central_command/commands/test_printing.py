"""Rendering: what a trajectory, the sessions and the statistics look like, and that contents stay contents."""

import io
from collections.abc import Iterable

import msgspec
from rich.console import Console, RenderableType

from central_command.commands.printing import terminal, trajectory
from central_command.commands.printing.sessions import sessions_listing
from central_command.commands.printing.statistics import statistics
from persistence.databases.reports import (
    DayReport,
    LeaderboardEntry,
    ModelReport,
    ProviderReport,
    Statistics,
    Summary,
)
from persistence.databases.session_index import SessionRow
from persistence.format.records import ClosedBy

LINE = (
    rb'{"trajectory_id":"traj_1","session_id":"sess_1","contributor_id":"0123456789abcdef0123456789abcdef",'
    rb'"metadata":{"provider":"codex","model_engine":"gpt-5.5","agent_role":"frontend","agent_id":"frontend-3"},'
    rb'"close_metadata":null,"trajectory_log":['
    rb'{"step":1,"type":"thought","timestamp":1000.5,"content":"one\ntwo\nthree","token_count":3},'
    rb'{"step":2,"type":"action","timestamp":1003.5,"tool":"Bash","arguments":{"command":"ls","n":1e400},"content":""},'
    rb'{"step":3,"type":"observation","timestamp":4600.5,"content":"cut \ud83d here"},'
    rb'{"step":4,"type":"delegate","timestamp":null,"content":7}],'
    rb'"outcome":{"status":"SUCCESS","session_quality":80},"total_steps":4,"total_tokens":1234,'
    rb'"unique_tools_used":["Bash"],"step_type_distribution":{"thought":1,"action":2},"total_chunks":2,'
    rb'"sequence_gaps":[{"before":5,"missing":2}],"coordination_links":[{"step":2}],'
    rb'"feedback":[{"feedback":{"signal":"accepted","context":"well done"}}],"closed_by":"session_close",'
    rb'"score":{"base_points":4,"model_multiplier":5,"correction_bonus":0,"quality_bonus":2,"total_points":1022.5},'
    rb'"enrichment":{},"received":{"n":1,"at":"2026-11-20T10:12:17.123456Z","batch":1},"crc32":"00000000"}' + b"\n"
)


def rendered(*renderables: RenderableType, width: int = 120, colours: bool = False) -> str:
    """What a terminal of `width` characters would get."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=colours,
        color_system="standard" if colours else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for each in renderables:
        console.print(each)
    return stream.getvalue()


def lines_of(text: str) -> list[str]:
    """The lines, without trailing spaces and empty ones."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def steps_of(chosen: range | None = None, lines_max: int | None = 6, line: bytes = LINE) -> list[str]:
    """The rendered steps."""
    found: Iterable[RenderableType] = trajectory.steps(trajectory.read_trajectory(line), chosen, lines_max)
    return lines_of(rendered(*found))


def test_the_header_says_whose_what_and_why() -> None:
    """Session, contributor, model, points with their parts, totals, end, gaps, outcome and feedback; no empty rows."""
    found = [line.split(maxsplit=1) for line in lines_of(rendered(trajectory.header(trajectory.read_trajectory(LINE))))]
    assert found == [
        ["session", "sess_1"],
        ["trajectory", "traj_1"],
        ["contributor", "0123456789abcdef0123456789abcdef"],
        ["model", "gpt-5.5 · codex"],
        ["agent", "frontend-3 · frontend"],
        ["points", "1,022.5 (base points 4, model multiplier 5, quality bonus 2)"],
        ["totals", "4 steps in 2 chunks, 1,234 tokens"],
        ["steps", "2 action, 1 thought"],
        ["tools", "Bash"],
        ["closed", "by     session_close, recorded 2026-11-20T10:12:17.123456Z"],
        ["gaps", "2 missing before 5"],
        ["outcome", "status SUCCESS, session quality 80"],
        ["feedback", "accepted: well done"],
        ["coordination", "1 link"],
    ]


def test_a_bare_trajectory_can_be_shown() -> None:
    """One that was closed without outcome, feedback or score has a header and no steps."""
    found = trajectory.read_trajectory(b'{"trajectory_id":"t","session_id":"s","outcome":null,"metadata":null}')
    text = rendered(trajectory.header(found), *trajectory.steps(found, None, 6))
    assert "not scored" in text
    assert "0 steps in 0 chunks, 0 tokens" in text
    assert "none reported" in text


def test_a_copied_step_and_a_shift_are_said_as_they_are() -> None:
    """One step is no range, and no millisecond of a shift is cut off."""
    found = trajectory.read_trajectory(
        b'{"trajectory_id":"t","session_id":"s","metadata":null,"outcome":null,"time_shift_s":26193102.683,'
        b'"started_at":"2026-01-30T09:17:00.000000Z","ended_at":"2026-01-30T09:18:00.000000Z","copied_from":['
        b'{"from_step":7,"to_step":7,"trajectory_id":"traj_a","session_id":"sess_a"},{"from_step":9,"to_step":11,"trajectory_id":"traj_a","session_id":"sess_a"}]}'
    )
    text = " ".join(rendered(trajectory.header(found)).split())
    assert "shown moved by 26,193,102.683 s" in text
    assert "step 7 stands in session sess_a; steps 9 to 11 stand in session sess_a" in text


def test_steps_show_number_time_type_and_content() -> None:
    """Times count from the first step, also where they are milliseconds; odd members are shown as they are."""
    assert steps_of() == [
        "     1    +0:00:00  thought",
        "        one",
        "        two",
        "        three",
        '     2    +0:00:03  action        Bash {"command":"ls","n":1e400}',
        "     3    +1:00:00  observation",
        "        cut \ufffd here",
        "     4              delegate",
        "        7",
    ]


def test_arguments_go_on_as_far_in_as_the_content_below_them() -> None:
    """Nothing of them is lost, and no row is wider than the terminal, however long a word is."""
    given = b" ".join(b"word%d" % n for n in range(30)) + b"x" * 100
    found = trajectory.read_trajectory(LINE.replace(b'"command":"ls"', b'"command":"%s"' % given))
    first, *others = lines_of(rendered(*trajectory.steps(found, range(2, 3), None), width=60))
    assert first.startswith("     2    +0:00:03  action        Bash")
    assert len(others) >= 6
    assert {each[:8] for each in others} == {" " * 8}
    assert max(map(len, (first, *others))) <= 60
    shown = "".join([first, *others]).replace(" ", "")
    assert f'{{"command":"{given.decode().replace(" ", "")}","n":1e400}}' in shown


def test_milliseconds_are_understood() -> None:
    """Timestamps from 10^12 on are milliseconds."""
    line = LINE.replace(b"1000.5", b"1745794234000").replace(b"1003.5", b"1745794296500")
    assert "+0:01:02" in steps_of(line=line)[4]


def test_long_contents_are_cut_and_full_is_whole() -> None:
    """Past the lines wanted, it says how many more there are."""
    assert steps_of(range(1, 2), 2)[1:] == ["        one", "        two", "        … 1 more lines (--full shows all)"]
    assert steps_of(range(1, 2), 3)[1:] == ["        one", "        two", "        three"]
    long = LINE.replace(b"three", b"x" * 5_000)
    cut = "".join(steps_of(range(1, 2), 3, long))
    assert cut.count("x") == 1_000
    assert cut.endswith("characters more)")
    assert "".join(steps_of(range(1, 2), None, long)).count("x") == 5_000


def test_only_chosen_steps_are_shown() -> None:
    """A range of step numbers picks them."""
    found = steps_of(range(2, 4))
    assert [line.split()[0] for line in found if not line.startswith("        ")] == ["2", "3"]


def test_contents_cannot_steer_the_terminal() -> None:
    """Escape sequences, carriage returns and direction overrides of a session are replaced wherever they stand."""
    evil = "\x1b[31m\r\x07\u202e\x9b2J"
    line = msgspec.json.encode(
        {
            "trajectory_id": evil,
            "session_id": evil,
            "contributor_id": evil,
            "metadata": {"model_engine": evil, "provider": evil, "agent_id": evil},
            "outcome": {evil: evil},
            "unique_tools_used": [evil],
            "step_type_distribution": {evil: 1},
            "feedback": [{"signal": evil}],
            "closed_by": evil,
            "score": {"total_points": 1, evil: 2},
            "trajectory_log": [{"step": 1, "type": evil, "tool": evil, "arguments": {evil: evil}, "content": evil}],
            "received": {"at": evil},
        }
    )
    found = trajectory.read_trajectory(line)
    text = rendered(trajectory.header(found), *trajectory.steps(found, None, None))
    assert not set("\x1b\r\x07\u202e\x9b") & set(text)
    row = msgspec.structs.replace(ROW, session_id=evil, model=evil, provider=evil)
    listings = [sessions_listing([row]), *statistics(msgspec.structs.replace(STATISTICS, models={evil: MODEL}))]
    text = rendered(*(each.table(width=80, wide=True) for each in listings))
    piped = "\n".join(
        [*(line for each in listings for line in each.lines()), *trajectory.plain_lines(found, None, None)]
    )
    assert not set("\x1b\r\x07\u202e\x9b") & set(text + piped)


def test_contents_are_no_markup() -> None:
    """What looks like rich's markup or an emoji code is shown as it was written."""
    assert "[bold red]one[/] :smile:" in rendered(
        *trajectory.steps(trajectory.read_trajectory(LINE.replace(b"one", b"[bold red]one[/] :smile:")), None, 6)
    )


def test_types_are_coloured_on_a_terminal() -> None:
    """An error stands out."""
    line = LINE.replace(b'"type":"thought"', b'"type":"error"')
    assert "\x1b[1;31merror" in rendered(
        *trajectory.steps(trajectory.read_trajectory(line), range(1, 2), 6), colours=True
    )


def test_json_for_a_terminal_means_the_same() -> None:
    """Steering characters become escapes of the same text."""
    text = '{"a":"x\x9by\u202ez\x7f"}'
    cleaned = terminal.clean_json(text)
    assert cleaned == '{"a":"x\\u009by\\u202ez\\u007f"}'
    assert msgspec.json.decode(cleaned) == msgspec.json.decode(text)


ROW = SessionRow(
    session_id="sess_6f1c0f6e-4a50-4a65-a3a5-0e2f1fd8ab11",
    provider="codex",
    model="gpt-5.5",
    closed=True,
    closed_by=ClosedBy.HTTP_CLOSE,
    envelopes=1_200,
    chunks=3,
    steps=45,
    points=99.5,
    created_at=1_700_000_000.0,
    last_activity_at=1_700_000_060.0,
)
MODEL = ModelReport(sessions=3, steps=45, points=1_000.0, percentage=66.7)
STATISTICS = Statistics(
    summary=Summary(
        total_envelopes=1_234_567,
        total_steps=2,
        total_sessions=3,
        active_sessions=4,
        unique_contributors=5,
        storage_size_mb=6.25,
        total_points_awarded=7.5,
        unused_sessions=1,
        refused_size_mb=0.5,
        refused_quota_mb=4768.37,
        refused_without_body=2,
        refused_days_dropped=3,
    ),
    daily=[DayReport(date="2026-11-20", envelopes=1, steps=2, sessions=3, points=4.0)],
    models={"gpt-5.5": MODEL},
    providers={"codex": ProviderReport(sessions=3, steps=45, points=1_000.0)},
    leaderboard=[LeaderboardEntry(contributor_id="01234567", total_points=12_345.5, total_sessions=9)],
)


def test_sessions_are_a_table() -> None:
    """A line a session: its state in the words of the filter, what it was worth; everything when it is wide."""
    active = msgspec.structs.replace(ROW, closed=False, closed_by=None, points=None)
    listing = sessions_listing([ROW, active])
    _, _, closed_line, active_line = lines_of(rendered(listing.table(width=160, wide=True), width=200))
    assert (
        closed_line.split()
        == (
            f"{ROW.session_id} closed gpt-5.5 codex 2023-11-14 22:13:20 2023-11-14 22:14:20 1,200 45 99.5 http close"
        ).split()
    )
    assert active_line.split()[1] == "active"
    assert active_line.endswith(" 45")
    assert lines_of(rendered(sessions_listing([]).table(width=80))) == ["no sessions"]


def test_a_narrow_terminal_shows_sessions_in_a_line_each() -> None:
    """Within 80 columns, with nothing but a long name of a model cut; `show` takes the short ids."""
    other = msgspec.structs.replace(ROW, session_id="sess_6f1c0f6e-5b00-4a65-a3a5-0e2f1fd8ab11", model="m" * 90)
    text = rendered(sessions_listing([ROW, other]).table(width=80), width=80)
    _, _, first, second = lines_of(text)
    assert max(map(len, text.splitlines())) <= 80
    assert first.split() == ["sess_6f1c0f6e-4", "closed", "gpt-5.5", "2023-11-14", "22:13", "45", "99.5"]
    assert second.split()[2].strip("m") == "…"
    assert second.split()[-1] == "99.5"


def test_a_pipe_gets_every_column_whole_and_unpadded() -> None:
    """Tabs between values, figures as programs read them, and what is a tab within a value is none."""
    row = msgspec.structs.replace(ROW, model="gpt\t5", contributor_id="01" * 16, machine="ab" * 32)
    heading, line = sessions_listing([row]).lines()
    assert heading.split("\t")[:3] == ["session", "status", "model"]
    assert line == (
        f"{ROW.session_id}\tclosed\tgpt\\x095\tcodex\t2023-11-14 22:13:20\t2023-11-14 22:14:20\t1200\t45\t99.5\t"
        f"http close\t{row.contributor_id}\t{row.machine}\t\t"
    )


def test_a_piped_trajectory_is_not_padded_and_no_line_is_broken() -> None:
    """Also a line that is wider than any terminal, and one that is empty."""
    long = LINE.replace(b"three", b"x" * 900).replace(b"two", b"")
    lines = "\n".join(trajectory.plain_lines(trajectory.read_trajectory(long), range(1, 2), 6)).split("\n")
    assert lines[0] == "session\tsess_1"
    at = lines.index("     1    +0:00:00  thought")
    assert lines[at + 1 :] == ["        one", "", "        " + "x" * 900]
    assert not any(line.endswith(" ") for line in lines)


def test_statistics_show_all_five_reports() -> None:
    """Summary, models, providers, days and leaderboard, with separators in the figures."""
    found = [line.split() for line in lines_of(rendered(*(each.table(width=80) for each in statistics(STATISTICS))))]
    assert ["total", "envelopes", "1,234,567"] in found
    assert ["storage", "size", "(MB)", "6.25"] in found
    assert ["gpt-5.5", "3", "45", "1,000", "66.7", "%"] in found
    assert ["codex", "3", "45", "1,000"] in found
    assert ["2026-11-20", "1", "2", "3", "4"] in found
    assert ["01234567", "12,345.5", "9"] in found


def test_one_of_something_is_no_several() -> None:
    line = b'{"trajectory_id":"t","session_id":"s","total_steps":1,"total_chunks":1,"total_tokens":1}'
    text = rendered(trajectory.header(trajectory.read_trajectory(line)))
    assert "1 step in 1 chunk, 1 token" in text


def test_one_copied_step_stands_and_several_stand() -> None:
    runs = (
        b'{"from_step":7,"to_step":7,"session_id":"a","trajectory_id":"x"},'
        b'{"from_step":8,"to_step":9,"session_id":"b","trajectory_id":"y"}'
    )
    line = b'{"trajectory_id":"t","session_id":"s","copied_from":[' + runs + b"]}"
    assert "step 7 stands in session a; steps 8 to 9 stand in session b" in " ".join(
        rendered(trajectory.header(trajectory.read_trajectory(line))).split()
    )


def test_scores_are_read_in_either_spelling() -> None:
    """`totalPoints` and its parts, as the contract spells them, are shown alike."""
    line = LINE.replace(b"total_points", b"totalPoints").replace(b"model_multiplier", b"modelMultiplier")
    text = rendered(trajectory.header(trajectory.read_trajectory(line)))
    assert "1,022.5 (base points 4, model multiplier 5, quality bonus 2)" in text
