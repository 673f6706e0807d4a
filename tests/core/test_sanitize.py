"""No escape, control or bidi character of foreign text reaches a terminal; the words themselves do."""

from __future__ import annotations

import random
import time
import unicodedata

import pytest

from core.sanitize import clean, escape_markup, one_line

FORBIDDEN = {chr(c) for c in (*range(0x20), *range(0x7F, 0xA0))} | set(
    "\u200b\u200e\u200f\u2028\u2029\ufeff\u2066\u2069\u202a\u202e"
)


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x9crest", "rest"),
        ("\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        ("\x9b31mC1 CSI", "C1 CSI"),
        ("\x9d0;t\x9cC1 OSC", "C1 OSC"),
        ("before\x1b]0;never ended", "before"),
        ("cut\x1b[38;5", "cut"),
        ("reset\x1bc", "reset"),
        ("charset\x1b(0", "charset"),
        ("a\u202eb\u2066c", "abc"),
        ("in\u200bvis\ufeffible\u00ad", "invisible"),
        ("bell\x07 and nul\x00", "bell\ufffd and nul\ufffd"),
        ("lone surrogate \ud800", "lone surrogate \ufffd"),
    ],
)
def test_sequences_and_controls_go_and_the_words_stay(hostile: str, safe: str) -> None:
    assert clean(hostile) == safe


def test_an_unterminated_sequence_swallows_its_line_only() -> None:
    assert clean("a\x1b]0;title\nthe next line", newlines=True) == "a\nthe next line"


def test_newlines_and_tabs_stay_only_where_asked() -> None:
    assert clean("a\r\nb\tc") == "a b c"
    assert clean("a\r\nb\rc\td", newlines=True, tabs=True) == "a\nb\nc\td"


@pytest.mark.parametrize(
    "text", ["日本語のテキスト", "Ünïcödé", "e\u0301", "👩\u200d🔬", "नमस्ते", "שָׁלוֹם", "می\u200cخواهم", "❤\ufe0f"]
)
def test_real_writing_is_kept(text: str) -> None:
    assert clean(text) == text


def test_towers_of_marks_are_cut_to_what_scripts_use() -> None:
    assert clean("a" + "\u0301" * 200) == "a" + "\u0301" * 4


def test_random_bytes_never_leave_a_forbidden_character() -> None:
    source = random.Random(3)
    alphabet = "\x1b[]();?0123mHPX^_\\\x07\x9c\x9b\x9d\x90\n\t\rabc\u202e\u200b\u200d\ufe0f\u0301字"
    for _ in range(3000):
        text = clean("".join(source.choice(alphabet) for _ in range(30)))
        assert not FORBIDDEN & set(text)
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def test_cleaning_twice_changes_nothing_more() -> None:
    source = random.Random(4)
    alphabet = "\x1b[]0;m\x07\x9c\x9bP\\a\u202e\u200d\n"
    for _ in range(2000):
        once = clean("".join(source.choice(alphabet) for _ in range(20)), newlines=True)
        assert clean(once, newlines=True) == once


@pytest.mark.parametrize("piece", ["x", "\x1b[", "\x1b]0;", "\u0301", "\u200d", "字\u202e", "\x1bP\x1b"])
def test_a_line_of_a_megabyte_takes_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        start = time.perf_counter()
        clean(text)
        return time.perf_counter() - start

    assert seconds(1_000_000) < 40 * max(seconds(100_000), 0.002)


def test_one_line_folds_white_space() -> None:
    assert one_line("  a\n\n b\t\tc ") == "a b c"


def test_markup_is_literal() -> None:
    from textual.content import Content

    for text in ("[red]not red[/]", "[@click=app.bell]x[/]", "a\\[b]", "[$primary]", "tail\\"):
        assert Content.from_markup(escape_markup(text)).plain == text
