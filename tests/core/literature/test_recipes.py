"""The recipe library: every card is sound, every TRL argument exists, and a question finds its answer."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import msgspec
import pytest

from core.errors import NotFound
from core.literature import recipes
from core.literature.card import CARDS, NEEDS, SIGNS, Card, load_cards, parse_size, read_cards
from core.literature.card_text import card_lines
from core.literature.ids import find_arxiv_id
from intern_tui.commands.tools import recipes as command

ALL = load_cards()
SIZES = (
    153_000,
    800_000,
    10_000_000,
    50_000_000,
    135_000_000,
    600_000_000,
    1_700_000_000,
    8_000_000_000,
    32_000_000_000,
)


@pytest.fixture(params=ALL, ids=[card.id for card in ALL])
def card(request: pytest.FixtureRequest) -> Card:
    return request.param


def test_there_are_enough_cards_of_every_kind() -> None:
    assert len(ALL) >= 60
    assert {card.kind for card in ALL} == {"method", "data", "evaluation", "diagnosis"}


def test_ids_and_papers_are_unique() -> None:
    ids = [card.id for card in ALL]
    papers = [card.arxiv for card in ALL if card.arxiv]
    assert len(ids) == len(set(ids))
    assert len(papers) == len(set(papers))


def test_a_card_has_its_parts(card: Card) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.id)
    assert card.arxiv or card.url, "a card without a source"
    assert not card.arxiv or find_arxiv_id(card.arxiv) == card.arxiv
    if card.arxiv:
        assert abs(card.year - (2000 + int(card.arxiv[:2]))) == 0, "the id's first digits are the year"
    assert len(card.summary) > 80
    assert len(card.when) > 30
    assert set(card.needs) <= set(NEEDS)
    assert card.signs
    assert set(card.signs) <= set(SIGNS)
    assert card.failures


def test_citations_lead_to_cards(card: Card) -> None:
    known = {other.id: other for other in ALL}
    assert set(card.cites) <= set(known) - {card.id}
    assert [one for one in card.cites if known[one].year > card.year] == [], "cites a later work"


def test_numbers_have_a_place_and_sensible_bounds(card: Card) -> None:
    for hyper in card.hyper:
        assert hyper.place.strip()
        assert (hyper.value is None) != (hyper.low is None), f"{hyper.name}: a number or a word, not both"
        assert (hyper.low is None) == (hyper.high is None)
        if hyper.low is not None and hyper.high is not None:
            assert hyper.low <= hyper.high
        assert hyper.params_min < hyper.params_max
        if hyper.name == "lr":
            assert 0 < (hyper.low or 0) <= (hyper.high or 0) <= 0.02
    for result in card.results:
        assert result.place.strip()


def test_no_card_speaks_in_anyone_elses_words_at_length(card: Card) -> None:
    """Cards are ours: short, and without the quotation marks of copied sentences."""
    for text in (card.summary, card.when, card.data, *card.failures):
        assert len(text) < 700
        assert "“" not in text


@cache
def classes(file: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}


@cache
def package(name: str) -> Path:
    """Folder of an installed package, found without importing it (torch would come along)."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip(f"{name} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def folder_of(module: str) -> Path:
    return package("trl") / ("trainer" if module == "trl" else module.removeprefix("trl.").replace(".", "/"))


def find_class(name: str, folder: Path) -> ast.ClassDef | None:
    return next((found[name] for file in sorted(folder.glob("*.py")) if name in (found := classes(file))), None)


def fields_of(config: str, folder: Path) -> set[str]:
    """Fields of a config class and of all it inherits from."""
    node = find_class(config, folder) or find_class(config, package("trl") / "trainer")
    if node is None:
        node = classes(package("transformers") / "training_args.py")[config]
    own = {
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return own.union(*(fields_of(base, folder) for base in bases if base != "object"))


def test_the_trl_recipe_exists_in_the_installed_version(card: Card) -> None:
    if card.trl is None:
        return
    folder = folder_of(card.trl.module)
    assert find_class(card.trl.trainer, folder), f"{card.trl.module} has no {card.trl.trainer}"
    assert find_class(card.trl.config, folder), f"{card.trl.module} has no {card.trl.config}"
    assert set(card.trl.args) - fields_of(card.trl.config, folder) == set()
    if card.trl.peft:
        lora = classes(package("peft") / "tuners" / "lora" / "config.py")["LoraConfig"]
        known = {
            node.target.id
            for node in lora.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        assert set(card.trl.peft) - known == set()


def test_the_check_on_arguments_can_fail() -> None:
    fields = fields_of("GRPOConfig", folder_of("trl"))
    assert {"beta", "loss_type", "learning_rate", "warmup_steps"} <= fields
    assert "warmup_ratio" not in fields, "gone in transformers 5: warmup_steps below 1 is a ratio"
    assert "no_such_argument" not in fields


def test_loss_types_are_ones_that_trl_documents(card: Card) -> None:
    if card.trl is None or "loss_type" not in card.trl.args:
        return
    folder = folder_of(card.trl.module)
    file = next(file for file in sorted(folder.glob("*.py")) if card.trl.config in classes(file))
    given = card.trl.args["loss_type"]
    source = file.read_text("utf-8")
    for name in given if isinstance(given, list) else [given]:
        assert re.search(rf"""["'`]{name}["'`]""", source), f"{card.trl.config} does not know loss_type {name!r}"


@pytest.mark.slow
def test_the_trl_recipes_really_construct() -> None:
    """Each configuration is built by the installed TRL, in a process of its own."""
    script = """
import importlib, json, sys, tempfile
from core.literature.card import load_cards
failed = []
for card in load_cards():
    if card.trl is None: continue
    config = getattr(importlib.import_module(card.trl.module), card.trl.config)
    extra = {"use_cpu": True, "bf16": False, "output_dir": tempfile.mkdtemp(), "report_to": "none"}
    args = {**extra, **card.trl.args}
    if "num_generations" in args: args.setdefault("per_device_train_batch_size", args["num_generations"])
    try: config(**args)
    except Exception as error: failed.append(f"{card.id}: {type(error).__name__}: {error}"[:300])
    if card.trl.peft:
        from peft import LoraConfig
        LoraConfig(**card.trl.peft)
print(json.dumps(failed))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("method", ["sft", "dpo", "grpo", "rft"])
def test_every_size_has_a_learning_rate_and_it_falls_with_size(method: str, lora: bool) -> None:
    ranges = [recipes.lr_range(method, size, lora) for size in SIZES]
    assert all(0 < low <= high for low, high, _ in ranges)
    assert [low for low, _, _ in ranges] == sorted((low for low, _, _ in ranges), reverse=True)
    assert all(card.id.startswith("sizes-") for _, _, card in ranges)


@pytest.mark.parametrize("size", SIZES)
def test_reinforcement_learning_takes_smaller_steps_than_tuning_and_lora_larger_ones(size: int) -> None:
    for lora in (False, True):
        assert recipes.lr_range("grpo", size, lora)[1] < recipes.lr_range("sft", size, lora)[1]
        assert recipes.lr_range("dpo", size, lora)[1] < recipes.lr_range("sft", size, lora)[1]
    for method in ("sft", "dpo", "grpo"):
        assert recipes.lr_range(method, size, True)[0] > recipes.lr_range(method, size, False)[0]


def test_a_paper_gives_its_own_rate_and_a_gap_is_said() -> None:
    assert recipes.lr_range("dapo", 32_000_000_000, False)[:2] == (1e-6, 1e-6)
    with pytest.raises(NotFound, match="no card gives a learning rate"):
        recipes.lr_range("dapo", 800_000, False)
    with pytest.raises(NotFound):
        recipes.lr_range("no-such-method", 10**9, False)


def test_hyperparameters_name_their_source() -> None:
    small = recipes.hyperparameters("grpo", 800_000, False)
    assert {"lr", "beta", "generations", "batch", "temperature"} <= set(small)
    assert (small["lr"].card, small["lr"].basis) == ("sizes-grpo", "practice")
    assert "delta" not in small, "a variant's own knob is not a setting of the method"
    assert recipes.hyperparameters("intellect-2", 32_000_000_000, False)["delta"].low == 4
    assert recipes.hyperparameters("sft", 1_700_000_000, True)["rank"].card
    assert recipes.hyperparameters("rft", 1_700_000_000, False)["samples_per_prompt"].card in {"rft", "rest-em"}
    assert all(choice.place for choice in small.values())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("group relative policy optimization", "deepseekmath"),
        ("low-rank adapters learning rate", "lora-without-regret"),
        ("4-bit quantized base on one GPU", "qlora"),
        ("a thousand carefully chosen examples", "lima"),
        ("clip higher dynamic sampling overlong", "dapo"),
        ("mislabelled examples", "confident-learning"),
        ("near duplicate removal", "deduplication"),
        ("rejection sampling verified solutions fine-tuning", "rft"),
        ("preference pairs without reward model", "dpo"),
        ("2503.20783", "dr-grpo"),
        ("unmerged adapter scores as nothing", "posttrainbench"),
    ],
)
def test_a_question_finds_its_card(query: str, expected: str) -> None:
    assert expected in [match.card.id for match in recipes.search(query, limit=4)]


@pytest.mark.parametrize("sign", sorted(SIGNS))
def test_every_symptom_has_a_remedy(sign: str) -> None:
    matches = recipes.search("", signs={sign}, limit=100)
    assert matches
    assert all(sign in match.card.signs for match in matches)
    assert all(any(sign in reason for reason in match.why) for match in matches)


def test_what_one_does_not_have_is_not_proposed() -> None:
    for match in recipes.search("", needs={"answers_checkable"}, limit=200):
        assert set(match.card.needs) <= {"answers_checkable", "prompts"}
    assert "dpo" not in {match.card.id for match in recipes.search("preference", needs={"demonstrations"}, limit=99)}


def test_size_brings_fitting_cards_forward_and_says_so() -> None:
    matches = recipes.search("grpo reinforcement learning", params=800_000, limit=99)
    place = {match.card.id: at for at, match in enumerate(matches)}
    assert place["sizes-grpo"] < place["intellect-2"]
    pocket = next(match for match in matches if match.card.id == "sizes-grpo")
    assert any("800,000" in reason for reason in pocket.why)


def test_the_same_question_has_the_same_answer_in_another_process() -> None:
    asked = "[(m.card.id, m.score) for m in search('stop entropy collapse', limit=20)]"
    code = f"from core.literature.recipes import search; print({asked})"
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert runs == {f"{[(m.card.id, m.score) for m in recipes.search('stop entropy collapse', limit=20)]}\n"}


def test_misspelt_words_are_refused_not_answered_with_nothing() -> None:
    with pytest.raises(NotFound, match="unknown symptom: entropy_colapse"):
        recipes.search("", signs={"entropy_colapse"})
    with pytest.raises(NotFound, match="unknown need"):
        recipes.search("", needs={"luck"})
    with pytest.raises(NotFound, match="no recipe card named 'dap'"):
        recipes.get("dap")
    assert recipes.get("dapo").arxiv == "2503.14476"


def test_nothing_matches_nonsense() -> None:
    assert recipes.search("zzyzx qwertyuiop") == []


def test_a_card_without_a_place_does_not_load(tmp_path: Path) -> None:
    text = (CARDS / "rejection.toml").read_text("utf-8")
    bad = tmp_path / "bad.toml"
    bad.write_text(re.sub(r', place = "Section 3\.3: k = 100"', "", text), "utf-8")
    with pytest.raises(msgspec.ValidationError, match="place"):
        read_cards(bad)
    bad.write_text("[[card]\n", "utf-8")
    with pytest.raises(tomllib.TOMLDecodeError):
        read_cards(bad)


def test_sizes_are_read_as_written() -> None:
    assert [parse_size(text) for text in ("0", "800k", "1.7B", "10M", "inf")] == [0, 8e5, 1.7e9, 1e7, float("inf")]


def test_the_library_is_light() -> None:
    heavy = "('torch', 'trl', 'transformers', 'numpy', 'requests', 'httpx', 'httpx2', 'arxiv', 'huggingface_hub')"
    code = "import sys, core.literature.recipes as r, core.literature.library; r.search('dpo')"
    code += f"; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_card_as_text_has_everything_it_holds(card: Card) -> None:
    text = "\n".join(card_lines(card))
    flat = " ".join(text.split())
    for part in (card.title, card.source, card.summary, card.when, card.data, *card.failures, *card.cites):
        assert " ".join(part.split()) in flat
    assert all(one.name in text and one.place in text for one in card.hyper)
    assert all(one.place in text and f"{one.value:g}" in text for one in card.results)
    assert card.trl is None or all(f"{name} = " in text for name in (*card.trl.args, *card.trl.peft))


def test_the_card_that_a_question_names_comes_first() -> None:
    for query, first in (("dpo", "dpo"), ("lora rank", "lora"), ("dr grpo", "dr-grpo"), ("ppo clip", "ppo")):
        assert recipes.search(query)[0].card.id == first
    methods = [match.card.method for match in recipes.search("newest grpo variants", limit=12)]
    assert methods.count("grpo") >= 10


def test_the_command_shows_a_card_a_list_or_says_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(argparse.Namespace(query=["dapo"], json=False)) == 0
    shown = capsys.readouterr().out
    assert "epsilon_high = 0.28  [Section 4.1]" in shown
    assert "trl.GRPOTrainer" in shown
    assert command(argparse.Namespace(query=["preference", "pairs"], json=False)) == 0
    assert "intern recipes " in capsys.readouterr().out
    with pytest.raises(NotFound, match="intern recipes"):
        command(argparse.Namespace(query=["zzzqq"], json=False))
    assert command(argparse.Namespace(query=["zzzqq"], json=True)) == 0
    assert capsys.readouterr().out.strip() == "[]"
