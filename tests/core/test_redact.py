"""Secrets never reach the log."""

from __future__ import annotations

from pathlib import Path

from core.redact import Redactor


def test_values_of_secret_variables_and_known_shapes_are_masked() -> None:
    redact = Redactor(
        {"MY_TOKEN": "correct-horse", "HOME": "/root", "API_KEY": "short", "KEY_FILE": "/etc/key-of-mine"}
    )
    text = b'{"a":"correct-horse","b":"hf_' + b"a" * 30 + b'","c":"/etc/key-of-mine short"}'
    clean = redact(text)
    assert b"correct-horse" not in clean
    assert b"hf_" not in clean
    assert b"/etc/key-of-mine short" in clean


def test_a_secret_inside_a_longer_one_leaves_no_tail() -> None:
    redact = Redactor({"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh-and-more"})
    assert redact(b"abcdefgh-and-more") == b"[redacted]"


def test_a_secret_in_a_file_is_found_also_across_the_pieces_it_is_read_in(tmp_path: Path) -> None:
    redact = Redactor({"MY_TOKEN": "correct horse battery"})
    file = tmp_path / "rows.jsonl"
    for before in (0, (1 << 20) - 5, (2 << 20) - 1):
        file.write_bytes(b"x" * before + b"correct horse battery" + b"y" * 3000)
        assert redact.found_in(file)
    file.write_bytes(b"correct horse" * 200_000)
    assert not redact.found_in(file)
