"""A contributor among many is erased from a real server while clients send and the server is killed again and again.

`python -m tests.erasure_proof --sessions 3000 --theirs 300 --clients 8 --kills 8` (or `make erasure-proof`) takes some
minutes; the tests run a small one. It ends with a sentence, or with an AssertionError that says what is wrong.
"""

import argparse
import gzip
import http.client
import json
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.server_process import INGEST, OPEN, Answer, ServerProcess, run_command
from tests.signing_client import SigningClient

THEIRS = "c0ffee00c0ffee11c0ffee22c0ffee33"
THEIR_TEXTS = (THEIRS, "sess_theirs_", "the words of theirs on")
"""What every session of theirs has, and nothing else."""

JOURNALS = ("envelopes", "refused", "trajectories", "corpus")
OTHERS = 40
"""Contributors beside the one who is erased."""

SETTINGS = {
    "CENTRAL_COMMAND__CURATION__ENABLED": "true",
    "CENTRAL_COMMAND__CURATION__NICE": "0",
    "CENTRAL_COMMAND__CURATION__POLL_INTERVAL_S": "0.1",
    "CENTRAL_COMMAND__CURATION__RESTART_DELAY_S": "0.1",
    "CENTRAL_COMMAND__STORAGE__ERASURE_REST_S": "0.1",
    "CENTRAL_COMMAND__STORAGE__ERASURE_RETRY_S": "1",
}


class Sender:
    """Sends to a server that comes and goes: the same bytes again until they are answered."""

    def __init__(self, server: ServerProcess, give_up: threading.Event) -> None:
        self._server = server
        self._give_up = give_up
        self._connection: http.client.HTTPConnection | None = None

    def send(self, method: str, path: str, body: bytes | None = None) -> Answer:
        while not self._give_up.is_set():
            with suppress(OSError, http.client.HTTPException, ValueError):
                if self._connection is None:
                    self._connection = self._server.connect()
                self._connection.request(method, path, body, {"Content-Type": "application/json"})
                response = self._connection.getresponse()
                answer = Answer(response.status, json.loads(response.read() or b"{}"))
                if answer.status != 503:
                    return answer
            self.close()
            time.sleep(0.05)
        raise TimeoutError(f"{method} {path.split('/')[1]} was not answered")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def session_id(who: str, number: int) -> str:
    return f"sess_{who}_{number:06d}_0123456789abcdef"


def contributor(number: int) -> str:
    return f"{number % OTHERS:032x}"


def needle(who: str, number: int) -> str:
    """Words that stand in one session alone, and that scrubbing leaves as they are."""
    digits = f"{number:06d}".translate(str.maketrans("0123456789", "abcdefghij"))
    return f"the words of {who} on matter {digits} and no other one"


def leave(sender: Sender, who: str, number: int, owner: str, *, closes: bool = True) -> list[str]:
    """Send a session with something of everything; return the ids of what was accepted."""
    client = SigningClient(session_id(who, number), contributor_id=owner)
    opened = sender.send("POST", OPEN, json.dumps(client.opening()).encode())
    assert opened.status == 200, opened
    client.opened(opened.members["server_public_key"])
    steps = [client.step(content=f"{needle(who, number)}, step {step}") for step in range(5)]
    bodies = [client.chunk_of(steps), client.chunk_of([client.step("guess", content=needle(who, number))])]
    bodies += [client.feedback(), client.close(), client.feedback("rejected")] if closes else []
    accepted = []
    for body in bodies:
        answer = sender.send("POST", INGEST, body)
        assert answer.status == 200, answer
        if answer.members["accepted"]:
            accepted.append(answer.members["envelope_id"])
    sender.close()
    return accepted


def in_threads(count: int, work: Any) -> None:
    """Run `work(which)` in so many threads; raise what one of them raised."""
    failures: list[BaseException] = []

    def one(which: int) -> None:
        try:
            work(which)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(which,)) for which in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def lines_of(root: Path) -> dict[str, list[bytes]]:
    """All lines, by journal, in their order."""
    return {
        name: [line for path in sorted((root / name).glob("*.jsonl")) for line in path.read_bytes().splitlines()]
        for name in JOURNALS
    }


def others_of(root: Path) -> dict[str, list[bytes]]:
    """The lines of everybody else."""
    return {
        name: [line for line in lines if b'"session_id":"sess_other' in line] for name, lines in lines_of(root).items()
    }


def files_with(root: Path, wanted: Sequence[str]) -> list[str]:
    """Every file that holds any of these texts in any case, byte for byte, compressed ones unpacked."""
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file() and _holds(path, wanted)]


def _holds(path: Path, wanted: Sequence[str]) -> bool:
    text = path.read_bytes()
    text = (gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text).lower()
    return any(each.lower().encode() in text for each in wanted)


def credits_of(root: Path) -> dict[int, tuple[str, float]]:
    """Each credit: whose it is, and how many points."""
    with closing(sqlite3.connect(root / "ledger.db")) as connection:
        rows = connection.execute("SELECT id, contributor_id, points FROM credits").fetchall()
    return {number: (owner, points) for number, owner, points in rows}


def wait_until_curated(server: ServerProcess, give_up_at: float) -> None:
    while server.get("/health").members["curation_lag"]["trajectories"]:
        assert time.monotonic() < give_up_at, "the corpus is not made in time"
        time.sleep(0.2)


def check(root: Path) -> None:
    """Nothing of them is left, and what is left is whole."""
    left = files_with(root, THEIR_TEXTS)
    assert not left, f"something of who was erased is left in {left}"
    verified = run_command("verify", "--deep", "--data-dir", str(root), cwd=root.parent, timeout_s=600)
    assert verified.returncode == 0, verified.stdout + verified.stderr


class Size(NamedTuple):
    """How much is done."""

    sessions: int
    theirs: int
    clients: int
    kills: int


class Trial:
    """One run, in a folder of its own: `fill`, `erase`, `compare`, `bring_back`."""

    def __init__(self, folder: Path, size: Size, *, seed: int = 0, timeout_s: float = 900.0) -> None:
        self.folder = folder
        self.size = size
        self.root, self.backup, self.back = folder / "data", folder / "backup", folder / "restored"
        self._chance = random.Random(seed)
        self._give_up_at = time.monotonic() + timeout_s
        self._give_up = threading.Event()
        self._alarm = threading.Timer(timeout_s, self._give_up.set)
        self._alarm.daemon = True
        self._alarm.start()
        self._server = ServerProcess(self.root, settings=SETTINGS)
        self._is_done = threading.Event()
        self._request = ""
        self._before: dict[str, list[bytes]] = {}
        self._credits: dict[int, tuple[str, float]] = {}
        self.accepted: list[str] = []
        self.took_s = 0.0
        self.erased_lines: dict[str, int] = {}

    def fill(self) -> None:
        """Leave sessions of everybody, and remember what there is."""
        with self._server:
            in_threads(self.size.clients, self._fill)
            wait_until_curated(self._server, self._give_up_at)
            assert self._server.terminate() == 0
        self._run("backup", str(self.backup), "--with-key")
        self._before, self._credits = others_of(self.root), credits_of(self.root)
        assert len(files_with(self.root, THEIR_TEXTS)) >= len(JOURNALS)

    def erase(self) -> None:
        """Ask for the erasure, kill the server again and again, and send meanwhile, until it is done."""
        with self._server:
            began_at = time.monotonic()
            in_threads(self.size.clients + 1, self._load)
            self.took_s = time.monotonic() - began_at
            wait_until_curated(self._server, self._give_up_at)
            report = self._server.get(f"/v1/erasures/{self._request}")
            self.erased_lines = report.members["erased_lines"]
            assert self._server.terminate() == 0
        check(self.root)

    def compare(self) -> None:
        """What is of others is as it was, also after all of the corpus is gone over again."""
        after = others_of(self.root)
        for name, lines in self._before.items():
            assert after[name][: len(lines)] == lines, f"a line of somebody else in {name} was changed"
        lost = {*self.accepted} - {json.loads(line)["envelope_id"] for line in after["envelopes"]}
        assert not lost, f"{len(lost)} envelopes were accepted and are lost"
        credited = credits_of(self.root)
        for number, (owner, points) in self._credits.items():
            expected = (self._request if owner == THEIRS else owner, points)
            assert credited.get(number) == expected, f"credit {number} was {(owner, points)}"
        self._run("curate", "--all")
        check(self.root)

    def bring_back(self) -> None:
        """Restore the backup from before; the same request erases it."""
        self._run("restore", str(self.backup), "--erasures", str(self.root / "erasures.jsonl"), root=self.back)
        assert len(files_with(self.back, THEIR_TEXTS)) >= len(JOURNALS)
        self._run("erase", "--pending", root=self.back)
        check(self.back)
        after = others_of(self.back)
        for name, lines in self._before.items():
            assert after[name][: len(lines)] == lines, f"a line of somebody else in {name} was changed"
        self._alarm.cancel()

    def _run(self, *arguments: str, root: Path | None = None) -> None:
        options = ("--data-dir", str(root or self.root))
        done = run_command(*arguments, *options, cwd=self.folder, timeout_s=600)
        assert done.returncode == 0, done.stdout + done.stderr

    def _fill(self, which: int) -> None:
        sender, size = Sender(self._server, self._give_up), self.size
        every = size.sessions // size.theirs
        for number in range(which, size.sessions, size.clients):
            if number % every == 1 and number // every < size.theirs:
                leave(sender, "theirs", number // every, THEIRS, closes=number // every % 4 != 3)
            else:
                leave(sender, "other", number, contributor(number), closes=number % 4 != 2)

    def _load(self, which: int) -> None:
        if which == self.size.clients:
            try:
                with closing(Sender(self._server, self._give_up)) as sender:
                    self._erase_and_kill(sender)
            finally:
                self._is_done.set()
            return
        sender, number = Sender(self._server, self._give_up), self.size.sessions + 1_000_000 * which
        while not self._is_done.is_set():
            number += 1
            self.accepted += leave(sender, "other", number, contributor(number), closes=bool(number % 3))

    def _erase_and_kill(self, sender: Sender) -> None:
        late = _opened(sender, "late")
        asked = sender.send("DELETE", f"/v1/contributors/{THEIRS}")
        assert asked.status == 202, asked
        self._request = asked.members["request"]
        for _ in range(self.size.kills):
            time.sleep(self._chance.uniform(0.0, 1.5))
            self._server.kill()
            self._server.start()
            sender.close()
            _refused(sender, late)
        while sender.send("GET", f"/v1/erasures/{self._request}").members["state"] != "done":
            time.sleep(0.2)
        _refused(sender, _opened(sender, "later"))


def prove(folder: Path, size: Size, *, seed: int = 0, timeout_s: float = 900.0) -> Trial:
    """Fill a server, erase somebody under load and kills, and look at what is left; raise AssertionError."""
    trial = Trial(folder, size, seed=seed, timeout_s=timeout_s)
    trial.fill()
    trial.erase()
    trial.compare()
    trial.bring_back()
    return trial


def _opened(sender: Sender, name: str) -> SigningClient:
    client = SigningClient(f"sess_{name}_of_who_is_erased", contributor_id=THEIRS)
    opened = sender.send("POST", OPEN, json.dumps(client.opening()).encode())
    assert opened.status == 200, opened
    client.opened(opened.members["server_public_key"])
    return client


def _refused(sender: Sender, client: SigningClient) -> None:
    answer = sender.send("POST", INGEST, client.chunk())
    assert answer.members["accepted"] is False, answer
    assert answer.members["code"] == "contributor_erased", answer


def main() -> None:
    """Run it in a folder of its own, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("sessions", 3_000), ("theirs", 300), ("clients", 8), ("kills", 8), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--timeout-s", type=float, default=1_800.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="central-command-erasure-"))
    size = Size(options.sessions, options.theirs, options.clients, options.kills)
    trial = prove(folder, size, seed=options.seed, timeout_s=options.timeout_s)
    lines = ", ".join(f"{count:,} of {name}" for name, count in trial.erased_lines.items())
    print(  # noqa: T201 (a program)
        f"erased {lines} within {trial.took_s:.0f} s, through {size.kills} kills, while {len(trial.accepted):,} "
        "envelopes of others were accepted: nothing of them is left in any file, and nothing of the others is changed"
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
