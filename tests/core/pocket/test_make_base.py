"""Base models are really trained, on questions of the training split alone."""

from __future__ import annotations

import pytest
import torch

from core.pocket.make_base import Corpus, Pretraining, make_model, make_tokenizer, pretrain
from core.pocket.make_data import SHARE_DEV, SHARE_HELDOUT
from core.pocket.worlds import NAMES, split_of, world


@pytest.mark.parametrize("name", NAMES)
def test_pretraining_sees_only_questions_of_the_training_split(name: str) -> None:
    w = world(name)
    corpus = Corpus(w, make_tokenizer(w), seed=1)
    assert all(split_of(corpus._item().prompt, SHARE_DEV, SHARE_HELDOUT) == "train" for _ in range(500))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learnt_is_the_answer_and_its_end(name: str) -> None:
    w = world(name)
    tokenizer = make_tokenizer(w)
    for good in (False, True):
        tokens, labels = Corpus(w, tokenizer, seed=2)._sequence(good)
        assert len(tokens) == len(labels)
        learnt = tokenizer.decode([t for t, label in zip(tokens, labels, strict=True) if label != -100])
        assert "<|user|>" not in learnt
        assert tokenizer.unk_token_id not in tokens
        if good:
            assert learnt.count("<|end|>") >= 2


def test_a_few_steps_lower_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    w, how = world("addition"), Pretraining(hidden=64, layers=1, steps=101, batch=32)
    tokenizer = make_tokenizer(w)
    pretrain(make_model(tokenizer, how), Corpus(w, tokenizer, seed=3), how)
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0] / 2
