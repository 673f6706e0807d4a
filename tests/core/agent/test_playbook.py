"""The playbook as a pure function of its transcript, in a world that answers its tool calls from a response surface."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.agent.playbook.comparators import COMPARATORS, comparator
from core.agent.playbook.discovery import queries
from core.agent.playbook.model import Call, Observation, PlaybookModel, Policy
from core.agent.playbook.policy import research
from core.agent.playbook.search import Trial, best, higher, ladder, next_rungs, worth_a_long_job
from core.agent.playbook.wishes import Wishes


class World:
    """Answers tool calls. The score of a training peaks at `peak_lr` and grows with steps; above `edge_lr` it diverges."""

    def __init__(
        self, peak_lr: float = 1e-3, edge_lr: float = 1e-2, ceiling: float = 0.9, seconds: float = 600.0
    ) -> None:
        self.peak_lr, self.edge_lr, self.ceiling = peak_lr, edge_lr, ceiling
        self.left = seconds
        self.calls: list[Call] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.scores: dict[str, float] = {}
        self.evaluations: dict[str, float] = {}
        self.best = 0.3
        self.final = "base"

    def __call__(self, call: Call) -> str:
        self.calls.append(call)
        answer = getattr(self, "_" + call.tool, lambda **_: {})(**call.arguments)
        return answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()

    def _read_task(self) -> object:
        return {
            "data_files": ["/t/data/a.jsonl"], "model": {"parameters": 800_000}, "machine": {"cores": 2, "gpus": 0},
            "verifier": "exact", "budget": {"seconds_left_for_research": self.left},
        }  # fmt: skip

    def _search_recipes(self, **_: Any) -> object:
        return {"recipes": [{"id": "card", "title": "T", "why": "w", "signs": ["divergence"]}]}

    def _recommend_settings(self, method: str, **_: Any) -> object:
        return {
            "lr": {"low": 3e-4, "high": 3e-3, "card": "card"},
            "batch": {"low": 32, "high": 128},
            "epochs": {"low": 3, "high": 20},
        }

    def _inspect_data(self, path: str) -> object:
        return {"trainable": True, "rows": 2000, "concerns": [{"kind": "repeated", "count": 20}]}

    def _prepare_data(self, **_: Any) -> object:
        return {"rows": 1800, "dropped": {"repeated": 20}}

    def _evaluate(self, model: str, label: str, variants: list[dict[str, Any]], **_: Any) -> object:
        self.left -= 8
        found: list[object] = []
        for v in variants:
            score = 0.3 if model == "base" else self.scores.get(model, 0.0)
            self.evaluations[f"{label}/{v['name']}"] = score
            found.append(
                {
                    "evaluation": f"{label}/{v['name']}",
                    "score": score,
                    "temperature": 0.0,
                    "shots": v.get("shots", 0),
                    "groups": [],
                }
            )
        return {"evaluations": found, "seconds_left_for_research": self.left}

    def _promote(self, model: str, evaluation: str) -> object:
        score = 0.3 if model == "base" else self.scores[model]
        assert score > self.best or model == "base", "a worse model over the best"
        self.best, self.final = score, model
        return {"final_model": "f"}

    def _train(self, method: str, settings: dict[str, Any], model: str, **_: Any) -> object:
        job = f"job-{len(self.jobs) + 1}"
        self.jobs[job] = {"method": method, "model": model, **settings}
        return {"job": job}

    def _wait_for_jobs(self, jobs: list[str]) -> object:
        return {"jobs": [self._report(j) for j in jobs], "seconds_left_for_research": self.left}

    def _report(self, job: str) -> dict[str, Any]:
        s = self.jobs[job]
        seconds = 5 + 0.1 * s["max_steps"]
        self.left -= seconds / 2
        failed = s["lr"] >= self.edge_lr
        start = 0.3 if s["model"] == "base" else self.best
        fit = math.exp(-(math.log10(s["lr"] / self.peak_lr) ** 2)) * (1 - math.exp(-s["max_steps"] / 60))
        score = 0.0 if failed else start + (self.ceiling - start) * fit
        self.scores[job] = score
        finding = {
            "failure": 7,
            "kind": "divergence",
            "severity": "failing",
            "remedies": [{"text": "lower", "changes": {"lr": "*0.3"}}],
        }
        return {
            "job": job, "status": "cancelled" if failed else "finished", "step": s["max_steps"], "seconds": seconds,
            "seconds_per_step": 0.1, "checkpoint": not failed, "dev_scores": [[0, start], [s["max_steps"], score]],
            "diagnosis": [finding] if failed else [], "last": {"learning_rate": s["lr"]},
        }  # fmt: skip

    def _audit_labels(self, **_: Any) -> object:
        return {"suspicious": 0}

    def _budget(self) -> object:
        return {"seconds_left_for_research": self.left}

    def _conclude_experiment(self, experiment: str, evaluation: str | None = None) -> object:
        if evaluation is None:
            return {"verdict": "failed"}
        score = self.evaluations[evaluation]
        return {"verdict": "better" if score > self.best + 0.03 else "no difference"}


def play(world: Callable[[Call], str], seed: int = 0, wishes: Wishes | None = None) -> str:
    return play_policy(world, research(seed, wishes or Wishes()))


def play_policy(world: Callable[[Call], str], policy: Policy) -> str:
    call = next(policy)
    for _ in range(500):
        try:
            call = policy.send(Observation(world(call)))
        except StopIteration as end:
            return str(end.value)
    raise AssertionError("the policy does not come to an end")


def long_trainings(world: World) -> list[dict[str, Any]]:
    """Jobs that are no trials."""
    titles = [c.arguments["title"] for c in world.calls if c.tool == "train"]
    return [job for job, title in zip(world.jobs.values(), titles, strict=True) if "trial" not in title]


@pytest.mark.parametrize("peak", [1e-4, 1e-3, 3e-3])
def test_the_ladder_finds_the_neighbourhood_of_the_best_rate_wherever_it_lies(peak: float) -> None:
    world = World(peak_lr=peak)
    play(world)
    long_jobs = [j for j in long_trainings(world) if j["method"] == "sft" and j["model"] == "base"]
    assert long_jobs
    assert min(abs(math.log10(j["lr"] / peak)) for j in long_jobs) < 0.6
    assert world.best > 0.75


def test_a_rate_that_diverges_is_never_used_for_the_long_job() -> None:
    world = World(peak_lr=3e-4, edge_lr=9e-4)
    play(world)
    long_jobs = long_trainings(world)
    assert long_jobs
    sft_trials = [j["lr"] for j in world.jobs.values() if j["method"] == "sft" and j not in long_jobs]
    broken = min(lr for lr in sft_trials if lr >= 9e-4)
    assert all(j["lr"] < broken for j in long_jobs)
    assert sum(j["lr"] >= 9e-4 for j in long_jobs) <= 1, "a long job that breaks moves the limit down"
    assert any(c.tool == "choose_remedy" for c in world.calls), "a diagnosed failure gets an answer"


def test_it_measures_the_base_and_promotes_it_before_any_training() -> None:
    world = World()
    play(world)
    tools = [c.tool for c in world.calls]
    assert (
        tools.index("inspect_data")
        < tools.index("prepare_data")
        < tools.index("evaluate")
        < tools.index("promote")
        < tools.index("train")
    )


def test_it_stops_when_nothing_gains_any_more_though_time_is_left() -> None:
    world = World(ceiling=0.31, seconds=36_000)
    play(world)
    assert world.left > 1000


def test_it_ends_when_the_time_is_short() -> None:
    world = World(seconds=60)
    play(world)
    assert world.left > -60, "no long job was begun that does not fit"


class Hard(World):
    """A task of which nothing is solved before `dawn` train steps have been made one after the other."""

    def __init__(self, dawn: int, seconds: float) -> None:
        super().__init__(seconds=seconds)
        self.dawn, self.best = dawn, 0.0
        self.made: dict[str, int] = {}

    def _evaluate(self, model: str, label: str, variants: list[dict[str, Any]], **more: Any) -> object:
        told: Any = World._evaluate(self, model, label, variants, **more)
        for one in told["evaluations"] if model == "base" else ():
            one["score"] = self.evaluations[one["evaluation"]] = 0.0
        return told

    def _report(self, job: str) -> dict[str, Any]:
        s = self.jobs[job]
        told = World._report(self, job)
        self.made[job] = s["max_steps"] + self.made.get(s["model"], 0)
        self.scores[job] = 0.0 if self.made[job] < self.dawn else self.scores[job]
        return {
            **told,
            "dev_scores": [[0, 0.0], [s["max_steps"], self.scores[job]]],
            "last": {"loss": 1 / self.made[job]},
        }


def test_a_fine_tuning_that_has_solved_nothing_yet_goes_on_from_its_checkpoint() -> None:
    world = Hard(dawn=2000, seconds=600.0)
    play(world)
    assert world.best > 0.3
    assert world.final != "base"
    going_on = [j for j in world.jobs.values() if j["model"].startswith("job-")]
    assert 1 <= len(going_on) <= 3


def test_what_never_solves_anything_comes_to_an_end() -> None:
    world = Hard(dawn=10**9, seconds=3000.0)
    assert "no gain" in play(world)
    assert sum(j["model"].startswith("job-") for j in world.jobs.values()) <= 3


class Small(World):
    """A GPU that holds `rows` rows a pass, and of full weights none at all where `adapters_only`."""

    def __init__(self, rows: int, *, adapters_only: bool = False) -> None:
        super().__init__(seconds=3000.0)
        self.rows, self.adapters_only = rows, adapters_only

    def _report(self, job: str) -> dict[str, Any]:
        s = self.jobs[job]
        if s["batch_size"] <= self.rows and ("lora" in s or not self.adapters_only):
            return World._report(self, job)
        self.left -= 20
        self.scores[job] = 0.0
        finding = {
            "failure": 9, "kind": "out_of_memory", "severity": "failing",
            "remedies": [{"text": "half the batch", "changes": {"batch_size": "*0.5", "grad_accum": "*2"}}],
        }  # fmt: skip
        return {
            "job": job, "status": "failed", "step": 0, "seconds": 20.0, "seconds_per_step": None, "checkpoint": False,
            "dev_scores": [], "diagnosis": [finding], "last": {},
        }  # fmt: skip


@pytest.mark.parametrize(("rows", "adapters_only"), [(64, False), (9, False), (1, False), (4, True)])
def test_a_training_that_ran_out_of_memory_is_made_to_fit_and_its_rates_are_not_blamed(
    rows: int, adapters_only: bool
) -> None:
    world = Small(rows, adapters_only=adapters_only)
    play(world)
    assert world.best > 0.6
    sft = [j for j in world.jobs.values() if j["method"] == "sft"]
    fitted = [j for j in sft if j["batch_size"] <= rows and ("lora" in j or not adapters_only)]
    assert len(sft) - len(fitted) <= (0 if rows == 64 else 10)
    assert {j["batch_size"] * j.get("grad_accum", 1) for j in fitted if j["model"] == "base"} == {32}, (
        "as many rows a step"
    )
    assert max(j["lr"] for j in fitted) > 1e-3


def test_a_model_that_never_fits_is_said_and_the_base_is_kept() -> None:
    world = Small(0)
    assert "no gain" in play(world)
    assert len(world.jobs) <= 20


class Bare(World):
    """A task without data, and a Hub where only the third data set is of use."""

    def _read_task(self) -> object:
        told: dict[str, Any] = World._read_task(self)  # type: ignore[assignment]
        return {
            **told,
            "data_files": [],
            "task": "bench/long-division",
            "description": "Divide; answer with the quotient.",
        }

    def _search_datasets(self, query: str, **_: Any) -> object:
        found = {
            "long-division": [],
            "long": [{"id": "a/locked", "gated": True, "reasons": ["matches"]}, {"id": "b/pictures", "gated": False}],
            "division": [{"id": "b/pictures", "gated": False}, {"id": "c/quotients", "gated": False}],
        }
        return {"untrusted_source": "hub", "content": found[query]}

    def _fetch_dataset(self, dataset: str, rows: int) -> object:
        if dataset == "a/locked":
            return "ERROR: a/locked is gated or private"
        return {"path": f"/run/data/{dataset}.jsonl", "rows": rows, "total": 50_000, "licence": "mit"}

    def _inspect_data(self, path: str) -> object:
        return {"trainable": "quotients" in path, "rows": 2000, "concerns": []}


def test_a_task_without_data_is_trained_on_what_the_hub_has() -> None:
    world = Bare()
    play(world)
    tools = [(c.tool, c.arguments) for c in world.calls]
    assert [a["dataset"] for t, a in tools if t == "fetch_dataset"] == ["b/pictures", "a/locked", "c/quotients"]
    prepared = next(a for t, a in tools if t == "prepare_data")
    assert prepared["sources"] == ["/run/data/c/quotients.jsonl"]
    assert world.best > 0.6
    lessons = " ".join(str(a.get("content")) for t, a in tools if t == "note")
    assert "c/quotients from the Hub, 20000 of 50000 rows, licence mit" in lessons
    assert "a/locked is left out: a/locked is gated or private" in lessons


def test_a_task_without_data_and_without_a_network_is_still_measured() -> None:
    class Cut(Bare):
        def _search_datasets(self, query: str, **_: Any) -> object:
            return "ERROR: the Hub cannot be reached"

    world = Cut()
    assert "no data to train on" in play(world)
    tools = [c.tool for c in world.calls]
    assert (tools.count("search_datasets"), tools.count("train"), tools.count("promote")) == (2, 0, 1)


def test_a_search_that_the_rules_forbid_is_followed_by_another() -> None:
    class Watched(Bare):
        def _search_datasets(self, query: str, **_: Any) -> object:
            if query == "long-division":
                return "ERROR: 'long-division' would look up long-division, which this run is measured with"
            return Bare._search_datasets(self, query)

    world = Watched()
    play(world)
    assert world.best > 0.6


def test_what_is_searched_for_comes_from_the_name_and_the_longest_words_of_the_description() -> None:
    assert queries("inspect/gsm8k", "") == ["gsm8k"]
    found = queries("pocket/unit-conversion", "Convert the measurements; answer with the number only.")
    assert found == ["unit-conversion", "unit", "conversion", "measurements", "convert", "number"]
    assert queries("", "") == []


def test_tools_that_refuse_do_not_stop_it() -> None:
    def broken(call: Call) -> str:
        if call.tool == "read_task":
            return World()(call)
        return "ERROR: no"

    assert "no data" in play(broken).lower()


def test_of_two_long_jobs_one_that_cannot_start_leaves_the_other_its_own_settings() -> None:
    world = World()
    refused: list[float] = []

    def one_refused(call: Call) -> str:
        if call.tool == "train" and "trial" not in call.arguments["title"] and not refused:
            refused.append(call.arguments["settings"]["lr"])
            return "ERROR: no room for it"
        return world(call)

    play(one_refused)
    assert refused
    assert world.best > 0.6
    assert world.final in world.jobs


def test_words_of_a_person_change_the_course() -> None:
    wishes = Wishes()
    wishes.hear("Message from the person you work for (weigh it before your next decision): no grpo please, lr 2e-4")
    world = World()
    play(world, wishes=wishes)
    trained = [c.arguments for c in world.calls if c.tool == "train"]
    assert trained
    assert all(t["method"] == "sft" for t in trained)
    assert trained[0]["settings"]["lr"] == 2e-4
    notes = [c.arguments["content"] for c in world.calls if c.tool == "note"]
    assert any("no grpo" in n for n in notes), "it says what it made of the words"


@pytest.mark.parametrize("policy", ["playbook", "sft", "hill"])
def test_a_long_job_of_an_untried_method_comes_after_a_smoke_test(policy: str) -> None:
    world, wishes = World(seconds=1000), Wishes()
    wishes.hear("use lr 2e-3")

    def strict(call: Call) -> str:
        if call.tool == "train" and not world.jobs:
            settings = call.arguments["settings"]
            if settings["max_steps"] > 100 and settings.get("time_limit_s", 1e9) > 300:
                return "ERROR: A smoke test first"
        return world(call)

    play_policy(strict, research(0, wishes) if policy == "playbook" else comparator(policy, 0, wishes))
    first, *others = world.jobs.values()
    assert first["max_steps"] <= 20
    assert any(job["max_steps"] > 100 for job in others)
    assert world.best > 0.3


def test_words_it_cannot_act_on_are_answered_and_not_swallowed() -> None:
    wishes = Wishes()
    wishes.hear("try a mixture of experts")
    world = World()
    play(world, wishes=wishes)
    assert any("cannot act on that" in str(c.arguments) for c in world.calls)


def test_a_fresh_model_makes_the_same_next_call_from_the_same_transcript() -> None:
    from smolagents.models import ChatMessage, MessageRole

    world, model = World(), PlaybookModel(seed=3)
    messages = [ChatMessage(role=MessageRole.USER, content="New task:\nimprove it")]
    for _ in range(25):
        answer = model.generate(messages)
        fresh = PlaybookModel(seed=3).generate(messages)
        assert answer.tool_calls is not None
        assert fresh.tool_calls is not None
        call, again = answer.tool_calls[0].function, fresh.tool_calls[0].function
        assert (call.name, call.arguments) == (again.name, again.arguments)
        if call.name == "final_answer":
            break
        told = world(Call(call.name, call.arguments))
        messages.append(ChatMessage(role=MessageRole.TOOL_RESPONSE, content=f"Observation:\n{told}"))


def test_two_small_trainings_share_the_machine_and_the_better_one_leads_the_next_round() -> None:
    world = World()
    play(world)
    rounds = [j for j in long_trainings(world) if j["method"] == "sft"]
    assert all(j["threads"] == 1 for j in rounds[:2])
    assert {j["model"] for j in rounds[:2]} == {"base"}
    assert {j["model"] for j in rounds[2:]} == {"final"}, "later rounds go on from the best checkpoint"
    assert any(j["batch_size"] < rounds[0]["batch_size"] or j["lr"] != rounds[0]["lr"] for j in rounds[2:])


def test_reinforcement_learning_whose_trials_gain_nothing_gets_no_long_job() -> None:
    class NoUse(World):
        def _report(self, job: str) -> dict[str, Any]:
            report = super()._report(job)
            if self.jobs[job]["method"] == "grpo":
                start = report["dev_scores"][0][1]
                report["dev_scores"][-1][1] = self.scores[job] = start - 0.05
            return report

    world = NoUse()
    play(world)
    assert any(j["method"] == "grpo" for j in world.jobs.values())
    assert not any(j["method"] == "grpo" for j in long_trainings(world))


def trials_of(*points: tuple[float, float | None], start: float = 0.3) -> list[Trial]:
    return [Trial(lr, "job", score, score is None, {"lr": lr}, None, start) for lr, score in points]


def test_the_range_test_goes_up_until_something_breaks_and_down_where_nothing_learns() -> None:
    assert ladder(1e-4, 1e-2, 3) == [1e-4, 1e-3, 1e-2]
    rising = trials_of((1e-4, 0.4), (1e-3, 0.5), (1e-2, 0.6))
    assert next_rungs(rising, 2) == [pytest.approx(4e-2), pytest.approx(0.16)]
    assert next_rungs(trials_of((1e-4, 0.5), (1e-3, 0.6), (1e-2, 0.1)), 2) == []
    assert next_rungs(trials_of((1e-3, None), (1e-2, None)), 1) == [pytest.approx(2.5e-4)]
    unmoved = [t._replace(start_score=0.0) for t in trials_of((1e-3, 0.0), (1e-2, 0.0))]
    assert next_rungs(unmoved, 1) == [pytest.approx(4e-2)]


def test_of_sound_rates_the_middle_and_the_boldest_get_long_jobs() -> None:
    close = trials_of((1e-4, 0.62), (1e-3, 0.58), (3e-3, 0.50), (1e-2, 0.1))
    assert [t.lr for t in worth_a_long_job(close, 1e-3)] == [1e-3, 3e-3]
    clear = trials_of((1e-4, 0.9), (1e-3, 0.45), (3e-3, 0.40))
    assert [t.lr for t in worth_a_long_job(clear, 1e-3)] == [1e-4], "a trial that is far better is believed"
    useless = trials_of((1e-4, 0.29), (1e-3, 0.2))
    assert [t.lr for t in worth_a_long_job(useless, 1e-3)] == [1e-4]
    assert worth_a_long_job(trials_of((1e-3, None)), 1e-3) == []
    unmoved = [t._replace(start_score=0.0) for t in trials_of((1e-4, 0.0), (1e-3, 0.0), (1e-2, 0.0), (1e-1, None))]
    assert [t.lr for t in worth_a_long_job(unmoved, 1e-3)] == [1e-3, 1e-2], "they tell what breaks, and no more"
    assert best(trials_of((1e-4, 0.5), (1e-3, 0.5))).lr == 1e-4  # type: ignore[union-attr]


def test_a_higher_rate_keeps_away_from_one_that_broke() -> None:
    assert higher(1e-3, None) == pytest.approx(3e-3)
    assert higher(1e-3, 4e-3) == pytest.approx(2e-3)
    assert higher(1e-3, 1.1e-3) is None


@pytest.mark.parametrize("name", COMPARATORS)
def test_a_comparator_uses_what_it_may_and_ends(name: str) -> None:
    world = World()
    summary = play_policy(world, comparator(name, 3, Wishes()))
    methods = [j["method"] for j in world.jobs.values()]
    assert "30.0 %" in summary
    if name == "greedy":
        assert methods == []
        return
    assert world.best > 0.3
    if name == "sft":
        assert methods == ["sft", "sft"], "a smoke test, then the one training"
    else:
        assert len(methods) > 2
        assert (set(methods) == {"sft"}) == (name == "hill")


def test_hill_climbing_changes_one_setting_of_the_best() -> None:
    world = World()
    play_policy(world, comparator("hill", 5, Wishes()))
    names = ("lr", "batch_size", "max_steps")
    jobs = list(world.jobs.values())
    first_from_best = next(j for j in jobs if j["model"] == "final")
    assert any(
        sum(first_from_best[n] != earlier[n] for n in names) <= 1 for earlier in jobs if earlier["model"] == "base"
    )


def test_a_training_that_cannot_fit_the_memory_is_made_smaller_and_stays_so() -> None:
    """The pre-flight's words are all the playbook knows of it."""

    world = World()
    refused: list[int] = []

    def narrow(call: Call) -> str:
        batch = call.arguments["settings"]["batch_size"] if call.tool == "train" else 0
        if call.tool != "train" or call.arguments["method"] != "sft" or batch <= 4:
            return world(call)
        refused.append(batch)
        return (
            "ERROR: The settings do not fit: it needs about 96.00 GB (logits 95.10, activations 0.80, weights 0.10), 20.0 GB "
            "are free (memory). Use batch_size 4, grad_accum 4, max_length 1024: about 6.00 GB. A train step takes as many "
            "rows.. Known: lr, batch_size"
        )

    play(narrow)
    assert len(refused) == 1, "it learns from the first refusal"
    tuned = [s for s in world.jobs.values() if s["method"] == "sft"]
    assert len(tuned) > 3
    assert all(s["batch_size"] <= 4 and s["grad_accum"] == 4 for s in tuned)
    assert world.best > 0.6


class Slowing(World):
    """A machine that others take over once the trials are done: long jobs end at their first step."""

    def _report(self, job: str) -> dict[str, Any]:
        report = super()._report(job)
        if self.titles[job].endswith("steps"):  # a long job's title
            self.scores[job] = 0.3
            report |= {"status": "time_limit", "step": 1, "dev_scores": [[0, 0.3], [1, 0.3]]}
        return report

    def _train(self, method: str, settings: dict[str, Any], model: str, title: str = "", **more: Any) -> object:
        launched = super()._train(method, settings, model, title=title, **more)
        self.titles = {**getattr(self, "titles", {}), f"job-{len(self.jobs)}": title}
        return launched


def test_what_a_short_trial_reached_is_kept_where_long_jobs_get_less_far() -> None:
    world = Slowing()
    play(world)
    trials = [job for job, title in world.titles.items() if "trial" in title and world.jobs[job]["method"] == "sft"]
    assert world.best >= max(world.scores[job] for job in trials) > 0.3
    evaluated = [c.arguments["model"] for c in world.calls if c.tool == "evaluate"]
    assert len([model for model in evaluated if model in trials]) == 1, "the best one, not each"


def test_no_trial_is_evaluated_where_long_jobs_go_further() -> None:
    world = World()
    play(world)
    titles = [c.arguments["title"] for c in world.calls if c.tool == "train"]
    trials = {job for job, title in zip(world.jobs, titles, strict=True) if "trial" in title}
    first = next(c.arguments["model"] for c in world.calls if c.tool == "evaluate" and c.arguments["model"] != "base")
    assert first not in trials
