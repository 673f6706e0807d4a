"""Copies in other kinds of text than stories: other scripts, chats, documents, code, question and answer apart."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from core.data.contamination import check_data, check_rows
from core.data.files import open_data
from core.data.text import word_spans, words

QUESTION = "Which river did the surveyors cross twice before they reached the abandoned copper mine near Kalgoorlie?"
SHORT = "How old is the village observatory today?"
FILLER = [
    f"{a} {b} {c} while {d} waited for the ferry with item {i}"
    for i, (a, b, c, d) in enumerate(
        zip(
            ["Nora", "Emil", "Greta", "Hugo", "Iris", "Jan", "Karl", "Lena", "Max", "Nina"] * 4,
            ["painted", "sold", "lost", "found", "broke", "washed", "hid", "mended", "weighed", "traded"] * 4,
            ["lanterns", "kettles", "ladders", "violins", "wagons", "saddles", "mirrors", "anchors"] * 5,
            ["Paul", "Rosa", "Sven", "Tilda", "Uwe", "Vera", "Wim"] * 6,
            strict=False,
        )
    )
]


def _found(*rows: tuple[str, str], samples: tuple[str, ...] = (QUESTION, SHORT)) -> list[str]:
    """The kind of each row's match, empty for none, among forty other rows."""
    _, found = check_rows([*rows, *((text, "yes") for text in FILLER)], list(samples))
    assert not [n for n in found if n >= len(rows) and found[n].sure]
    return [found[n].kind if n in found and found[n].sure else "" for n in range(len(rows))]


def _wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)


@pytest.mark.parametrize("sample", [QUESTION, SHORT, "Où est né le père de Zoë Lefèvre, à l'été ou à Noël?", "서울의 인구는 얼마나 되나요?", "Wie groß ist die STRASSE am Fuß?", "Ποιος έγραψε τους νόμους της Αθήνας;"])  # fmt: skip
def test_other_forms_of_the_same_characters_are_the_same_text(sample: str) -> None:
    forms = [_wide(sample), unicodedata.normalize("NFD", sample), sample.upper(), sample.replace("'", "\u2019")]
    assert all(_found(*((form, "x") for form in forms), samples=(sample,)))


def test_words_stand_where_they_stood_whatever_their_form() -> None:
    text = unicodedata.normalize("NFD", "Zoë") + " \uff34wo ﬁsh 2024年の海"
    spans = word_spans(text)
    assert [w for w, _, _ in spans] == words(text) == ["zoë", "two", "fish", "2024", "年", "の", "海"]
    assert [text[a:b] for _, a, b in spans][1:4] == ["\uff34wo", "ﬁsh", "2024"]


def test_a_short_sample_in_a_wrapper_or_a_document_is_found_and_within_a_sentence_it_is_not() -> None:
    rows = [f"Question: {SHORT}\nAnswer:", f"{FILLER[0]}. {SHORT} {FILLER[1]}.", "He asked how old is the village observatory today, and when it shuts"]  # fmt: skip
    assert _found(*((row, "x") for row in rows)) == ["contained", "contained", ""]


def test_a_sample_far_down_a_long_document_is_found() -> None:
    document = " ".join(f"{text} {i}." for i in range(12) for text in FILLER)
    assert len(document.split()) > 4000
    edited = QUESTION.replace("abandoned", "empty")
    assert all(_found((f"{document} {QUESTION} The end.", "x"), (f"{document} {edited} The end.", "y")))


@pytest.mark.parametrize(
    "row",
    [
        "How old is the new village observatory today?",
        "How old is village observatory today?",
        "How old is the village observatory now?",
        "How is old the village observatory today?",
    ],
)
def test_a_short_sample_with_one_word_edited_is_found(row: str) -> None:
    assert _found((row, "x")) != [""]


def test_one_word_in_a_slot_or_another_name_or_number_makes_another_question() -> None:
    things = ["basalt", "saffron", "penicillin", "inflation", "sourdough", "obsidian", "kabuki", "monsoons"]
    asked = [f"Who was the first to describe {thing} in print?" for thing in things]
    assert _found(*((q, "x") for q in asked[1:]), samples=(asked[0],)) == [""] * 7
    samples = ("What is the capital of France?", "How many legs have 12 spiders?")
    assert _found(("What is the capital of Spain?", "x"), ("How many legs have 13 spiders?", "y"), samples=samples) == ["", ""]  # fmt: skip


def test_question_and_answer_in_two_columns_are_one_sample() -> None:
    pairs = [("What lies under the old mill in Arles?", "a Roman cistern with nine vaults"), ("Who keeps the second key?", "nobody but the harbour master and his deputy")]  # fmt: skip
    assert all(_found(*pairs, samples=tuple(f"{q} {a}" for q, a in pairs)))


def test_thirteen_words_of_a_long_sample_in_another_text_are_a_leak() -> None:
    long = f"{QUESTION} Give its name and say why they had to cross it again after the winter floods of that year."
    row = f"Yesterday I read that {' '.join(long.split()[5:19])} and I wondered who had paid for all that."
    assert _found((row, "x"), samples=(long,)) == ["ngram13"]


def test_words_that_changed_places_leave_a_copy() -> None:
    moved = QUESTION.split()
    for a, b in ((1, 9), (4, 12)):
        moved[a], moved[b] = moved[b], moved[a]
    assert _found((" ".join(moved), "x")) != [""]


def test_a_turn_of_a_chat_under_a_system_prompt_is_compared_by_itself(tmp_path: Path) -> None:
    def chat(text: str) -> str:
        turns = [("system", "You are a helpful assistant."), ("user", text), ("assistant", "7"), ("user", "Thanks!"), ("assistant", "Welcome.")]  # fmt: skip
        return json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n"

    path = tmp_path / "chats.jsonl"
    path.write_text(chat("3 + 4 =") + chat("5 + 4 =") + "".join(map(chat, FILLER)))
    with open_data(path) as data:
        assert [f.row for f in check_data(data, ["3+4="]).findings] == [0]


def test_a_rejected_answer_is_trained_on_too(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {i} in other words", "chosen": text, "rejected": f"No {text[::-1]}"} for i, text in enumerate(FILLER)]  # fmt: skip
    rows[3]["rejected"] = QUESTION
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open_data(path) as data:
        assert [f.row for f in check_data(data, [QUESTION]).findings] == [3]


def test_labels_in_a_script_without_spaces_that_share_a_few_characters_are_no_copies() -> None:
    rows = ("ソケット読み取りのタイムアウト", "テンプレートの対応付け")
    assert _found(*((r, "x") for r in rows), samples=("ソケット接続のタイムアウト", "テンプレートの ID")) == ["", ""]
    sample = "2019年に東京の人口は何人でしたか、正確に教えてください。"
    assert _found((sample.replace("正確", "簡単"), "x"), samples=(sample,)) != [""]
