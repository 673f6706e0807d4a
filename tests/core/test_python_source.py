"""Trees of Python files are made one at a time, whoever asks."""

from __future__ import annotations

import ast
import threading

import pytest

from core import python_source


def test_two_threads_never_make_a_tree_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, real = [0], [0], ast.parse
    second = threading.Event()

    def watched(source: str) -> ast.Module:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        second.wait(0.3)  # gives the other thread every chance to come in
        inside[0] -= 1
        return real(source)

    monkeypatch.setattr(ast, "parse", watched)
    threads = [threading.Thread(target=python_source.parse, args=("x = 1",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1]


def test_what_is_no_python_raises_and_blocks_nobody_after() -> None:
    with pytest.raises(SyntaxError):
        python_source.parse("(")
    assert python_source.parse("a = 2").body
