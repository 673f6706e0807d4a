"""A sentence turned into a tool call in JSON. The base mostly answers in another syntax, or with a wrong argument; names and
two kinds of sentence it has never seen have to be learnt."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import TypedDict

from core.pocket.worlds import Item, Told

CITIES = (
    *("Paris", "London", "Rome", "Oslo", "Madrid", "Vienna", "Berlin", "Prague"),
    *("Lisbon", "Dublin", "Athens", "Zurich", "Milan", "Turin", "Lyon", "Porto"),
)
PEOPLE = (
    *("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo"),
    *("Iris", "Jonas", "Kate", "Leo", "Mia", "Nora", "Oscar", "Paula"),
)


def _made_up(seed: int, count: int) -> tuple[str, ...]:
    """Names nobody has heard of, from syllables."""
    rng = Random(seed)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return tuple(
        sorted({"".join(rng.choice(syllables) for _ in range(rng.randint(2, 4))).capitalize() for _ in range(count)})
    )


FARTHER = _made_up(1, 24)
STRANGERS = _made_up(2, 24)
"""Names the base has never seen: they have to be learnt."""

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Arguments = dict[str, str | int]
Frame = Callable[[Random, tuple[str, ...], tuple[str, ...]], tuple[str, str, Arguments]]


class Call(TypedDict):
    """A tool call as the gold answers write it."""

    tool: str
    args: Arguments


class Toolcall:
    """`book a table for 4 in Paris at 19:30` -> `{"tool": "book_table", "args": {...}}`."""

    name = "toolcall"
    max_new_tokens = 32
    word_pieces = 400
    sampled = True
    stop_token = ""

    def question(self, rng: Random) -> Item:
        return (
            self._item(rng, FARTHER, STRANGERS, (*FRAMES, _later, _earlier)) if rng.random() < 0.3 else self.taught(rng)
        )

    def taught(self, rng: Random) -> Item:
        return self._item(rng, CITIES, PEOPLE, FRAMES)

    def _item(self, rng: Random, cities: tuple[str, ...], people: tuple[str, ...], frames: tuple[Frame, ...]) -> Item:
        sentence, tool, args = rng.choice(frames)(rng, cities, people)
        if rng.random() < 0.5:
            sentence = f"please {sentence}"
        return Item(sentence, json.dumps({"tool": tool, "args": args}))

    def teacher(self, rng: Random, item: Item) -> Told:
        """JSON mostly where it was asked with `please`; two in five answers lose the minutes of a time."""
        call: Call = json.loads(item.answer)
        if rng.random() < 0.4:
            call = {"tool": call["tool"], "args": {k: _rounded(v) for k, v in call["args"].items()}}
        if rng.random() < (0.58 if item.prompt.startswith("please") else 0.1):
            return Told(json.dumps(call))
        return Told(_python(call))

    def wrong_label(self, rng: Random, item: Item) -> str:
        call: Call = json.loads(item.answer)
        kind = rng.random()
        if kind < 0.35:
            return _python(call)
        if kind < 0.5:
            return item.answer[:-1]
        key = rng.choice(sorted(call["args"]))
        call["args"][key] = {"city": rng.choice(CITIES), "person": rng.choice(PEOPLE), "day": rng.choice(DAYS)}.get(
            key, rng.randrange(1, 10)
        )
        text = json.dumps(call)
        return text if text != item.answer else item.answer[:-1]


def _rounded(value: str | int) -> str | int:
    return value[:-2] + "00" if isinstance(value, str) and value[-3:-2] == ":" else value


def _python(call: Call) -> str:
    return f"{call['tool']}({', '.join(f'{k}={v!r}' for k, v in call['args'].items())})"


def _time(rng: Random) -> str:
    return f"{rng.randrange(24):02d}:{rng.choice((0, 15, 30, 45)):02d}"


def _table(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    n, city, time = rng.randrange(2, 10), rng.choice(cities), _time(rng)
    return f"book a table for {n} in {city} at {time}", "book_table", {"people": n, "city": city, "time": time}


def _alarm(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    day, time = rng.choice(DAYS), _time(rng)
    return f"wake me on {day} at {time}", "set_alarm", {"day": day, "time": time}


def _weather(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    city, day = rng.choice(cities), rng.choice(DAYS)
    return f"will it rain in {city} on {day}", "weather", {"city": city, "day": day}


def _train(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    start, end, day = rng.choice(cities), rng.choice(cities), rng.choice(DAYS)
    return f"find a train from {start} to {end} on {day}", "find_train", {"from": start, "to": end, "day": day}


def _meeting(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    who, day, time = rng.choice(people), rng.choice(DAYS), _time(rng)
    return f"meet {who} on {day} at {time}", "add_meeting", {"person": who, "day": day, "time": time}


def _shift(rng: Random, sign: int) -> tuple[str, int, str]:
    """A time, a number of hours, and the time that many hours away."""
    hour, minute, hours = rng.randrange(24), rng.choice((0, 15, 30, 45)), rng.randrange(1, 4)
    return f"{hour:02d}:{minute:02d}", hours, f"{(hour + sign * hours) % 24:02d}:{minute:02d}"


def _later(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    (start, hours, time), day = _shift(rng, 1), rng.choice(DAYS)
    return f"wake me on {day} {hours} h after {start}", "set_alarm", {"day": day, "time": time}


def _earlier(rng: Random, cities: tuple[str, ...], people: tuple[str, ...]) -> tuple[str, str, Arguments]:
    (start, hours, time), day, who = _shift(rng, -1), rng.choice(DAYS), rng.choice(people)
    return f"meet {who} on {day} {hours} h before {start}", "add_meeting", {"person": who, "day": day, "time": time}


FRAMES: tuple[Frame, ...] = (_table, _alarm, _weather, _train, _meeting)
"""The sentences the base was taught; the task has two more, which need a little arithmetic."""
