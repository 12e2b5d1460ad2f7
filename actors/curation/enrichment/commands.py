"""What a shell command does: the words that programs are called with, in one table.

A line may hold several commands (`cd x && make test | tail`). Each is looked at by itself, and the line is what its
most telling one is, in the order of `Command`: a line that runs tests and prints a file runs tests. This reads commands
as people write them; it is no shell, and what it does not know is `run`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final

COMMAND_CHARS_MAX: Final = 4_000
"""Characters of a line that are looked at; what follows is mostly a text that is written to a file."""
COMMANDS_MAX: Final = 50
"""Commands of a line that are looked at."""


class Command(IntEnum):
    """What a command does; of a line the least counts."""

    TEST = 1
    BUILD = 2
    OPERATE = 3
    REVIEW = 4
    MOVE = 5
    EDIT = 6
    WEB = 7
    COMMIT = 8
    HISTORY = 9
    SEARCH = 10
    READ = 11
    RUN = 12
    NOTHING = 13


# The beginnings of commands, the longest that fits counts; `*` at the end of a word stands for anything.
_BEGINNINGS: Final[Mapping[Command, str]] = {
    Command.TEST: """
        pytest|py.test|tox|nox|python -m pytest|python -m unittest|python manage.py test|uv run pytest|poetry run pytest
        npm test|npm t|npm run test*|yarn test*|pnpm test*|pnpm run test*|yarn run test*|npx jest|npx vitest|npx mocha
        npx playwright test|npx cypress run|jest|vitest|mocha|ava|bun test|deno test|node --test|go test|gotestsum
        cargo test|cargo nextest|mix test|rspec|bundle exec rspec|rake test|bundle exec rake test|rails test|phpunit
        vendor/bin/phpunit|composer test|mvn test|mvn verify|./mvnw test|./mvnw verify|gradle test|gradle check
        ./gradlew test|./gradlew check|sbt test|lein test|ctest|make test*|make check*|dotnet test|swift test
        xcodebuild test
        flutter test|dart test|stack test|cabal test|zig build test|zig test|bats|prove|bazel test|meson test|just test
        npm run e2e|npm run coverage|coverage run|uv run python -m pytest|hatch test
    """,
    Command.BUILD: """
        make|cmake|ninja|npm run build*|yarn build*|pnpm build*|pnpm run build*|npm run lint*|npm run typecheck*
        tsc|npx tsc
        npx eslint|eslint|prettier|npx prettier|cargo build|cargo check|cargo clippy|cargo fmt|go build|go vet|gofmt
        golangci-lint|mvn|./mvnw|gradle|./gradlew|dotnet build|swift build|mix compile|mix credo|mix format|mix dialyzer
        ruff|mypy|pyright|flake8|pylint|black|isort|uv run ruff|uv run mypy|python -m mypy|python -m build|sphinx-build
        mkdocs build|rubocop|bundle exec rubocop|phpstan|shellcheck|bazel build|meson compile|webpack|vite build
        next build
        gcc|g++|clang|rustc|javac|kotlinc|zig build|stack build|cabal build|tsc*|just build|just lint|pre-commit
    """,
    Command.OPERATE: """
        kubectl|helm|docker|docker-compose|podman|terraform|tofu|ansible*|systemctl|service|journalctl|ssh|scp|rsync
        aws|gcloud|az|flyctl|fly|heroku|vercel|netlify|wrangler|nginx|certbot|crontab|apt|apt-get|yum|dnf|brew
        pacman|apk
        df|du|free|top|htop|ps|kill|pkill|lsof|netstat|ss|ip|ping|dig|nslookup|mount|umount|useradd|chown|iptables|ufw
        uptime|dmesg|vmstat|iostat|pulumi|consul|vault|nomad|pm2|supervisorctl|psql -c|pg_dump|mysqldump|redis-cli|k9s
        gh workflow|gh run|git lfs migrate|npm publish|twine upload|cargo publish|gh release
    """,
    Command.REVIEW: """
        gh pr view|gh pr diff|gh pr review|gh pr checkout|gh pr checks|gh pr comment|gh pr list|glab mr|git show
        git diff|git range-diff|gh api repos/*
    """,
    Command.MOVE: "git mv|mv|jscodeshift|npx jscodeshift|comby|rope",
    Command.EDIT: "apply_patch|patch|sed -i*|perl -pi*|perl -i*|tee|git apply",
    Command.WEB: "curl|wget|http|lynx|w3m",
    Command.COMMIT: """
        git add|git commit|git push|git merge|git rebase|git checkout|git switch|git stash|git pull
        gh pr create|jj commit
    """,
    Command.HISTORY: """
        git log|git status|git blame|git branch|git reflog|gh issue|git remote|git rev-parse|git fetch|git ls-files
    """,
    Command.SEARCH: "grep|rg|ag|ack|find|fd|ls|tree|locate|git grep|which|wc",
    Command.READ: "cat|sed|head|tail|less|more|bat|nl|awk|jq|cut|sort|uniq|od|xxd|file|stat|strings",
    Command.NOTHING: "cd|echo|pwd|export|set|source|true|sleep|mkdir|touch|rm|cp|ln|date|printf|test|.|clear|chmod",
}
_TABLE: Final[Mapping[tuple[str, ...], Command]] = {
    tuple(beginning.split()): command
    for command, beginnings in _BEGINNINGS.items()
    for line in beginnings.splitlines()
    for beginning in line.split("|")
    if beginning.strip()
}
_EXACT: Final = {words: command for words, command in _TABLE.items() if not words[-1].endswith("*")}
_OPEN: Final = {(*words[:-1], words[-1][:-1]): command for words, command in _TABLE.items() if words[-1].endswith("*")}
_WORDS_MAX: Final = max(map(len, _TABLE))
_OPEN_CHARS_MAX: Final = max(len(words[-1]) for words in _OPEN)

_SHELL_WRAPPER = re.compile(r"\A\s{0,20}(?:/[a-z/]{0,40}/)?(?:ba|z|da)?sh\s+-l?i?c\s+")
_SEPARATOR = re.compile(r"&&|\|\||[;|\n&]")
_WORD = re.compile(r"[^\s\"'()`]+")
_ASSIGNMENT = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]{0,80}=")
_PREFIXES: Final = frozenset(
    {"sudo", "time", "env", "nohup", "exec", "command", "nice", "xargs", "then", "do", "if", "!"}
)
_WITH_A_NUMBER: Final = frozenset({"timeout", "nice"})
_REDIRECTION = re.compile(r"(?<![0-9&>=-])>{1,2}[ \t]{0,4}(?!/dev/|/tmp/|&)[\"']?([\w./~$-]{1,200})")
PATCH_MARK: Final = "*** Begin Patch"


def command_line(value: object) -> str:
    """The line that a shell tool was given, whether as text or as a list of words, without the shell around it."""
    if isinstance(value, list):
        words = [word for word in value if isinstance(word, str)]
        value = words[-1] if len(words) >= 3 and words[-2] in {"-c", "-lc", "-ic", "/c"} else " ".join(words)
    if not isinstance(value, str):
        return ""
    line = value[:COMMAND_CHARS_MAX]
    wrapped = _SHELL_WRAPPER.match(line)
    return line if wrapped is None else line[wrapped.end() :].strip("\"'")


def command_of(line: str) -> Command:
    """What a line does."""
    if PATCH_MARK in line:
        return Command.EDIT
    found = min(map(_kind, _commands(line)), default=Command.NOTHING)
    if found > Command.EDIT and _REDIRECTION.search(line):
        return Command.EDIT
    return found


def written_file(line: str) -> str:
    """The file that a line writes to: behind `>`, else its last word, as with `sed -i` and `tee`; empty without one."""
    redirected = _REDIRECTION.search(line)
    if redirected is not None:
        return redirected[1]
    words = _WORD.findall(line.partition("\n")[0])
    return words[-1] if words else ""


def _commands(line: str) -> Iterator[Sequence[str]]:
    """Yield the commands of a line, each as its words, without what only says how it is run."""
    for part in _SEPARATOR.split(line, maxsplit=COMMANDS_MAX)[:COMMANDS_MAX]:
        words: list[str] = _WORD.findall(part)
        place = 0
        while place < len(words) and (
            words[place] in _PREFIXES or _ASSIGNMENT.match(words[place]) or _skips(words, place)
        ):
            place += 1
        if place < len(words):
            yield words[place:]


def _skips(words: Sequence[str], place: int) -> bool:
    """Whether a word is `timeout`, or the number behind it."""
    if words[place] in _WITH_A_NUMBER:
        return True
    return place > 0 and words[place - 1] in _WITH_A_NUMBER and words[place][:1].isdigit()


def _kind(words: Sequence[str]) -> Command:
    program = words[0] if words[0].startswith("./") else words[0].rpartition("/")[2]
    spelled = ["python" if re.fullmatch(r"python3?(?:\.[0-9]{1,2})?", program) else program, *words[1:_WORDS_MAX]]
    for count in range(min(_WORDS_MAX, len(spelled)), 0, -1):
        beginning = tuple(spelled[:count])
        if beginning in _EXACT:
            return _EXACT[beginning]
        for length in range(min(len(beginning[-1]), _OPEN_CHARS_MAX), 0, -1):
            if (*beginning[:-1], beginning[-1][:length]) in _OPEN:
                return _OPEN[*beginning[:-1], beginning[-1][:length]]
    return Command.RUN
