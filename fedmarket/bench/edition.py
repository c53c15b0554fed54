"""Which code a figure was made by: a digest of what modules do, whatever their comments and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Container, Iterable
from importlib.resources import files

DIGITS = 16


def edition_of(modules: Iterable[tuple[str, str]], data: Iterable[bytes] = (), remarks: Container[str] = ()) -> str:
    """Sixteen hexadecimal digits of what these modules do: comments, docstrings and layout do not count.

    Args:
        modules: a package, and the names of modules in it between blanks.
        data: what decides beside them, as it is.
        remarks: keyword arguments that are for people alone.
    """
    digest = hashlib.sha256()
    for package, names in modules:
        for name in names.split():
            tree = ast.parse(files(package).joinpath(f"{name}.py").read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    node.body = [entry for entry in node.body if not _is_text(entry)]
                if isinstance(node, ast.Call):
                    node.keywords = [keyword for keyword in node.keywords if keyword.arg not in remarks]
            digest.update(ast.dump(tree).encode())
    for part in data:
        digest.update(part)
    return digest.hexdigest()[:DIGITS]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
