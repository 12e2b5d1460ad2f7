"""The alert rules and the dashboard of docs/monitoring: they are well formed, and ask for metrics that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from central_command.metrics.exposition import write
from tests.central_command.metrics.scraping import families_of, scraping
from tests.central_command.metrics.test_metrics import everything_on

FOLDER = Path(__file__).parents[3] / "docs" / "monitoring"
RULES, RULES_TEST, DASHBOARD = FOLDER / "alerts.yml", FOLDER / "alerts_test.yml", FOLDER / "dashboard.json"
METRIC = re.compile(r"\b(?:central_command|http_server|process)_[a-z0-9_]+")
PROMTOOL = shutil.which("promtool")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def asked_for() -> Iterator[tuple[str, str]]:
    """The metrics of every expression, each with where it stands."""
    for rule in rules():
        yield from ((rule["alert"], name) for name in METRIC.findall(rule["expr"]))
    for panel in panels():
        for target in panel["targets"]:
            yield from ((panel["title"], name) for name in METRIC.findall(target["expr"]))
    text = RULES_TEST.read_text()
    yield from ((RULES_TEST.name, name) for name in METRIC.findall(text))


async def test_every_metric_that_is_asked_for_exists(tmp_path: Path) -> None:
    """Also those that are there only where a part is on, or something has happened."""
    async with scraping(tmp_path) as server:
        figures = await everything_on(server)
    there = set()
    for family in families_of(write(figures, openmetrics=False).decode()):
        suffixes = ("_bucket", "_count", "_sum") if family.type == "histogram" else ("",)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        there |= {name + suffix for suffix in suffixes}
    assert [(where, name) for where, name in asked_for() if name not in there] == []


def test_the_rules_are_rules() -> None:
    """Each with a name of its own, a severity, and a sentence that says what is wrong or what to do."""
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        assert re.fullmatch(r"[0-9]+[smhd]", rule.get("for", "1m"))
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_each_rule_is_seen_to_fire_and_to_be_silent() -> None:
    """The tests of rules are about rules: each alert that they expect is one, with its own sentence."""
    found = {rule["alert"]: rule for rule in rules()}
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for test in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            seen[bool(case["exp_alerts"])].add(case["alertname"])
            for alert in case["exp_alerts"]:
                template = found[case["alertname"]]["annotations"]["summary"]
                labels = alert["exp_labels"]
                summary = re.sub(r"{{ \$labels\.(\w+) }}", lambda named: labels[named[1]], template)  # noqa: B023 (called at once)
                assert alert["exp_annotations"]["summary"] == summary
    assert seen == {True: set(found), False: set(found)}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")
@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", RULES_TEST)], ids=["check", "test"])
def test_promtool_finds_nothing_wrong(arguments: tuple[str | Path, ...]) -> None:
    """What Prometheus itself says of them."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")
async def test_promtool_reads_the_metrics_and_finds_no_fault_in_their_names(tmp_path: Path) -> None:
    """With every part on, so that each metric is there."""
    assert PROMTOOL is not None
    async with scraping(tmp_path) as server:
        figures = await everything_on(server)
    done = await trio.run_process(
        [PROMTOOL, "check", "metrics"],
        stdin=write(figures, openmetrics=False),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert (done.returncode, done.stdout.decode() + done.stderr.decode()) == (0, "")


def test_the_dashboard_is_one() -> None:
    """Panels beside each other, each with an expression, of the data source that is chosen."""
    found = json.loads(DASHBOARD.read_text())
    assert {each["name"] for each in found["templating"]["list"]} == {"datasource", "instance"}
    assert len({panel["id"] for panel in panels()}) == len(panels())
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()}
    assert len(places) == len(panels())
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert "$instance" in target["expr"]
            assert target["expr"].count("(") == target["expr"].count(")")
