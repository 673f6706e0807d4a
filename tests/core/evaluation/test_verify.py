"""A completion passes only if it gives the answer, and in the form the gold answers have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.verify import VerifierSpec, check, guess_verifier, last_number, parse_json, score

EXACT, NUMERIC, CHOICE = VerifierSpec(kind="exact"), VerifierSpec(kind="numeric"), VerifierSpec(kind="choice")
JSON, CONTAINS = VerifierSpec(kind="json"), VerifierSpec(kind="contains")


@pytest.mark.parametrize(
    ("spec", "completion", "answer", "right"),
    [
        (EXACT, " 42\n", "42", True),
        (EXACT, "(42)", "42", False),
        (EXACT, "42 43", "42", False),
        (VerifierSpec(kind="exact", ignore_case=True), "Paris", "paris", True),
        (NUMERIC, "3 + 4 = 7, so 7.", "#### 7", True),
        (NUMERIC, "it costs $1,234.50", "1234.5", True),
        (NUMERIC, "7 or 8", "7", False),
        (NUMERIC, "no idea", "7", False),
        (NUMERIC, "-3", "3", False),
        (VerifierSpec(kind="numeric", tolerance=0.5), "3.4", "3", True),
        (CHOICE, "The answer is (B).", "B", True),
        (CHOICE, "b", "B", True),
        (CHOICE, "A or C", "B", False),
        (CHOICE, "Because", "B", False),
        (CONTAINS, "well, Paris I think", "Paris", True),
        (CONTAINS, "anything", "", False),
        (VerifierSpec(kind="regex", pattern=r"\\boxed\{(.*?)\}"), r"so \boxed{1} no \boxed{42}", "42", True),
        (VerifierSpec(kind="regex", pattern=r"\\boxed\{(.*?)\}"), "42", "42", False),
        (VerifierSpec(kind="regex"), "colour", "colou?r", True),
        (JSON, '{"b": 2, "a": 1}', '{"a": 1, "b": 2}', True),
        (JSON, '```json\n{"a": 1}\n```', '{"a": 1}', True),
        (JSON, '{"a": 1} and more', '{"a": 1}', False),
        (JSON, '{"a": true}', '{"a": 1}', False),
        (JSON, "f(a=1)", '{"a": 1}', False),
        (JSON, "not json", "not json", False),
    ],
)
def test_what_counts_as_right(spec: VerifierSpec, completion: str, answer: str, right: bool) -> None:
    assert check(spec, completion, answer) is right


def test_a_score_is_one_exactly_when_the_check_passes_and_json_earns_parts() -> None:
    gold = '{"tool": "t", "args": {"x": 1, "y": 2}}'
    assert score(JSON, gold, gold) == 1.0
    one_wrong = score(JSON, '{"tool": "t", "args": {"x": 1, "y": 3}}', gold)
    assert 0 < one_wrong < 0.5
    assert one_wrong > score(JSON, '{"tool": "u", "args": {"x": 9, "y": 3}}', gold) == 0.0
    assert score(JSON, "t(x=1, y=2)", gold) == 0.0
    assert score(EXACT, "41", "42") == 0.0


def test_padding_json_with_every_member_one_could_think_of_does_not_pay() -> None:
    gold = '{"a": 1}'
    padded = "{" + ", ".join(f'"{c}": 1' for c in "abcdefghij") + "}"
    assert score(JSON, padded, gold) < 0.1


@given(st.text(max_size=60), st.text(max_size=20), st.sampled_from(["exact", "numeric", "choice", "json", "contains"]))
def test_no_text_breaks_a_check_and_scores_stay_within_bounds(completion: str, answer: str, kind: str) -> None:
    spec = VerifierSpec(kind=kind)  # type: ignore[arg-type]
    value = score(spec, completion, answer)
    assert 0 <= value <= 1
    assert (value == 1) == check(spec, completion, answer)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (['{"a": 1}', '{"b": [2]}'] * 10, "json"),
        (["A", "C", "(B)", "D."] * 5, "choice"),
        (["12", "7", "100"], "exact"),
        (["She has 3 apples and buys 4 more. 3 + 4 = 7\n#### 7"] * 5, "numeric"),
        (["abc", "a b c", "x"], "exact"),
        ([], "exact"),
    ],
)
def test_the_kind_is_guessed_from_the_gold_answers(answers: list[str], kind: str) -> None:
    assert guess_verifier(answers).kind == kind
    assert guess_verifier(answers).reason


def test_a_few_wrong_labels_do_not_change_the_guess() -> None:
    assert guess_verifier(['{"a": 1}'] * 19 + ["f(a=1)"]).kind == "json"


def test_numbers_and_json_are_read_strictly() -> None:
    assert last_number("1,234 then 5e3") == 5000
    assert last_number("none") is None
    assert parse_json("[" * 100_000) is not None  # UNSET, and no recursion error
