"""The laboratory of the labelled runs: sums of two numbers, a character tokenizer, and two sizes of base model.

The bases learnt from a noisy teacher (many answers off by one, bracketed answers mostly wrong), so that a policy has
something to gain, something to lose, and a format to be bribed with.
"""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

SIZES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 12},
    "large": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "head_dim": 32},
}
"""About 60 thousand and 600 thousand parameters."""
PRETRAINING = {"small": (450, 4e-3), "large": (500, 2e-3)}
"""(train steps of 64 rows, peak learning rate): ends where a third to a half of the answers are right."""
LARGEST = 40
MAX_NEW = 8


def tokenizer() -> PreTrainedTokenizerFast:
    tokens = ["<pad>", "<end>", *"0123456789+-=[] "]
    inner = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("<end>|<pad>|."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<pad>", padding_side="left")


def sums(part: str) -> list[tuple[str, str]]:
    """(prompt, answer) of `train` or `held`; every fifth prompt, by its hash, is held out."""
    pairs = [(f"{a}+{b}=", str(a + b)) for a in range(LARGEST) for b in range(LARGEST)]
    held = [int(hashlib.sha256(p.encode()).hexdigest(), 16) % 5 == 0 for p, _ in pairs]
    return [pair for pair, out in zip(pairs, held, strict=True) if out == (part == "held")]


def taught(answer: str, rng: random.Random) -> str:
    """What the noisy teacher says."""
    value = int(answer)
    if rng.random() < 0.25:
        return f"[{value + rng.choice((-3, -2, 2, 3, 0))}]"
    return str(value + (rng.choice((-1, 1)) if rng.random() < 0.35 else 0))


def exact(completion: str, answer: str) -> bool:
    return completion == answer


def base(size: str, folder: Path) -> Path:
    """The folder of a base, made on first use."""
    made = folder / size
    if (made / "config.json").exists():
        return made
    torch.manual_seed(0)
    tok = tokenizer()
    config = AutoConfig.for_model(
        "qwen3", vocab_size=len(tok), num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id,
        **SIZES[size],
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    pretrain(model, tok, *PRETRAINING[size])
    model.save_pretrained(made)
    tok.save_pretrained(made)
    return made


def pretrain(model: Any, tok: Any, steps: int, peak: float) -> None:
    """Next-token prediction on the noisy teacher's answers."""
    rng, rows = random.Random(0), sums("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, (step + 1) / 30, 1.1 - step / steps)
        texts = [p + taught(a, rng) + "<end>" for p, a in rng.choices(rows, k=64)]
        batch = tok(texts, return_tensors="pt", padding=True, padding_side="right")
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        loss = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@torch.no_grad()
def accuracy(model: Any, tok: Any, n: int = 200, seed: int = 0) -> float:
    """Share of right greedy answers on held-out sums."""
    rows = random.Random(seed).sample(sums("held"), n)
    training = model.training
    model.eval()
    batch = tok([p for p, _ in rows], return_tensors="pt", padding=True, padding_side="left")
    out = model.generate(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=MAX_NEW, do_sample=False,
        pad_token_id=tok.pad_token_id,
    )  # fmt: skip
    model.train(training)
    texts = tok.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return sum(exact(re.sub(" ", "", t), a) for t, (_, a) in zip(texts, rows, strict=True)) / n


@torch.no_grad()
def variety(model: Any, tok: Any, seed: int = 0, prompts: int = 40, answers: int = 8) -> float:
    """Different answers among `answers` drawn to one held-out prompt, the mean over prompts: 1 where all are the same."""
    rows = [p for p, _ in random.Random(seed).sample(sums("held"), prompts) for _ in range(answers)]
    training = model.training
    model.eval()
    batch = tok(rows, return_tensors="pt", padding=True, padding_side="left")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=MAX_NEW, do_sample=True,
            top_k=0, pad_token_id=tok.pad_token_id,
        )  # fmt: skip
    model.train(training)
    texts = tok.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return sum(len(set(texts[i : i + answers])) for i in range(0, len(texts), answers)) / prompts
