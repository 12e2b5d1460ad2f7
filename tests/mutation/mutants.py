"""Small changes to the code, each of which some test must notice: found in the syntax tree, drawn by a seed. Pure.

What is changed: a comparison's bound or sense, `and`/`or`, `+`/`-`, `min`/`max`, a condition turned round, a small
number moved by one, a statement that only has an effect left out, an early `return` or `break` left out. What is not:
texts for people (docstrings, log lines, `__repr__`, messages of exceptions), assertions (they state what cannot be),
and annotations.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Mutant(msgspec.Struct, frozen=True, order=True):
    """One change: the file, the bytes from `start` to `end`, the text that goes there, and the line for people."""

    path: str
    line: int
    start: int
    end: int
    text: str
    what: str

    def applied(self, source: bytes) -> bytes:
        """The file's text with the change."""
        return source[: self.start] + self.text.encode() + source[self.end :]


_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.FloorDiv: "*"}
_SWAPPED_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SILENT_CALLS = frozenset({"log", "logger", "_logger", "warnings"})
_SKIPPED_FUNCTIONS = frozenset({"__repr__", "__rich_repr__", "statistics"})
_NUMBER_MAX = 64


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Every mutant of one file, in the order of the text."""
    source = path.read_bytes()
    finder = _Finder(str(path.relative_to(root)), source)
    finder.visit(ast.parse(source))
    return sorted(set(finder.found))


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: bytes) -> None:
        self.found: list[Mutant] = []
        self._path = path
        self._source = source
        self._offsets = [0]
        for line in source.splitlines(keepends=True):
            self._offsets.append(self._offsets[-1] + len(line))

    # What is left as it is

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in _SKIPPED_FUNCTIONS:
            self._visit_body(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.visit(statement)

    def _visit_body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Assertions state what cannot be: no test can make them fail."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """Messages are for people."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.visit(statement)

    # What is changed

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Constant) or _is_silent(value):
            return
        if isinstance(value, ast.Call):
            self._add(node, "pass", "left out")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, "pass", "left out")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._add(node.test, f"not ({self._text(node.test)})", "condition turned round")
        for statement in node.body:
            if isinstance(statement, ast.Return | ast.Break | ast.Continue) and len(node.body) == 1:
                self._add(statement, "pass", "left out")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child)

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            between = self._source[self._end(left) : self._start(right)].decode()
            for other in _COMPARISONS[type(operator)]:
                symbol = between.strip(" ()\n\\")
                self._put(
                    left.lineno, self._end(left), self._start(right), between.replace(symbol, other), symbol, other
                )
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        is_and = isinstance(node.op, ast.And)
        old, new = ("and", "or") if is_and else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            between = self._source[self._end(left) : self._start(right)].decode()
            self._put(left.lineno, self._end(left), self._start(right), between.replace(old, new), old, new)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        new = _OPERATORS.get(type(node.op))
        if new is not None and not _is_text(node.left) and not _is_text(node.right):
            between = self._source[self._end(node.left) : self._start(node.right)].decode()
            old = between.strip(" ()\n")
            self._put(node.lineno, self._end(node.left), self._start(node.right), between.replace(old, new), old, new)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _is_silent(node):
            return
        if isinstance(node.func, ast.Name) and node.func.id in _SWAPPED_NAMES:
            self._add(node.func, _SWAPPED_NAMES[node.func.id], f"{node.func.id} swapped")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, str(not node.value), f"{node.value} turned round")
        elif isinstance(node.value, int) and 0 <= node.value <= _NUMBER_MAX:
            self._add(node, str(node.value + 1), f"{node.value} is {node.value + 1}")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts for people."""

    # Places

    def _start(self, node: ast.AST) -> int:
        return self._offsets[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return self._offsets[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _text(self, node: ast.AST) -> str:
        return self._source[self._start(node) : self._end(node)].decode()

    def _add(self, node: ast.AST, text: str, what: str) -> None:
        line: int = node.lineno  # type: ignore[attr-defined]
        shown = " ".join(self._text(node).split())[:70]
        self.found.append(Mutant(self._path, line, self._start(node), self._end(node), text, f"{shown}: {what}"))

    def _put(self, line: int, start: int, end: int, text: str, old: str, new: str) -> None:
        self.found.append(Mutant(self._path, line, start, end, text, f"{old} is {new}"))


def _is_silent(node: ast.AST) -> bool:
    """Whether a call only says something, or states what cannot be."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return (isinstance(function, ast.Name) and function.id == "assert_never") or (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id in _SILENT_CALLS
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def core_files(root: Path, rooms: tuple[str, ...]) -> Iterator[Path]:
    """The modules of the rooms, without settings."""
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            if path.name not in {"__init__.py", "settings.py"}:
                yield path
