"""A training and a sampling that take milliseconds, in place of torch, for tests of the host: same files, same contract.

    quick_job.py <folder>/spec.json

A model's skill stands in `skill.txt`; a training raises it; a sampling answers that share of the questions right, the
same ones every time. Every start is noted in QUICK_STARTS, so a test can count how often a job really began.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path


def main(spec_path: str) -> int:
    folder = Path(spec_path).parent
    spec = json.loads(Path(spec_path).read_text())
    with open(os.environ["QUICK_STARTS"], "a") as starts:
        starts.write(f"{folder} {spec['kind']}\n")
    if spec["kind"] == "sample":
        sample(spec)
    else:
        train(folder, spec)
    return 0


def train(folder: Path, spec: dict) -> None:
    out = folder / "model"
    steps = int(spec.get("max_steps") or 5)
    pause, size = float(os.environ.get("QUICK_STEP_S", "0.01")), int(os.environ.get("QUICK_CHECKPOINT", "0"))
    began = int(Path(spec["resume_from"]).name.split("-")[1]) if spec.get("resume_from") else 0
    with (folder / "metrics.jsonl").open("a") as stream:

        def say(**row: object) -> None:
            stream.write(json.dumps(row) + "\n")
            stream.flush()

        if not began:
            say(kind="plan", max_steps=steps)
            say(kind="note", text="a quick training")
        for step in range(began + 1, steps + 1):
            say(kind="metric", step=step, values={"loss": 1.0 / step, "step_time": 0.01, "learning_rate": 1e-4})
            (folder / "heartbeat").write_text("")
            time.sleep(pause)
            if size:  # what a real training leaves behind, on the way
                place = folder / "model" / f"checkpoint-{step}"
                place.mkdir(parents=True)
                (place / "weights.bin").write_bytes(os.urandom(size))
                say(kind="checkpoint", step=step, path=str(place))
            asked = (folder / "control").read_text().strip() if (folder / "control").exists() else ""
            if asked == "checkpoint":
                (folder / "control").unlink()
                place = folder / "model" / f"checkpoint-{step}"
                place.mkdir(parents=True)
                (place / "trainer_state.json").write_text("{}")
                say(kind="checkpoint", step=step, path=str(place))
            elif asked == "stop":
                break
        shutil.copytree(spec["model"], out, dirs_exist_ok=True)
        skill = float((out / "skill.txt").read_text())
        (out / "skill.txt").write_text(f"{min(0.95, skill + 0.35)}")
        say(kind="metric", step=steps, values={"dev_score": skill + 0.35})
        say(kind="result", status="finished", model=str(out), step=steps)


def sample(spec: dict) -> None:
    folder = Path(spec["output_folder"])
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in Path(spec["data"]).read_text().splitlines()]
    skill = float((Path(spec["model"]) / "skill.txt").read_text())
    variants = spec.get("variants") or [{"name": "only"}]
    done = []
    for variant in variants:
        path = folder / f"samples-{variant['name']}.jsonl"
        answers = [answered(i, row, skill) for i, row in enumerate(rows)]
        path.write_text("".join(json.dumps(a) + "\n" for a in answers))
        correct = sum(a["correct"] for a in answers)
        done.append({"name": variant["name"], "n": len(rows), "correct": correct, "stop_ids": []})
    (folder / "result.json").write_text(json.dumps({**done[0], "variants": done, "seconds": 0.01}))


def answered(i: int, row: dict, skill: float) -> dict:
    luck = int(hashlib.sha256(row["prompt"].encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    right = luck < skill
    return {
        "id": row.get("id") or str(i),
        "prompt": row["prompt"],
        "answer": row["answer"],
        "completion": row["answer"] if right else "0",
        "correct": right,
        "ended": True,
        "tokens": 2,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
