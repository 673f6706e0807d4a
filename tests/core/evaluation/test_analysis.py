"""Each kind of wrong answer is told from the others without knowing the task."""

from __future__ import annotations

import pytest

from core.evaluation.analysis import KINDS, Sample, analyse, classify, edit_distance, gold_shape, wrong_equation


def sample(completion: str, answer: str, *, ended: bool = True, correct: bool = False, id: str = "x") -> Sample:
    return Sample(id=id, prompt="?", answer=answer, completion=completion, correct=correct, ended=ended)


@pytest.mark.parametrize(
    ("completion", "answer", "shape", "kind"),
    [
        ("", "42", "number", "empty"),
        ("(42)", "42", "number", "extra_text"),
        ("the answer is 42", "42", "number", "extra_text"),
        ("(43)", "42", "number", "wrong_format"),
        ("43", "42", "number", "near_miss"),
        ("142", "42", "number", "wrong_content"),
        ("abd", "abcd", "word", "near_miss"),
        ("xyz", "abcd", "word", "wrong_content"),
        ("abcd,abcd", "abcd", "word", "extra_text"),
        ("f(a=1)", '{"a": 1}', "json", "wrong_format"),
        ('{"a": 2, "b": 1}', '{"a": 1, "b": 1}', "json", "near_miss"),
        ('{"a": 2, "b": 2}', '{"a": 1, "b": 1}', "json", "wrong_content"),
        ('{"c": 2}', '{"a": 1}', "json", "wrong_content"),
        ("I'm sorry, but I can't help with that.", "42", "number", "refusal"),
        ("As an AI, I have no opinion.", "B", "letter", "refusal"),
        ("He has 17 + 25 = 43 apples", "42", "number", "arithmetic"),
        ("17 + 25 = 42, so 42 - 2 = 40", "41", "number", "wrong_format"),
    ],
)
def test_one_wrong_answer_has_one_kind(completion: str, answer: str, shape: str, kind: str) -> None:
    assert classify(sample(completion, answer), shape) == kind


def test_an_answer_that_never_ended_is_that_first() -> None:
    assert classify(sample("42 42 42", "42", ended=False), "number") == "never_ended"


@pytest.mark.parametrize(
    ("answers", "shape"),
    [
        (["1", "-2.5", "1,000"], "number"),
        (['{"a": 1}', "[1]"], "json"),
        (["A", "B"], "letter"),
        (["abc", "xyz"], "word"),
        (["a b", "c"], "text"),
        ([], "text"),
    ],
)
def test_the_shape_is_read_from_the_gold_answers(answers: list[str], shape: str) -> None:
    assert gold_shape(answers) == shape


def test_a_report_counts_every_wrong_answer_once_and_puts_the_largest_group_first() -> None:
    samples = [sample(str(i), str(i), correct=True) for i in range(40)]
    samples += [sample(str(i + 1), str(i)) for i in range(30)]
    samples += [sample(f"({i})", str(i)) for i in range(20)]
    samples += [sample(f"{i} {i}", str(i), ended=False) for i in range(10)]
    report = analyse(samples, examples=2)
    assert (report.n, report.wrong, report.main) == (100, 60, "near_miss")
    assert [(g.kind, g.count, g.gold_inside) for g in report.groups] == [
        ("near_miss", 30, 0),
        ("extra_text", 20, 20),
        ("never_ended", 10, 10),
    ]
    assert report.ended_share == 0.9
    assert all(len(g.examples) == 2 and g.kind in KINDS for g in report.groups)


def test_an_empty_evaluation_has_an_empty_report() -> None:
    assert analyse([]).groups == ()


@pytest.mark.parametrize(
    ("a", "b", "d"), [("kitten", "sitten", 1), ("abc", "abc", 0), ("abc", "cba", 2), ("a", "abcdef", 3)]
)
def test_edit_distance_is_levenshteins_up_to_a_limit(a: str, b: str, d: int) -> None:
    assert edit_distance(a, b) == d


@pytest.mark.parametrize("text", ["17 + 25 = 42", "10/3=3.33", "1,200 * 3 = 3,600.", "-3 - 4 = -7", "2 + 3 + 4 = 9", "x = 3", "5/0=1", "10 ÷ 4 = 2.5"])  # fmt: skip
def test_equations_that_hold_or_are_none(text: str) -> None:
    assert wrong_equation(text) == ""


@pytest.mark.parametrize(("text", "wrong"), [("10/3=3.34", "10/3=3.34"), ("2+3=5, 5*4=21 so 21", "5*4=21"), ("7 × 8 = $54", "7 × 8 = $54")])  # fmt: skip
def test_the_first_equation_that_does_not_hold_is_shown(text: str, wrong: str) -> None:
    assert wrong_equation(text) == wrong
