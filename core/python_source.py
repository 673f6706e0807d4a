"""Python files as trees, one at a time.

CPython keeps the depth of the tree it is making in one place for all threads: where another thread makes one meanwhile, it
raises "SystemError: AST constructor recursion depth mismatch" (seen in 3.11 as two evaluations began side by side).
"""

from __future__ import annotations

import ast
import threading
from typing import Any

_ONE = threading.Lock()


def parse(source: str) -> ast.Module:
    """As ast.parse. Raises what that raises: SyntaxError, ValueError, RecursionError."""
    with _ONE:
        return ast.parse(source)


def literal(source: str) -> Any:
    """As ast.literal_eval. Raises what that raises: ValueError, SyntaxError, RecursionError, MemoryError."""
    with _ONE:
        return ast.literal_eval(source)
