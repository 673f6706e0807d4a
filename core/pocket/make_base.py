# pyright: basic
"""Makes the base models of the pocket tasks: `python -m core.pocket.make_base addition` (minutes each, 2 cores).

A small Qwen3-architecture model is really pretrained on what a noisy teacher says about questions of the training
split, so it knows the task about half. One batch in six holds conversations of several turns that are all right: the
model can learn that good company means good answers, as real base models do with worked examples. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from core.pocket.make_data import SHARE_DEV, SHARE_HELDOUT
from core.pocket.worlds import NAMES, Item, World, split_of, world

HERE = Path(__file__).parent
SPECIALS = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|unk|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class Pretraining(NamedTuple):
    """Size and length of one base's pretraining, found on the development split."""

    hidden: int = 128
    layers: int = 3
    steps: int = 1200
    batch: int = 160
    lr: float = 2e-3


PRETRAINING = {
    "addition": Pretraining(),
    "choice": Pretraining(steps=900, batch=128),
    "formula": Pretraining(steps=700, batch=96),
    "sorting": Pretraining(steps=700, batch=128),
    "toolcall": Pretraining(steps=600, batch=64),
}


def make_tokenizer(w: World) -> Any:
    """One token a printable character, or a small BPE learnt from the world's own sentences."""
    letters = [chr(c) for c in range(32, 127)]
    if w.word_pieces:
        inner = Tokenizer(models.BPE(unk_token="<|unk|>"))
        # Digits and names stay apart; everything between them may merge, so that a whole frame is a token or two.
        pieces = pre_tokenizers.Split(Regex(r"[0-9]|[A-Z][a-z]+|[^0-9A-Z]+"), "isolated")
        inner.pre_tokenizer = pieces
        trainer = trainers.BpeTrainer(
            vocab_size=w.word_pieces, special_tokens=SPECIALS, initial_alphabet=letters, show_progress=False
        )
        rng = Random(7)
        items = [w.taught(rng) for _ in range(4000)]
        inner.train_from_iterator([f"{i.prompt}\n{i.answer}\n{w.teacher(rng, i).text}" for i in items], trainer)
    else:
        vocab = {token: i for i, token in enumerate(SPECIALS + letters)}
        inner = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<|unk|>"))
    inner.decoder = decoders.Fuse()
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|unk|>",
        additional_special_tokens=SPECIALS[1:4],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


class Corpus:
    """An endless stream of token sequences for pretraining; answers of the teacher are what is learnt."""

    def __init__(self, w: World, tokenizer: Any, seed: int) -> None:
        self.world, self.rng, self.tokenizer = w, Random(seed), tokenizer
        self.known: dict[str, list[int]] = {}

    def batch(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens, labels), both [rows][longest]; a label of -100 is not learnt."""
        good = self.rng.random() < 1 / 6
        pairs = [self._sequence(good) for _ in range(rows // 3 if good else rows)]
        width = max(len(tokens) for tokens, _ in pairs)
        tokens = torch.tensor([t + [0] * (width - len(t)) for t, _ in pairs])
        labels = torch.tensor([label + [-100] * (width - len(label)) for _, label in pairs])
        return tokens, labels

    def _sequence(self, good: bool) -> tuple[list[int], list[int]]:
        rng, tokens, labels = self.rng, [], []
        for _ in range(rng.randint(2, 4) if good else 1):
            item = self._item()
            text, stops = (item.answer, True) if good else self.world.teacher(rng, item)
            head = self._ids(f"<|user|>{item.prompt}<|end|><|assistant|>")
            tail = self._ids(text + ("<|end|>" if stops else ""))
            tokens += head + tail
            labels += [-100] * len(head) + tail
        return tokens, labels

    def _item(self) -> Item:
        while True:
            item = self.world.taught(self.rng)
            if split_of(item.prompt, SHARE_DEV, SHARE_HELDOUT) == "train":
                return item

    def _ids(self, text: str) -> list[int]:
        if text not in self.known:
            if len(self.known) > 200_000:
                self.known.clear()
            self.known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.known[text]


def make_model(tokenizer: Any, how: Pretraining) -> Any:
    """An untrained model; heads of 32, tied embeddings."""
    torch.manual_seed(11)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=how.hidden,
        intermediate_size=how.hidden * 3,
        num_hidden_layers=how.layers,
        num_attention_heads=how.hidden // 32,
        num_key_value_heads=how.hidden // 32,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def configure_generation(model: Any, tokenizer: Any, w: World) -> None:
    """How the base answers where nobody says otherwise: sampled or greedily, and what it takes for the end."""
    stop = tokenizer.convert_tokens_to_ids(w.stop_token) if w.stop_token else tokenizer.eos_token_id
    model.generation_config.do_sample = w.sampled
    model.generation_config.eos_token_id = stop
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    if w.sampled:
        model.generation_config.temperature = 1.0


def pretrain(model: Any, corpus: Corpus, how: Pretraining) -> None:
    """AdamW with a short warm-up and a cosine to a tenth; prints the loss now and then."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=how.lr, betas=(0.9, 0.98), weight_decay=0.05)
    model.train()
    started = time.monotonic()
    for step in range(how.steps):
        share = 0.5 * (1 + math.cos(math.pi * step / how.steps))
        for group in optimizer.param_groups:
            group["lr"] = how.lr * min(1.0, (step + 1) / 40) * (0.1 + 0.9 * share)
        tokens, labels = corpus.batch(how.batch)
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == how.steps - 1:
            print(f"step {step} loss {loss.item():.3f} {time.monotonic() - started:.0f}s", flush=True)


def make(name: str) -> None:
    """Trains one base and writes it to `<task>/base`, with its digest in task.toml."""
    w, how, folder = world(name), PRETRAINING[name], HERE / name
    tokenizer = make_tokenizer(w)
    model = make_model(tokenizer, how)
    configure_generation(model, tokenizer, w)
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters")
    pretrain(model, Corpus(w, tokenizer, seed=5), how)
    model.to(torch.bfloat16).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    (folder / "templates" / "pocket.jinja").write_text(TEMPLATE, encoding="utf-8")
    write_digest(folder)


def write_digest(folder: Path) -> None:
    """Puts the SHA-256 of the weights into task.toml."""
    digest = hashlib.sha256((folder / "base" / "model.safetensors").read_bytes()).hexdigest()
    path = folder / "task.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [f"base_model_sha256 = {json.dumps(digest)}" if x.startswith("base_model_sha256") else x for x in lines]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", choices=NAMES)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in NAMES if args.all else [args.task or parser.error("name a task or say --all")]:
        make(name)


if __name__ == "__main__":
    main()
