"""A run as it could have happened, built from the real event classes: what the screen and replay tests draw.

Baselines, an SFT, a GRPO that collapses and is diagnosed, a second GRPO that works, an approval, a steering text, a
held-out result. Times are seconds from the start; the numbers come from simple curves with a fixed seed.
"""

from __future__ import annotations

import math
import random

from core import events as e
from core.fold import fold
from core.state import RunState
from store.event import Event, NewEvent

START_US = 1_790_000_000_000_000
RUN = "20260921-141320-abcd"
GIB = 2**30


class Recording:
    """Appends events with rising sequence numbers and chosen times."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.random = random.Random(7)

    def add(self, at_s: float, payload: e.Payload, actor: str = "agent", cause: int | None = None) -> int:
        new = e.new(payload, actor=actor, cause=cause)
        seq = len(self.events) + 1
        ts = START_US + int(at_s * 1e6)
        self.events.append(Event(seq, ts, new.type, new.v, actor, cause, new.payload, new.id, f"{seq:016x}"))
        return seq

    def plan(self, at_s: float, doing: int, failed: tuple[int, ...] = ()) -> None:
        titles = (
            "Read what is known about SFT and GRPO",
            "Inspect the data and take out what harms",
            "Measure the base model, zero-shot and few-shot",
            "SFT: a short ladder of learning rates",
            "GRPO from the best SFT checkpoint",
            "Evaluate once on held-out samples and report",
        )
        steps = [
            e.PlanStep(
                id=f"s{i}",
                title=title,
                status="failed" if i in failed else "done" if i < doing else "doing" if i == doing else "todo",
                note="4,000 rows, 212 dropped" if i == 1 and doing > 1 else "",
            )
            for i, title in enumerate(titles)
        ]
        self.add(at_s, e.PlanUpdated(steps=steps))

    def sample(self, at_s: float, util: float) -> None:
        self.add(
            at_s,
            e.GpuSampled(
                index=0, name="NVIDIA H100 80GB HBM3", source="nvml", util=util, memory_used=61 * GIB,
                memory_total=80 * GIB, power_w=412.0, temperature_c=64.0, own_memory=58 * GIB, others=1,
            ),
            "host",
        )  # fmt: skip

    def training(
        self, job: str, method: str, experiment: str, at_s: float, steps: int, seconds: float, curve: str, stop: int = 0
    ) -> float:
        """Launch a job and log its metrics; returns the time of its last train step."""
        self.add(
            at_s,
            e.JobLaunched(
                job=job, kind="training", method=method, title=f"{method} lr 1e-6, 16 prompts", effect_id=f"fx-{job}",
                folder=f"jobs/{job}", experiment=experiment, pid=4242, started=1.0, planned_steps=steps,
            ),
            "host",
        )  # fmt: skip
        pace = seconds / steps
        for step in range(1, (stop or steps) + 1):
            now = at_s + step * pace
            self.add(now, e.MetricLogged(job=job, step=step, values=self._values(curve, step / steps)), f"job:{job}")
            if step % 20 == 0:
                self.sample(now, 0.82 + 0.1 * self.random.random())
            if step % 100 == 0:
                self.add(now, e.CheckpointSaved(job=job, path=f"jobs/{job}/checkpoint-{step}", step=step), f"job:{job}")
        return at_s + (stop or steps) * pace

    def _values(self, curve: str, part: float) -> dict[str, float | None]:
        noise = self.random.gauss(0, 0.03)
        if curve == "sft":
            return {"loss": 2.2 * math.exp(-3 * part) + 0.5 + noise, "learning_rate": 2e-4 * (1 - part)}
        entropy = 1.9 * math.exp(-9 * part) if curve == "collapse" else 1.9 - 0.5 * part
        return {
            "reward": 0.2 + 0.45 * (1 - math.exp(-3 * part)) + noise,
            "kl": 0.02 * part + abs(noise) / 10,
            "entropy": entropy + noise / 5,
            "dev_score": 0.26 if curve == "collapse" else 0.28 + 0.06 * part,
        }

    def evaluated(
        self, at_s: float, id: str, label: str, score: float, experiment: str = "", split: str = "dev", n: int = 400
    ) -> int:
        self.add(at_s - 5, e.EvaluationStarted(evaluation=id, label=label, model="m", split=split, samples=n))
        half = 1.96 * math.sqrt(score * (1 - score) / n)
        delta = None if id == "ev1" else score - 0.141
        return self.add(
            at_s,
            e.EvaluationFinished(
                evaluation=id, label=label, model=f"jobs/{id}", split=split, samples=n, score=score,
                interval=(max(0.0, score - half), min(1.0, score + half)), experiment=experiment,
                against="" if delta is None else "ev1", delta=delta,
                delta_interval=None if delta is None else (delta - 0.05, delta + 0.05), paired=delta is not None,
            ),
        )  # fmt: skip


def recording() -> Recording:
    """The whole run: 6 experiments' worth of minutes in about 700 events."""
    r = Recording()
    r.add(0, e.RunCreated(run=RUN, goal="Raise the score of qwen3-0.6b on gpqa", task="gpqa", task_path="/t/gpqa",
                          model="Qwen/Qwen3-0.6B-Base", hours=0.5, usd=40.0), "user")  # fmt: skip
    r.add(0.4, e.RunStarted(pid=4711, cores=16, accelerators=["NVIDIA H100 80GB HBM3"]), "host")
    r.add(0.5, e.NoteAdded(text="gpqa-qwen3", kind="title"))
    r.sample(1, 0.02)
    r.plan(2, 0)
    call = r.add(3, e.ToolRequested(call="c1", tool="search_papers", arguments={"query": "GRPO entropy collapse"}))
    r.add(5, e.ToolCompleted(call="c1", tool="search_papers", output="3 papers", seconds=2.0), cause=call)
    for id, title in (("2503.14476", "DAPO: An Open-Source LLM Reinforcement Learning System at Scale"),
                      ("2402.03300", "DeepSeekMath: Pushing the Limits of Mathematical Reasoning")):  # fmt: skip
        r.add(6, e.PaperFound(paper=id, title=title, year=2025, query="GRPO", source="library"))
        r.add(8, e.PaperRead(paper=id, title=title, source="library", taken=["clip high 0.28 (sec. 3.1)"]))
    r.add(9, e.CitationFollowed(paper="2503.14476", cites="2402.03300"))
    r.add(
        10,
        e.RecipeExtracted(recipe="dapo", paper="2503.14476", title="DAPO", method="GRPO", settings={"clip_high": 0.28}),
    )
    r.plan(12, 1)
    r.add(14, e.DatasetInspected(dataset="train.jsonl", rows=4212, columns=["prompt", "answer"], concerns=[
        e.Concern(kind="duplicates", count=180, score=0.4), e.Concern(kind="wrong_answers", count=32, score=0.6)],
        samples=["2 + 2 = 4"]))  # fmt: skip
    r.add(18, e.DatasetPrepared(name="clean", sources=["train.jsonl"], path="data/clean", rows=3600, dev_rows=400,
                                read=4212, dropped={"duplicates": 180, "wrong_answers": 32}))  # fmt: skip
    r.plan(20, 2)
    r.evaluated(40, "ev1", "zero-shot", 0.141)
    r.evaluated(60, "ev2", "few-shot 4", 0.260)
    _sft(r)
    _grpo(r)
    return r


def _sft(r: Recording) -> None:
    r.plan(62, 3)
    r.add(62, e.ExperimentStarted(experiment="x1", hypothesis="SFT on verified rows teaches the format"))
    end = r.training("job-1", "SFT", "x1", 63, 120, 120, "sft")
    r.add(end, e.JobFinished(job="job-1", seconds=120, checkpoint="jobs/job-1/final"), "host")
    done = r.evaluated(end + 20, "ev3", "SFT", 0.288, "x1")
    r.add(end + 21, e.ExperimentConcluded(experiment="x1", verdict="better", why="format errors gone", evaluation="ev3",
                                          delta=0.147, interval=(0.10, 0.19)), cause=done)  # fmt: skip
    r.add(end + 22, e.CheckpointPromoted(source="jobs/job-1/final", path="final_model", evaluation="ev3", score=0.288))
    r.add(end + 22, e.NoteAdded(text="Half of the base model's errors were format, not knowledge.", kind="lesson"))


def _grpo(r: Recording) -> None:
    r.plan(210, 4)
    r.add(210, e.ExperimentStarted(experiment="x2", hypothesis="GRPO after SFT finds better answers"))
    end = r.training("job-2", "GRPO", "x2", 212, 300, 300, "collapse", stop=130)
    failure = r.add(end, e.FailureDiagnosed(
        job="job-2", kind="entropy_collapse", first_step=62, severity="failing", confidence=0.9,
        evidence=["entropy 1.88 → 0.21 between steps 20 and 62", "dev score flat at .26 for 60 steps"],
        causes=["clipping holds back unlikely tokens (DAPO, sec. 3.1)"],
        remedies=["raise clip high to 0.28", "add an entropy bonus"], stopped=True), "host")  # fmt: skip
    r.add(end + 1, e.JobCancelled(job="job-2", reason="entropy collapse", seconds=130), "host")
    r.add(end + 2, e.ExperimentConcluded(experiment="x2", verdict="failed", why="entropy collapse"))
    steer = r.add(
        end + 3, e.CommandRequested(command="steer", text="look at the clip range first", client="tui"), "user"
    )
    r.add(end + 3.2, e.CommandApplied(command="steer"), "host", cause=steer)
    r.add(end + 4, e.ModelRequested(step=9, brain="playbook", messages=20, characters=9000, steering=[steer]))
    r.add(end + 5, e.ModelCompleted(step=9, text="Raise clip high", input_tokens=900, output_tokens=60, cost_usd=0.4))
    r.add(end + 6, e.RemedyChosen(remedy="clip high .28 (DAPO, sec. 3.1)", source="2503.14476", kind="entropy_collapse",
                                  experiment="x3"), cause=failure)  # fmt: skip
    r.add(end + 7, e.ApprovalRequested(approval="a1", call="c9", tool="launch_training", tier="spend", cost_usd=3.5,
                                       arguments={"method": "grpo", "clip_high": 0.28, "steps": 300},
                                       arguments_hash="9f2c4e0011223344", reason="costs more than $2",
                                       untrusted=["2503.14476"]))  # fmt: skip
    r.add(end + 30, e.ApprovalDecided(approval="a1", decision="approved", arguments_hash="9f2c4e0011223344"), "user")
    r.add(end + 31, e.ExperimentStarted(experiment="x3", hypothesis="A higher upper clip keeps entropy up"))
    end = r.training("job-3", "GRPO", "x3", end + 33, 300, 300, "good")
    r.add(end, e.JobFinished(job="job-3", seconds=300, checkpoint="jobs/job-3/final"), "host")
    r.evaluated(end + 20, "ev4", "GRPO clip .28", 0.331, "x3")
    r.add(end + 21, e.ExperimentConcluded(experiment="x3", verdict="better", why="+4.3 over SFT", evaluation="ev4",
                                          delta=0.043, interval=(0.01, 0.08)))  # fmt: skip
    r.add(end + 22, e.CheckpointPromoted(source="jobs/job-3/final", path="final_model", evaluation="ev4", score=0.331))
    r.plan(end + 23, 5)
    r.evaluated(end + 60, "ev5", "final_model", 0.322, split="heldout", n=1000)
    r.add(end + 62, e.SubmissionVerified(path="final_model", ok=True))
    r.plan(end + 63, 6)
    r.add(end + 64, e.RunFinished(status="finished", reason="no significant gain twice", baseline=0.138, best=0.322,
                                  delta=0.184, interval=(0.152, 0.216), checkpoint="final_model", report="report.md",
                                  seconds=end + 64), "host")  # fmt: skip


def events() -> list[Event]:
    return recording().events


def state_at(seq: int) -> RunState:
    """The fold to an event."""
    return fold(RunState(), events()[:seq])


def seq_of(type: str, nth: int = 0) -> int:
    """The sequence number of the nth event of a type."""
    return [ev.seq for ev in events() if ev.type == type][nth]


def appendable(stored: list[Event]) -> list[NewEvent]:
    """The same events for a real log."""
    return [NewEvent(ev.type, ev.payload, ev.actor, ev.cause, ev.v, ev.id, ev.ts) for ev in stored]
