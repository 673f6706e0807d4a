"""Recipes out of text: what is stated is found with its place; what is not stated is not found."""

from __future__ import annotations

import pytest

from core.literature.extract import extract, extract_section
from core.literature.extract_rules import parse_number
from core.literature.extract_tables import compared, results_of
from core.literature.markdown_sections import parse_markdown
from core.literature.papers import PaperText, Section, Table
from tests.servers.papers import BODY


def section(text: str) -> Section:
    return Section(number="4.1", title="Setup", level=2, text=text)


def values(text: str) -> set[tuple[str, float]]:
    return {(found.name, found.value) for found in extract_section(section(text))}


def test_a_whole_paper() -> None:
    title, sections = parse_markdown(BODY)
    found = extract(PaperText(id="3101.00001", title=title, source="hub", url="", sections=sections))
    assert {(f.name, f.value) for f in found.findings} == {
        ("lr", 3e-6),
        ("batch", 256.0),
        ("generations", 16.0),
        ("temperature", 0.9),
        ("beta", 0.005),
        ("epochs", 3.0),
        ("epsilon", 0.2),
        ("warmup_steps", 100.0),
    }
    assert all(f.place and f.quote for f in found.findings)
    lr = next(f for f in found.findings if f.value == 3e-6)
    assert lr.place == "Section 2.2 (Setup), paragraph 1"
    assert "constant learning rate" in lr.quote
    assert {d.name for d in found.datasets} == {"GSM8K", "aviary/parrot-counts-10k"}
    best = next(r for r in found.results if r.value == 61.7)
    assert best.place == "Table 1, row 'Parrot + group rewards', column 'Eggs' (Section 3 (Results))"
    assert {r.value for r in found.results} == {12.5, 3.1, 40.2, 11.0, 61.7, 19.4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The learning rate is set to 1e-6.", ("lr", 1e-6)),
        ("with a peak learning rate of 5 × 10^−7", ("lr", 5e-7)),
        ("learning rates of $2\\times10^{-5}$ for SFT", ("lr", 2e-5)),
        ("We use a 1e-4 learning rate", ("lr", 1e-4)),
        ("a learning rate of $10^{-4}$", ("lr", 1e-4)),
        ("learning rate = 0.0003", ("lr", 3e-4)),
        ("learning rate (AdamW) of 2e-4", ("lr", 2e-4)),
        ("global batch size of 1,024 sequences", ("batch", 1024)),
        ("the mini-batch size is 64", ("batch", 64)),
        ("trained for two epochs", ("epochs", 2)),
        ("a KL penalty coefficient of 0.04", ("beta", 0.04)),
        ("we set $\\beta = 0.1$", ("beta", 0.1)),
        ("we sample 64 outputs for each question", ("generations", 64)),
        ("The group size is 8", ("generations", 8)),
        ("sampling temperature of 0.7", ("temperature", 0.7)),
        ("LoRA rank of 64", ("rank", 64)),
        ("weight decay of 0.1", ("weight_decay", 0.1)),
        ("a maximum response length of 16,384 tokens", ("max_completion", 16384)),
    ],
)
def test_the_usual_ways_to_say_it(text: str, expected: tuple[str, float]) -> None:
    assert expected in values(text)


@pytest.mark.parametrize(
    "text",
    [
        "The learning rate warmup lasts 0.1 of training.",
        "A learning rate schedule with 3 stages was used.",
        "AdamW with beta_1 = 0.9 and beta2 of 0.999",
        "We discuss the learning rate in Section 0.",
        "The learning rate matters. 5 birds agreed.",
        "many epochs later",
        "temperature in the aviary was 31 degrees",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert not [found for found in values(text) if found[0] != "temperature" or found[1] <= 5]


def test_a_paper_that_states_nothing_gives_nothing() -> None:
    text = PaperText(id="x", title="", source="hub", url="", sections=(section("Birds are nice. They count well."),))
    found = extract(text)
    assert (found.findings, found.datasets, found.results) == ((), (), ())


@pytest.mark.parametrize(
    "hostile",
    [
        "1 2 3 " * 20_000 + " learning rate " * 2_000,
        "learning rate " + "is " * 20_000,
        "learning rate" + " " * 50_000 + "x",
        "batch size " + "1," * 20_000 + "x",
        "rollout " * 10_000 + "(" * 10_000,
    ],
)
@pytest.mark.timeout(20)
def test_text_made_to_choke_patterns_does_not(hostile: str) -> None:
    extract_section(section(hostile))


@pytest.mark.parametrize(
    ("raw", "value"), [("1,024", 1024), (".001", 0.001), ("3 \\cdot 10^{-5}", 3e-5), ("10^{-4}", 1e-4), ("three", 3)]
)
def test_numbers_in_their_forms(raw: str, value: float) -> None:
    assert parse_number(raw) == pytest.approx(value)


def test_a_cell_without_a_name_or_heading_is_not_cited() -> None:
    table = Table(label="Table 2", caption="", rows=(("Model", ""), ("A", "10"), ("", "20")))
    assert results_of(table, "Section 1") == []


def test_headings_over_two_rows_are_joined() -> None:
    table = Table(
        label="Table 2",
        caption="",
        header=2,
        rows=(("", "Held out", ""), ("Model", "Eggs", "Seeds"), ("GRPO", "61.7%", "19.4 (0.8)")),
    )
    assert [(r.column, r.value) for r in results_of(table, "S")] == [
        ("Held out / Eggs", 61.7),
        ("Held out / Seeds", 19.4),
    ]


@pytest.mark.parametrize(
    ("sentence", "name", "expected"),
    [
        ("We use a batch size of 4M tokens.", "batch", []),
        ("We use a batch size of 40 million tokens.", "batch", []),
        ("A batch size of 128K is used.", "batch", []),
        ("A batch size of 128 is used.", "batch", [128]),
        ("A learning rate of 1e-6,3e-6 in turn.", "lr", [1e-6]),
        ("Epochs: 3. LoRA rank r = 16, alpha = 32.", "epochs", [3]),
        ("Epochs: 3. LoRA rank r = 16, alpha = 32.", "lora_alpha", [32]),
        ("The number of epochs is 2.", "epochs", [2]),
    ],
)
def test_a_number_is_taken_whole_and_in_its_unit_or_not_at_all(sentence: str, name: str, expected: list[float]) -> None:
    assert [found.value for found in extract_section(section(sentence)) if found.name == name] == expected


@pytest.mark.parametrize(
    ("rows", "baseline", "result"),
    [
        ((("Model", "Params (B)", "GSM8K"), ("Base", "7", "41"), ("GRPO", "70", "60"), ("SFT", "7", "55")), 41, 60),
        ((("Model", "Val loss"), ("Base", "1.9"), ("DPO", "1.2"), ("GRPO", "2.5")), 1.9, 1.2),
        ((("Model", "GSM8K"), ("Qwen-Base", "41"), ("Qwen-Base + GRPO", "60"), ("SFT", "55")), 41, 60),
    ],
    ids=["sizes are no scores", "of losses the smallest", "a base with more is no base"],
)
def test_baseline_and_result_are_scores(rows: tuple[tuple[str, ...], ...], baseline: float, result: float) -> None:
    found = compared(results_of(Table(label="Table 1", caption="", rows=rows), "Section 3"))
    assert (found["baseline"].value, found["result"].value) == (baseline, result)
