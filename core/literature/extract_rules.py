"""How papers write hyperparameters and data sets: the patterns behind `extract.py`, and numbers in their forms."""

from __future__ import annotations

import re

import msgspec

_TIMES = r"(?:\\times|×|·|\\cdot|\*|x)"
_TEN_TO = r"10\s*\^?\s*\{?\s*[-−–]?\s*\d+\s*\}?"
_NEGATIVE_POWER = r"10\s*\^\s*\{?\s*[-−–]\s*\d+\s*\}?"
# Digits are bounded and start a number: else a hostile run of them costs quadratic time.
_PLAIN = r"(?:\d[\d,]{0,14}(?:\.\d{1,12})?|\.\d{1,12})"
NUMBER = rf"(?:{_NEGATIVE_POWER}|{_PLAIN}(?:\s*[eE]\s*[-−–]?\s*\d+|\s*{_TIMES}\s*{_TEN_TO})?)"
"""`1e-6`, `5 \\times 10^{-7}`, `1,024`, `.001`, `10^{-4}`, which comes first: it starts with a plain 10."""

_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10, "sixteen": 16}
_SYMBOL = r"(?:\([^)]{0,30}\)\s*)?(?:\$?\\?\w{0,8}\$?\s*)?"
_VERB = r"(?:(?:is|was|are|were)?\s*(?:set|fixed|equal)?\s*(?:to|of|at|as|is|was|=|:|≈|\\approx)\s*){0,4}"
# At most four of them: without a bound, "is is is ..." in a hostile text would take exponential time.
_IS = rf"\s*{_SYMBOL}{_VERB}(?:be\s*)?\$?\s*"
_COUNT = r"(?<![\w.,])(?P<v>\d[\d,]{0,14}|" + "|".join(_WORDS) + r")"
_ANSWERS = r"(?:responses|samples|completions|outputs|rollouts|generations|answers|solutions)"
_ASKED = r"(?:per|for each|for every|from each|to each)\s+(?:prompt|question|query|problem|input)"


_NOT_COUNTED = r"(?!\s*-?(?:[KMB]|million|thousand|billion)\b)(?!\s*tokens?\s+(?:per|in|a)\b)"
"""A batch of 4M tokens is not one of 4, and none of sequences."""


class Rule(msgspec.Struct, frozen=True):
    """A pattern with one named group that is not None, and the range in which its number makes sense."""

    name: str
    pattern: re.Pattern[str]
    low: float
    high: float


def _after(name: str, words: str, low: float, high: float) -> Rule:
    """`<words> (is|of|=|...) <number>`."""
    pattern = rf"{words}{_IS}(?P<v>(?>{NUMBER})){_NOT_COUNTED}"  # atomic: half a number is none
    return Rule(name, re.compile(pattern, re.IGNORECASE), low, high)


def _rule(name: str, pattern: str, low: float, high: float) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), low, high)


RULES = (
    _after("lr", r"\b(?:learning[- ]rates?|LR|step size)(?!\s*(?:warm|sched|decay))", 1e-9, 1.0),
    _rule(
        "lr",
        rf"(?<![\w.,])(?P<v>{NUMBER})\s*\$?\s*(?:as the |peak |initial |constant |maximum ){{0,3}}learning rate",
        1e-9,
        1.0,
    ),
    _after("batch", r"\b(?:(?:global|total|effective|training|train|mini-?)\s*){0,3}batch[- ]sizes?", 1, 1e7),
    _rule("epochs", rf"{_COUNT}\s+epochs?\b", 1, 1000),
    _rule("epochs", r"\bepochs?\s*(?::|=|is|was|to)\s*(?P<v>\d{1,4})(?![\d.,]*\d)", 1, 1000),
    _after("beta", r"\bKL(?:[- ]\w+){0,2}\s+(?:coefficient|coeff\.?|weight|penalty|constant)", 0, 100),
    _after("beta", r"(?:β|\\beta\b|\bbeta\b)(?!\s*_?\{?[12])", 0, 100),
    _rule("generations", rf"{_COUNT}\s+(?:\w+\s+)?{_ANSWERS}\s+{_ASKED}", 2, 4096),
    _after("generations", r"\bgroup size", 2, 4096),
    _after("temperature", r"\b(?:sampling |softmax |rollout ){0,2}temperature", 0, 5),
    _after("rank", r"\bLoRA\s+rank", 1, 4096),
    _rule(
        "lora_alpha",
        r"\bLoRA\b[^.\n]{0,80}?(?:\balpha|\\alpha|α)\s*(?:=|of|is|:)\s*(?P<v>\d{1,4})(?![\d.,]*\d)",
        1,
        4096,
    ),
    _after("lora_alpha", r"\bLoRA\s+(?:alpha|\\alpha|α)", 1, 4096),
    _after("warmup_ratio", r"\bwarm-?up\s+(?:ratio|fraction)", 0, 1),
    _rule("warmup_steps", rf"{_COUNT}\s+(?:\w+\s+){{0,2}}warm-?up\s+steps", 1, 1e6),
    _rule("warmup_steps", r"warm-?up\s+(?:of|over|for)\s+(?P<v>\d[\d,]{0,14})\s+(?:\w+\s+)?steps", 1, 1e6),
    _after("weight_decay", r"\bweight decay", 0, 1),
    _after("epsilon", r"\b(?:clip(?:ping)?\s+(?:range|ratio|parameter|threshold|epsilon))", 1e-5, 20),
    _after(
        "max_completion", r"\bmax(?:imum)?\s+(?:completion|response|generation|output|new)\s+(?:length|tokens)", 8, 1e6
    ),
)

HUB_NAME = re.compile(r"(?<![\w/.@-])([A-Za-z0-9][\w.-]{1,38}/[A-Za-z0-9][\w.-]{2,60})(?![\w/])")

_BENCHMARKS = (
    r"GSM8K|MATH(?:-?500)?|AIME(?: ?20\d\d)?|MMLU(?:-Pro)?|HumanEval\+?|MBPP\+?|GPQA(?:[- ]Diamond)?|IFEval|"
    r"AlpacaEval(?: ?2(?:\.0)?)?|ARC(?:-Challenge|-Easy)|HellaSwag|TruthfulQA|BBH|DROP|LiveCodeBench|SVAMP|"
    r"SWE-bench(?: Verified)?|CommonsenseQA|StrategyQA|Countdown"
)
_TRAINING_SETS = (
    r"UltraFeedback|UltraChat|OpenHermes(?:-2\.5)?|Alpaca|Dolly|ShareGPT|OASST1?|FLAN(?: v2)?|HH-RLHF|TL;DR|MetaMathQA|"
    r"OpenMathInstruct(?:-[12])?|NuminaMath(?:-CoT)?|DeepMath-103K|DAPO-Math-17[kK]|"
    r"OpenThoughts(?:-114k|3)?|Tulu ?3|SmolTalk"
)
KNOWN = re.compile(rf"\b({_BENCHMARKS}|{_TRAINING_SETS})(?![\w-])")
"""Data sets of the field by the names papers use. Case counts: "MATH" is a data set, "math" is not."""


METHODS = {
    "grpo": re.compile(r"\bGRPO\b|group[- ]relative policy", re.IGNORECASE),
    "ppo": re.compile(r"\bPPO\b|proximal policy"),
    "dpo": re.compile(r"\bDPO\b|direct preference", re.IGNORECASE),
    "sft": re.compile(r"\bSFT\b|supervised fine-?tun\w+|instruction tuning", re.IGNORECASE),
    "rejection": re.compile(r"\bRFT\b|rejection sampling|best-of-n", re.IGNORECASE),
    "distillation": re.compile(r"\bdistill\w*", re.IGNORECASE),
    "rlhf": re.compile(r"\bRLHF\b|reward model", re.IGNORECASE),
    "lora": re.compile(r"\bQ?LoRA\b|low-rank adapt", re.IGNORECASE),
}
MODEL_SIZE = re.compile(
    r"(?<![\w.])(\d{1,4}(?:\.\d{1,2})?)[ -]?([BM]|billion|million)\b(?=[ -](?:param|model|base|version|checkpoint)|[.,;)])"
)


def parse_number(raw: str) -> float | None:
    """A number as papers write it: `1e-6`, `5 \\times 10^{-7}`, `1,024`, `10^{-4}`, `three`; None if it is none."""
    text = raw.strip().lower()
    if text in _WORDS:
        return float(_WORDS[text])
    text = re.sub(r"[−–]", "-", text)
    text = re.sub(r"[,{}\s]", "", text)
    text = re.sub(rf"{_TIMES}10\^?", "e", text)
    text = re.sub(r"^10\^", "1e", text)
    try:
        return float(text)
    except ValueError:
        return None
