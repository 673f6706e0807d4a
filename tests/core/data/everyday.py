"""A second generator of planted faults, unlike `planted`: everyday instruction data as people collect it.

Short questions, word problems with a number as the answer, code, lists, Markdown and multilingual greetings, with hard
innocents among them: version numbers, ISBNs, order numbers, dates, IP addresses, placeholders such as user@example.com,
accents and emoji that are right, quoted foreign words, code, siblings that differ in a number or a name. Faults come
in several strengths. Seeds are split as in `planted`: DEVELOPMENT ones may be looked at, HELD_OUT ones decide.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.core.data.planted import Planted

_WHO = [
    "Alba",
    "Bilal",
    "Cleo",
    "Dmitri",
    "Elif",
    "Femi",
    "Greta",
    "Hugo",
    "Ivo",
    "Jana",
    "Kenji",
    "Luca",
    "Mina",
    "Noor",
    "Otto",
    "Pia",
    "Ravi",
    "Sven",
    "Tara",
    "Umar",
]
_JOBS = [
    "plumber",
    "baker",
    "nurse",
    "pilot",
    "farmer",
    "tailor",
    "chemist",
    "gardener",
    "teacher",
    "sailor",
    "welder",
    "librarian",
]
_GOODS = [
    "apples",
    "pencils",
    "tickets",
    "tiles",
    "candles",
    "stamps",
    "loaves",
    "marbles",
    "bolts",
    "seeds",
    "postcards",
    "ribbons",
]
_CITIES = [
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Quito",
    "Hanoi",
    "Tbilisi",
    "Perth",
    "Cusco",
    "Malmo",
    "Izmir",
    "Turin",
    "Accra",
    "Pune",
    "Bergen",
]
_TOPICS = (
    "tidal power", "sourdough starters", "chess openings", "monsoon rains", "solar eclipses", "urban beekeeping",
    "glacier retreat", "bicycle gears", "medieval guilds", "coral reefs", "jazz harmony", "soil erosion",
    "the printing press", "vaccine storage", "tea ceremonies", "railway signals", "volcanic ash", "kite making",
    "river deltas", "olive pressing", "night trains", "fermented foods", "star navigation", "rope bridges",
)  # fmt: skip
_FACETS = (
    "its cost", "the tools it needs", "common mistakes", "its history", "who profits from it", "safety", "a first step",
    "why experts disagree", "its limits", "how children could learn it", "its effect on prices", "the best season",
    "what the law says", "how to measure success", "its future", "the role of chance", "a famous failure",
)  # fmt: skip
_ASK = (
    "Explain {topic} to a {job} with a view to {facet}.",
    "What should a {job} in {city} know about {topic}, above all {facet}?",
    "Write {n} short points on {topic} and {facet}.",
    "Give me a summary of {topic}; mention {facet} and {facet2}.",
    "How is {topic} connected with {topic2}, and what about {facet}?",
    "Compare {topic} and {topic2} under the heading of {facet}.",
    "My neighbour {who} asked about {facet} in {topic}. What do I answer?",
    "List three books on {topic} that treat {facet}, please.",
)
_SETTING = (
    "I have {n} minutes and a {goods} seller from {city} is waiting.",
    "The {job} next door swears by {city2}, I by {city}.",
    "It is for a talk with {who2}, {n} pupils and a {job}.",
    "Keep {city} out of it; {who2} was robbed of {n} {goods} there.",
    "My {job} insists on an example with {goods}.",
    "Assume the reader sells {goods} in {city2}.",
    "{who2} pays {n} {goods} for a good answer.",
    "We meet a {job} from {city} tomorrow.",
)
_REPLY = (
    "Begin with {facet}, since most people overlook it when they first meet {topic}.",
    "In {city} a {job} would rather start from {facet2} and come back to {topic} later.",
    "There are {n} things worth knowing, and {facet} is the least obvious of them.",
    "Think of {topic2}: the same reasoning holds for {topic}, apart from {facet}.",
    "{who} once tried it for {n} weeks and learned mostly about {facet2}.",
    "For a {job} the answer turns on {facet}; everything else follows from {topic2}.",
    "Experts quarrel over {facet}, but hardly anybody doubts that {topic} matters.",
    "A careful reader will separate {facet} from {facet2} before judging {topic}.",
)
_INNOCENT = (
    "See version {n}.{m}.12 of the manual.", "The ISBN is 978-3-16-148410-{d}.", "Order no. {k}-{n} shipped on 2024-0{d}-1{d}.",
    "Ping 192.168.{n}.{m} first.", "Write to user@example.com in the form.", "It costs €{n},50 at the café on the corner.",
    "Zoë and Müller said naïve things about smörgåsbord 🙂.", "The word 'Schadenfreude' is used in English, too.",
    "Compute {n}-{m}-{d} by hand.", "`for i in range({n}): print(i)`", "Room {n}, floor {d}, seat {m}.", "On 12/0{d}/1987 it rained.",
    "“Quoted” — with dashes – and an ellipsis…", "Serial 00{n}{k}{m}.", "x = {n} * ({m} - {d})", "Temperatures reach −{n} °C.",
)  # fmt: skip
_FOREIGN = (
    "Ich möchte gern wissen, warum die Züge in dieser Stadt immer zu spät kommen und wer das bezahlt.",
    "Kannst du mir bitte erklären, wie man ein gutes Brot backt und welche Fehler dabei oft vorkommen?",
    "Pourquoi les trains de cette ville sont toujours en retard, et qui doit payer pour les voyageurs ?",
    "Je voudrais savoir comment on fait du pain à la maison sans avoir les outils d'un boulanger.",
    "¿Por qué los trenes de esta ciudad llegan siempre tarde y quién paga por los viajeros que esperan?",
    "Me gustaría saber cómo se hace el pan en casa y cuáles son los errores más comunes de la gente.",
    "Perché i treni di questa città sono sempre in ritardo e chi paga per i viaggiatori che aspettano?",
    "Почему поезда в этом городе всегда опаздывают и кто за это платит?",
    "なぜこの町の電車はいつも遅れるのですか。誰がその費用を払いますか。",
    "为什么这个城市的火车总是晚点, 谁来为此付钱?",
    "لماذا تتأخر القطارات في هذه المدينة دائما ومن يدفع ثمن ذلك؟",
    "이 도시의 기차는 왜 항상 늦게 오고 누가 그 비용을 내나요?",
)
_PERSONAL = (
    "Mail me: {low}_{k}@posteo.net", "{low}.{low2}@uni-{city}.edu is the address.", "Phone: +44 7{n}{d} {k}{d}{d}",
    "Call 555-{n}{d}-{k} or (212) 555-{k}.", "IBAN GB82 WEST 1234 5698 7654 32", "Card 4111 1111 1111 1111, exp 09/27",
    "SSN 5{m}-{d}{d}-{k}", "token hf_{token}", "+49 (0)30 9{n}{k}", "AKIA{key} is the key",
)  # fmt: skip


def _slots(r: random.Random) -> dict[str, object]:
    topic, topic2 = r.sample(_TOPICS, 2)
    facet, facet2 = r.sample(_FACETS, 2)
    who, who2 = r.sample(_WHO, 2)
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    return {
        "topic": topic, "topic2": topic2, "facet": facet, "facet2": facet2, "who": who, "low": who.lower(),
        "low2": who2.lower(), "who2": who2, "city": r.choice(_CITIES), "city2": r.choice(_CITIES), "goods": r.choice(_GOODS),
        "job": r.choice(_JOBS), "n": r.randint(12, 99),
        "m": r.randint(12, 99), "d": r.randint(1, 9), "k": r.randint(1000, 9999),
        "token": "".join(r.choice(letters + letters.lower()) for _ in range(34)),
        "key": "".join(r.choice(letters) for _ in range(16)),
    }  # fmt: skip


def question(r: random.Random) -> str:
    """One everyday request, 8 to 40 words, now and then with an innocent oddity."""
    text = r.choice(_ASK).format(**_slots(r))
    if r.random() < 0.6:
        setting = r.choice(_SETTING).format(**_slots(r))
        text = f"{setting} {text}" if r.random() < 0.5 else f"{text} {setting}"
    return f"{text} {r.choice(_INNOCENT).format(**_slots(r))}" if r.random() < 0.25 else text


def reply(r: random.Random) -> str:
    """Two or three sentences, or a list, or code."""
    slots = _slots(r)
    lines = [f.format(**slots) for f in r.sample(_REPLY, r.randint(2, 3))]
    form = r.randrange(5)
    if form == 0:
        return "\n".join(f"- {line}" for line in lines)
    if form == 1:
        return f"## {str(slots['topic']).title()}\n\n" + "\n\n".join(lines)
    return " ".join(lines) + (f" {r.choice(_INNOCENT).format(**_slots(r))}" if form == 2 else "")


def problem(r: random.Random) -> tuple[str, int]:
    """A word problem and its answer."""
    a, b, c = r.randint(11, 97), r.randint(3, 19), r.randint(2, 9)
    who, who2 = r.sample(_WHO, 2)
    goods, city = r.choice(_GOODS), r.choice(_CITIES)
    return r.choice((
        (f"{who} buys {a} {goods} in {city} and gives {b} to each of {c} friends who ask. How many are missing or left?", a - b * c),
        (f"In {city} a box holds {a} {goods}. {who} carries {b} boxes and {who2} adds {c} more {goods}. How many {goods} are there?", a * b + c),
        (f"{who} saves {a} coins a week for {b} weeks and then spends {c} of them on {goods}. How many coins remain?", a * b - c),
        (f"A train to {city} has {b} cars with {a} seats each; {who} counts {c} broken seats. How many seats can be used?", a * b - c),
    ))  # fmt: skip


def check_problem(prompt: str, answer: str) -> bool | None:
    """The verifier of `problems`: recomputes the answer from the text."""
    import re

    numbers = [int(x) for x in re.findall(r"\d+", prompt)]
    if len(numbers) != 3:
        return None
    x, y, z = numbers
    if "gives" in prompt:
        right = x - y * z
    elif "box holds" in prompt:
        right = x * y + z
    else:
        right = x * y - z
    return answer.strip() == str(right)


def _garble(r: random.Random, text: str) -> str:
    extra = r.choice(
        ("über", "it’s “fine”", "crème brûlée", "señor", "naïve", "–", "€ 20", "Łódź", "Привет", "日本", "😀")
    )
    wrong = extra.encode().decode(r.choice(("cp1252", "latin-1")), errors="ignore")
    if r.random() < 0.3:
        wrong = wrong.encode().decode("latin-1")
    if wrong.isascii():
        wrong = "Ã¼ber"
    at = r.choice((0, len(text.split()) // 2))
    words = text.split(" ")
    return " ".join([*words[:at], wrong, *words[at:]])


def _near(r: random.Random, text: str) -> str:
    """A light edit: a word swapped for another, a typo, a filler, punctuation; numbers stay."""
    words = text.split(" ")
    way = r.randrange(4)
    free = [i for i, w in enumerate(words) if w.isalpha() and len(w) > 3]
    if way == 0:
        words[r.choice(free)] = r.choice(("really", "certain", "various", "proper"))
    elif way == 1:
        i = r.choice(free)
        words[i] = words[i][:1] + words[i][2:]
    elif way == 2:
        words.insert(r.randrange(len(words)), r.choice(("please", "now", "kindly")))
    else:
        return ("Please: " + text) if r.random() < 0.5 else text + " Thanks!"
    return " ".join(words)


def _leak(r: random.Random, text: str) -> str:
    way = r.randrange(6)
    if way == 0:
        return text
    if way == 1:
        return text.upper()
    if way == 2:
        return "".join(c for c in text if c.isalnum() or c == " ")
    if way == 3:
        return "Q: " + text.replace(" ", "  ") + "\nA:"
    if way == 4:
        return f"Please answer the following question.\n\n{text}\n\nThink step by step."
    words = text.split(" ")
    for i in r.sample(range(len(words)), max(1, round(0.1 * len(words)))):
        words[i] = r.choice(_GOODS + _JOBS)
    return " ".join(words)


def _plant(
    r: random.Random, data: Planted, faults: dict[str, int], spoil: Callable[[str, dict[str, Any]], dict[str, Any]]
) -> None:
    late = r.sample(range(len(data.rows) // 2, len(data.rows)), sum(faults.values()))
    for fault, count in faults.items():
        taken, late = late[:count], late[count:]
        data.faults[fault] = set(taken)
        for i in taken:
            data.rows[i] = spoil(fault, data.rows[i])


def requests(seed: int, rows: int = 1000) -> Planted:
    """Requests and replies with seven kinds of faults."""
    r = random.Random(seed)
    data = Planted([{"instruction": question(r), "output": reply(r)} for _ in range(rows)])
    data.evaluation = [f"{question(r)} {r.choice(_SETTING).format(**_slots(r))}" for _ in range(150)]
    early = iter(r.sample(range(rows // 2), 80))

    def spoil(fault: str, row: dict[str, Any]) -> dict[str, Any]:
        ask, out = row["instruction"], row["output"]
        if fault == "repeated_row":
            return dict(data.rows[next(early)])
        if fault == "near_duplicates":
            origin = data.rows[next(early)]
            return {"instruction": _near(r, origin["instruction"]), "output": origin["output"]}
        if fault == "contaminated":
            return {"instruction": _leak(r, r.choice(data.evaluation)), "output": out}
        if fault == "mojibake":
            return {"instruction": _garble(r, ask), "output": out} if r.random() < 0.5 else {"instruction": ask, "output": _garble(r, out)}  # fmt: skip
        if fault == "empty":
            return r.choice(({"instruction": ask, "output": ""}, {"instruction": ask, "output": "\u00a0\n"}, {"instruction": None, "output": out}, {"instruction": "   ", "output": out}))  # fmt: skip
        if fault == "mixed_languages":
            text = r.choice(_FOREIGN)
            return {"instruction": text, "output": out} if r.random() < 0.5 else {"instruction": ask, "output": text}
        return {"instruction": ask, "output": f"{out} {r.choice(_PERSONAL).format(**_slots(r))}"}

    names = ("repeated_row", "near_duplicates", "contaminated", "mojibake", "empty", "mixed_languages", "personal_data")
    _plant(r, data, dict.fromkeys(names, 35), spoil)
    return data


def problems(seed: int, rows: int = 800) -> Planted:
    """Word problems whose answer a program can check; wrong labels, leaks and repeats."""
    r = random.Random(seed)
    made = {p: a for p, a in (problem(r) for _ in range(3 * rows))}
    items = list(made.items())[: rows + 120]
    data = Planted([{"question": p, "answer": str(a)} for p, a in items[:rows]])
    data.evaluation = [p for p, _ in items[rows:]]
    early = iter(r.sample(range(rows // 2), 80))

    def spoil(fault: str, row: dict[str, Any]) -> dict[str, Any]:
        if fault == "verifier_mismatch":
            wrong = int(row["answer"]) + r.choice((-10, -1, 1, 2, 9, 100))
            return {**row, "answer": str(wrong)}
        if fault == "repeated_row":
            return dict(data.rows[next(early)])
        leak = r.choice(data.evaluation)
        return {"question": r.choice((leak, leak.lower(), leak.replace(",", "").replace(".", ""))), "answer": str(made[leak])}  # fmt: skip

    _plant(r, data, {"verifier_mismatch": 40, "repeated_row": 30, "contaminated": 40}, spoil)
    return data


def dialogues(seed: int, rows: int = 500) -> Planted:
    """Chats in the ShareGPT form ("from", "value") with broken turns and empty chats."""
    r = random.Random(seed)
    data = Planted([])
    for _ in range(rows):
        turns: list[dict[str, Any]] = []
        for _ in range(r.randint(1, 4)):
            turns += [{"from": "human", "value": question(r)}, {"from": "gpt", "value": reply(r)}]
        data.rows.append({"conversations": turns})

    def spoil(_: str, row: dict[str, Any]) -> dict[str, Any]:
        turns = row["conversations"]
        ways: tuple[list[dict[str, Any]], ...] = (
            turns[:-1], turns[1:], [], [*turns, {"from": "human", "value": ""}, turns[-1]],
            [*turns, turns[-1]], [turns[0], *turns], [{"from": "bot7", "value": "?"}, *turns],
            [*turns[:-1], {"from": "gpt", "value": None}],
        )  # fmt: skip
        return {"conversations": r.choice(ways)}

    _plant(r, data, {"broken_turns": 50}, spoil)
    return data
