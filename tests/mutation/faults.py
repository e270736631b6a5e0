"""The faults that can be planted in a module: each changes one thing that a person may get wrong."""

import ast
import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_IS_SQL = re.compile(r"\b(?:SELECT|UPDATE|INSERT|DELETE|WHERE|FROM)\b")
_SQL = (
    (re.compile(r"\bmin\("), "max("),
    (re.compile(r"\bmax\("), "min("),
    (re.compile(r"\bAND\b"), "OR"),
    (re.compile(r" <= "), " < "),
    (re.compile(r" < "), " <= "),
    (re.compile(r" >= "), " > "),
    (re.compile(r"(ORDER BY [\w.]+)(?! DESC)\b"), r"\1 DESC"),
    (re.compile(r"\bIS NOT NULL\b"), "IS NULL"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One change of one module."""

    path: Path  #: of the module, from the root
    name: str  #: for people: place, before, after
    source: str  #: the module with the fault


def faults_of(root: Path, files: Iterable[Path]) -> Iterator[Fault]:
    """Every fault that can be planted in these files, in their order."""
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in list(ast.walk(tree)):
            if id(node) in docs:
                continue
            for changed in _changes(node):
                yield _planted(file.relative_to(root), tree, node, changed)


def _planted(path: Path, tree: ast.Module, node: ast.AST, changed: ast.AST) -> Fault:
    before, after = ast.unparse(node), ast.unparse(changed)
    kept = dict(node.__dict__)
    node.__dict__.update(changed.__dict__)
    source = ast.unparse(tree)
    node.__dict__.clear()
    node.__dict__.update(kept)
    return Fault(path, f"{path}:{kept.get('lineno', 0)}: {before!r} -> {after!r}", source)


def _changes(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901 - a table by the class of node
    """The node with one fault, of the same class."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            yield _with(node, ops=[_COMPARISONS[type(operator)]()])
        case ast.BoolOp(op=operator):
            yield _with(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.BinOp(op=ast.Add()):
            yield _with(node, op=ast.Sub())
        case ast.BinOp(op=ast.Sub()):
            yield _with(node, op=ast.Add())
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield _with(node, func=ast.Name(_NAMES[name], ast.Load()))
        case ast.If(test=test) | ast.IfExp(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Constant(value=bool() as value):
            yield _with(node, value=not value)
        case ast.Constant(value=int() as value):
            yield _with(node, value=value + 1)
        case ast.Constant(value=str() as value) if _IS_SQL.search(value):
            for pattern, other in _SQL:
                for found in pattern.finditer(value):
                    yield _with(node, value=value[: found.start()] + found.expand(other) + value[found.end() :])


def _with(node: Node, **fields: object) -> Node:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
