"""docs/operations.md has what an operator finds and does."""

import re
from typing import Any

import msgspec

from central_command.settings.configuration import Settings
from tests.server_process import REPOSITORY

PAGE = (REPOSITORY / "docs" / "operations.md").read_text()
FORMAT = (REPOSITORY / "docs" / "format.md").read_text()

DEFAULTS = {
    f"{group}.{key}": value
    for group, settings in msgspec.structs.asdict(Settings()).items()
    for key, value in msgspec.structs.asdict(settings).items()
}


def section(page: str, title: str) -> str:
    """A section of a page, without those behind it."""
    return re.split(r"\n## ", page.split(f"\n## {title}\n", 1)[1])[0]


def test_each_file_and_folder_of_a_data_directory_is_in_its_table() -> None:
    """All that docs/format.md lists, so that nobody removes what looks like nothing."""
    tree = section(FORMAT, "The data directory")
    names = [name for line in re.findall(r"^├── (.+?)  +0", tree, re.MULTILINE) for name in line.split(", ")]
    assert len(names) > 25
    table = section(PAGE, "The data directory").split("\n### ")[0]
    rows = " ".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE))
    listed = {re.sub(r"/[^/]+$", "/", name) for name in re.findall(r"`([^`]+)`", rows)}
    assert [name for name in names if name not in listed] == []


def said(name: str, value: Any) -> set[str]:
    """How a default may be written, by the unit that its setting's name ends in."""
    if name.endswith("_bytes") or "_bytes_" in name:
        binary = {f"{value / 1024**power:g} {unit}iB" for power, unit in enumerate("KMG", start=1)}
        return binary | {f"{value / 1000**3:g} GB", f"{value / 1000**2:g} MB"}
    if name.endswith("_s"):
        return {f"{value:g} s", f"{value / 60:g} minutes", f"{value / 3_600:g} h"}
    words = {0.25: "a quarter", 4: "four"}
    return {f"{value:,g}" if value < 1_000_000 else f"{int(value):,}", words.get(value, "?")}


def test_each_default_of_a_bound_is_that_of_the_settings() -> None:
    """In the table of sizes and limits; `…_hour` behind `http.requests_per_minute` is the same with another ending."""
    checked, wrong = 0, []
    for row in re.findall(r"^\| (.+) \|$", section(PAGE, "Sizes and limits"), re.MULTILINE):
        _, default, names, _ = row.split(" | ") if row.count(" | ") == 3 else ("", "", "", "")
        last = ""
        for name in re.findall(r"`([^`]+)`", names):
            words = last.split("_")
            starts = ["_".join(words[:count]) for count in range(len(words), 0, -1)] if name.startswith("…") else [""]
            last = next(each for start in starts if (each := start + name.removeprefix("…")) in DEFAULTS)
            checked += 1
            if not any(each in default for each in said(last, DEFAULTS[last])):
                wrong.append(f"{last}: {default}")
    assert checked > 60, "the bounds were not found"
    assert wrong == []


def test_each_alarm_says_what_to_do() -> None:
    rules = (REPOSITORY / "docs" / "monitoring" / "alerts.yml").read_text()
    alerts = re.findall(r"- alert: CentralCommand(\w+)", rules)
    table = section(PAGE, "Watching").split("\n### Alarms\n")[1].split("\n### ")[0]
    assert re.findall(r"`([A-Z]\w+)`", " ".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE))) == alerts
