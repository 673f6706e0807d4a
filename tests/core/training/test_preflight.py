"""The pre-flight: what would break a long job is said before it starts, with what to do about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from core.errors import UsageError
from core.training.memory import GB, count_parameters, estimate
from core.training.preflight import check_columns, check_heavy, check_light, fitting
from core.training.spec import LoraSpec, TrainSpec, write_spec

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "core" / "pocket" / "addition" / "base"


@pytest.fixture
def spec(tmp_path: Path) -> TrainSpec:
    rows = [{"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return TrainSpec(
        kind="sft", model=str(BASE), data=str(tmp_path), batch_size=8, max_steps=4, device="cpu", threads=1
    )


def test_parameters_are_counted_from_the_files(spec: TrainSpec) -> None:
    weights = (BASE / "model.safetensors").stat().st_size
    assert count_parameters(BASE) * 2 == pytest.approx(weights, rel=0.02)  # stored in bfloat16


def test_the_largest_terms_are_named_and_an_adapter_needs_less(spec: TrainSpec) -> None:
    full = estimate(spec, gpu=False)
    adapter = estimate(msgspec.structs.replace(spec, lora=LoraSpec(r=4)), gpu=False)
    assert full
    assert adapter
    assert list(full.terms.values()) == sorted(full.terms.values(), reverse=True)
    assert adapter.terms["optimiser (AdamW)"] < full.terms["optimiser (AdamW)"]
    assert estimate(msgspec.structs.replace(spec, batch_size=16), gpu=False).total > full.total  # type: ignore[union-attr]


def test_a_training_that_cannot_fit_is_refused_with_its_largest_term(spec: TrainSpec) -> None:
    huge = msgspec.structs.replace(spec, batch_size=1 << 22)
    with pytest.raises(UsageError, match=r"it needs about .* GB .*(activations|logits).*batch_size"):
        check_light(huge)
    assert check_light(spec, gpu_bytes=8 * GB).notes == ()


def test_a_refusal_names_settings_that_do_fit(spec: TrainSpec) -> None:
    """As many rows a train step in smaller passes; shorter rows where one row alone is too much."""
    wide = msgspec.structs.replace(spec, batch_size=4096, max_length=1024, grad_accum=1)
    need = estimate(wide, gpu=False)
    assert need
    small, less = fitting(wide, need.total // 4, gpu=False) or (None, None)
    assert small
    assert less
    assert small.batch_size * small.grad_accum == 4096
    assert less.total <= need.total // 8
    assert small.batch_size > 1, "no smaller than needed"
    assert check_light(small, gpu_bytes=None).memory
    grpo = msgspec.structs.replace(wide, kind="grpo", batch_size=96, num_generations=8, max_completion_length=512)
    least = estimate(msgspec.structs.replace(grpo, batch_size=1), gpu=False)
    assert least
    groups, _ = fitting(grpo, 2 * least.total, gpu=False) or (None, None)
    assert groups
    assert groups.batch_size * groups.grad_accum % 8 == 0
    assert fitting(wide, 1000, gpu=False) is None, "the weights alone are more"


def test_what_trainings_beside_it_will_take_is_not_free(spec: TrainSpec) -> None:
    wide = msgspec.structs.replace(spec, batch_size=4096)
    need = estimate(wide, gpu=False)
    assert need
    free = psutil.virtual_memory().available
    if need.total > free:
        pytest.skip("too small a machine")
    check_light(wide)
    with pytest.raises(UsageError, match="Use batch_size"):
        check_light(wide, promised=free - need.total // 2)


def test_columns_are_checked_against_the_method(spec: TrainSpec) -> None:
    check_columns(spec)
    with pytest.raises(UsageError, match="line 1 has no rejected, which dpo needs"):
        check_columns(msgspec.structs.replace(spec, kind="dpo"))


@pytest.mark.slow
def test_the_recipe_really_runs_two_steps_alone(spec: TrainSpec, tmp_path: Path) -> None:
    path = write_spec(tmp_path / "job", msgspec.structs.replace(spec, max_length=64, eval_samples=0))
    script = ROOT / "core" / "training" / "preflight.py"
    done = subprocess.run([sys.executable, "-P", str(script), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "s a train step" in done.stdout
    assert done.stdout.rstrip().endswith("ready")


def test_what_trl_refuses_is_said_in_one_line_that_names_it(spec: TrainSpec, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(spec, loss_type="nonsense", kind="grpo", num_generations=4, check_rewards=False)
    with pytest.raises(UsageError, match=r"two train steps of grpo fail with \w+: .*nonsense"):
        check_heavy(wrong, tmp_path)
