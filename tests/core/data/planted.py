"""Data with faults planted at known rows, from a seed.

Four kinds of data: long prose questions, arithmetic from one short template, tool calls in JSON, and chats. Texts are
made
of sentence frames filled with words, so that innocent rows share much of their wording, as real data does: the hard
part
is not to raise an alarm about those. DEVELOPMENT seeds were looked at while the checks were written, HELD_OUT ones
decide.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEVELOPMENT = (1, 2, 3)
HELD_OUT = (1001, 1002, 1003, 1004)

_NAMES = [
    "Amina",
    "Bruno",
    "Chen",
    "Dalia",
    "Emeka",
    "Farah",
    "Goran",
    "Hana",
    "Ines",
    "Jonas",
    "Kofi",
    "Lena",
    "Mateo",
    "Nadia",
    "Oscar",
    "Priya",
    "Quentin",
    "Rosa",
    "Sami",
    "Tove",
]
_THINGS = [
    "lantern",
    "kettle",
    "ladder",
    "basket",
    "compass",
    "blanket",
    "hammer",
    "violin",
    "bicycle",
    "notebook",
    "umbrella",
    "telescope",
    "barrel",
    "carpet",
    "mirror",
    "saddle",
    "helmet",
    "pillow",
    "anchor",
    "bucket",
    "candle",
    "drum",
    "envelope",
    "feather",
    "guitar",
    "jacket",
    "kayak",
    "magnet",
    "needle",
    "oven",
    "piano",
    "quilt",
    "ribbon",
    "shovel",
    "teapot",
    "vase",
    "wagon",
    "zipper",
    "bottle",
    "curtain",
]
_PLACES = [
    "harbour",
    "market",
    "orchard",
    "library",
    "station",
    "museum",
    "bakery",
    "workshop",
    "valley",
    "island",
    "monastery",
    "lighthouse",
    "stadium",
    "garden",
    "factory",
    "village",
    "castle",
    "warehouse",
    "clinic",
    "theatre",
    "quarry",
    "vineyard",
    "airport",
    "bridge",
]
_ADJECTIVES = [
    "rusty",
    "bright",
    "narrow",
    "heavy",
    "fragile",
    "ancient",
    "quiet",
    "crooked",
    "polished",
    "hollow",
    "damp",
    "striped",
    "golden",
    "broken",
    "gentle",
    "rough",
    "slippery",
    "wooden",
    "faded",
    "enormous",
    "tiny",
    "copper",
    "frozen",
    "dusty",
    "spare",
    "hidden",
    "borrowed",
]
_VERBS = [
    "carried",
    "repaired",
    "painted",
    "measured",
    "borrowed",
    "traded",
    "lifted",
    "dropped",
    "cleaned",
    "hid",
    "sold",
    "examined",
    "packed",
    "delivered",
    "counted",
    "sketched",
    "wrapped",
    "dragged",
    "inspected",
    "weighed",
    "returned",
    "assembled",
    "discovered",
    "forgot",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_FRAMES = (
    "{name} {verb} the {adj} {thing} near the {place} on {day}.",
    "After the storm the {adj} {thing} lay behind the {place}, next to a {adj2} {thing2}.",
    "Nobody at the {place} knew why {name} had {verb} so many of them before {day}.",
    "The owner of the {place} offered a {adj} {thing} in return for the {adj2} {thing2}.",
    "Later {name2} {verb} it again and left the {place} without a word.",
    "A visitor from the {place2} asked whether the {thing} was really {adj}.",
    "{name} and {name2} argued for an hour about the {adj} {thing} from the {place}.",
    "By {day} evening every {thing} in the {place} had been {verb} twice.",
    "The {adj} {thing} weighed more than the {adj2} {thing2} which {name} {verb} first.",
    "In the end the {place} kept the {thing}, and {name2} received the {thing2} instead.",
)
_QUESTIONS = (
    "Who had the {thing} at the end, and why did it matter to {name}?",
    "What should {name} do with the {thing} now?",
    "Why was the {place} so important in this story?",
    "Which of the two objects did {name2} prefer, and what does that say about the {place}?",
)
_FOREIGN = {
    "de": (
        "Der alte Mann hat den Schlüssel nicht gefunden und ist mit dem Zug nach Hause gefahren.",
        "Wir haben gestern im Garten gesessen, weil das Wetter für die Jahreszeit sehr warm war.",
        "Wie viele Kinder sind in der Schule, wenn die Hälfte der Klasse mit dem Bus kommt?",
    ),
    "fr": (
        "Le vieux marchand a vendu les pommes au marché et il est rentré chez lui avec son chien.",
        "Nous avons passé la journée dans le jardin parce que le temps était très doux pour la saison.",
        "Combien de livres sont sur la table quand les enfants ont quitté la salle?",
    ),
    "es": (
        "El viejo pescador vendió las redes en el puerto y se fue con su hermano a la montaña.",
        "Los niños jugaron en el jardín porque la tarde era muy tranquila para el invierno.",
        "Cuántos libros hay en la mesa cuando los alumnos salen de la clase por la tarde?",
    ),
    "ru": (
        "Старый рыбак продал сети в порту и уехал с братом в горы на всю зиму.",
        "Дети играли в саду, потому что вечер был очень тихим для этого времени года.",
    ),
    "zh": ("老渔夫在港口卖掉了渔网, 然后和他的兄弟一起去了山里过冬。", "孩子们在花园里玩耍, 因为那天晚上非常安静。"),
}
_PERSONAL = (
    "Please write to {low}.{low2}{num}@mailbox.org about it.",
    "Call {name} under +49 30 {num}{num2} before {day}.",
    "My card number is 4539 1488 0343 6467, said {name}.",
    "The account is DE89 3704 0044 0532 0130 00 at the savings bank.",
    "Reach me at ({a}) {b}-{num} any evening.",
    "His social security number is {a}-{c}-{num}.",
)
_TOOLS = {"get_weather": "city", "book_table": "restaurant", "play_song": "title", "set_alarm": "hour"}


@dataclass
class Planted:
    """Rows and, by fault, the row numbers where it was planted."""

    rows: list[dict[str, Any]]
    faults: dict[str, set[int]] = field(default_factory=dict)
    evaluation: list[str] = field(default_factory=list)

    def write(self, path: Path) -> Path:
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in self.rows), encoding="utf-8")
        return path

    @property
    def bad(self) -> set[int]:
        return set().union(*self.faults.values())


def _slots(r: random.Random) -> dict[str, object]:
    name, name2 = r.sample(_NAMES, 2)
    thing, thing2 = r.sample(_THINGS, 2)
    place, place2 = r.sample(_PLACES, 2)
    adj, adj2 = r.sample(_ADJECTIVES, 2)
    return {
        "name": name,
        "name2": name2,
        "thing": thing,
        "thing2": thing2,
        "place": place,
        "place2": place2,
        "adj": adj,
        "adj2": adj2,
        "verb": r.choice(_VERBS),
        "day": r.choice(_DAYS),
        "low": name.lower(),
        "low2": name2.lower(),
        "num": r.randint(1000, 9999),
        "num2": r.randint(1000, 9999),
        "a": r.randint(201, 899),
        "b": r.randint(201, 899),
        "c": r.randint(10, 99),
    }


def prose(r: random.Random, sentences: tuple[int, int] = (3, 6)) -> str:
    """A little story with a question, 45 to 100 words."""
    frames = r.sample(_FRAMES, r.randint(*sentences))
    return " ".join([*(f.format(**_slots(r)) for f in frames), r.choice(_QUESTIONS).format(**_slots(r))])


def edit_words(r: random.Random, text: str, share: float) -> str:
    """The text with this share of its words (one at least) replaced by other words."""
    words = text.split()
    for i in r.sample(range(len(words)), max(1, round(share * len(words)))):
        words[i] = r.choice(_THINGS + _ADJECTIVES + _VERBS + _PLACES)
    return " ".join(words)


def disguise(r: random.Random, text: str) -> str:
    """The same text in other case, spacing and punctuation."""
    way = r.randrange(5)
    if way == 0:
        return text.upper()
    if way == 1:
        return "  " + text.lower().replace(" ", "  ") + "\n"
    if way == 2:
        return "".join(c for c in text if c not in ".,;:!?'\"")
    if way == 3:
        return text.replace(",", " ,").replace(".", " !").replace("?", "??")
    return text.title().rstrip("?.") + " ..."


def garble(r: random.Random, text: str) -> str:
    """UTF-8 read as Windows-1252 or Latin-1."""
    extra = r.choice(("café “déjà vu”", "naïve façade – über", "señor niño’s", "smörgåsbord it’s"))
    encoding = r.choice(("cp1252", "latin-1"))
    return f"{text} {extra.encode('utf-8').decode(encoding, errors='replace')}"


def _split_off(r: random.Random, rows: int, faults: dict[str, int]) -> tuple[list[int], dict[str, list[int]]]:
    """Disjoint row numbers for each fault, from the later half: what they copy or contradict stands before them."""
    late = r.sample(range(rows // 2, rows), sum(faults.values()))
    taken: dict[str, list[int]] = {}
    for fault, count in faults.items():
        taken[fault], late = late[:count], late[count:]
    return list(range(rows // 2)), taken


def prose_data(seed: int, rows: int = 700) -> Planted:
    """Long questions with long answers."""
    r = random.Random(seed)
    data = Planted([{"prompt": prose(r), "response": prose(r, (1, 2))} for _ in range(rows)])
    data.evaluation = [prose(r) for _ in range(150)]
    names = ("repeated_row", "near_duplicates", "contaminated", "mojibake", "empty", "mixed_languages", "personal_data")
    clean, taken = _split_off(r, rows, dict.fromkeys(names, 25))
    origins = r.sample(clean, 60)
    for fault, numbers in taken.items():
        for k, i in enumerate(numbers):
            data.rows[i] = _spoil_prose(
                r,
                fault,
                data,
                data.rows[i],
                data.rows[origins[k]] if fault == "repeated_row" else data.rows[origins[k + 30]],
            )
        data.faults[fault] = set(numbers)
    return data


def _spoil_prose(
    r: random.Random, fault: str, data: Planted, row: dict[str, Any], origin: dict[str, Any]
) -> dict[str, Any]:
    prompt, answer = row["prompt"], row["response"]
    if fault == "repeated_row":
        return (
            dict(origin)
            if r.random() < 0.5
            else {"prompt": "  " + origin["prompt"] + " ", "response": origin["response"]}
        )
    if fault == "near_duplicates":
        return {"prompt": edit_words(r, origin["prompt"], 0.05), "response": origin["response"]}
    if fault == "contaminated":
        leak = r.choice(data.evaluation)
        return {"prompt": r.choice((leak, disguise(r, leak), edit_words(r, leak, 0.1))), "response": answer}
    if fault == "mojibake":
        return {"prompt": garble(r, prompt), "response": answer}
    if fault == "empty":
        return r.choice(
            (
                {"prompt": "", "response": answer},
                {"prompt": prompt, "response": " \n"},
                {"prompt": prompt, "response": None},
            )
        )
    if fault == "mixed_languages":
        texts = r.choice(list(_FOREIGN.values()))
        return {
            "prompt": " ".join(r.sample(texts, 2)) + f" {r.choice(_NAMES)} {r.randint(10, 999)}.",
            "response": answer,
        }
    return {"prompt": prompt, "response": f"{answer} {r.choice(_PERSONAL).format(**_slots(r))}"}


def sums(seed: int, rows: int = 1500) -> Planted:
    """`12+30=` with its answer; faults: a leaked prompt, a wrong form, a contradiction, a repeat."""
    r = random.Random(seed)
    pairs = r.sample([(a, b, op) for a in range(100, 200) for b in range(100) for op in "+-"], rows + 300)
    data = Planted(
        [{"question": f"{a}{op}{b}=", "label": str(a + b if op == "+" else a - b)} for a, b, op in pairs[:rows]]
    )
    data.evaluation = [f"{a}{op}{b}=" for a, b, op in pairs[rows:]]
    clean, taken = _split_off(
        r, rows, {"repeated_row": 30, "contaminated": 30, "answer_shape": 30, "conflicting_labels": 30}
    )
    origins = iter(r.sample(clean, 60))
    for fault, numbers in taken.items():
        data.faults[fault] = set(numbers)
        for i in numbers:
            row = data.rows[i]
            if fault == "repeated_row":
                data.rows[i] = dict(data.rows[next(origins)])
            elif fault == "contaminated":
                leak = r.choice(data.evaluation)
                data.rows[i] = {
                    "question": r.choice((leak, leak.replace("+", " + "), leak.replace("=", " ="))),
                    "label": row["label"],
                }
            elif fault == "answer_shape":
                data.rows[i] = {
                    **row,
                    "label": r.choice(("it is {}", "{}.0.1", "<{}>", "none", "{} apples", "[{}]")).format(row["label"]),
                }
            else:
                origin = next(origins)
                data.rows[i] = {**data.rows[origin], "label": str(int(data.rows[origin]["label"]) + r.randint(1, 9))}
                data.faults[fault].add(origin)
    return data


def calls(seed: int, rows: int = 800) -> Planted:
    """Requests with a tool call in JSON; faults: other keys, other types, no JSON."""
    r = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number in range(rows):
        tool, argument = r.choice(list(_TOOLS.items()))
        value = f"{r.choice(_ADJECTIVES)} {r.choice(_PLACES)} {number}"
        call = {"name": tool, "arguments": {argument: value}}
        made.append({"instruction": f"{tool.replace('_', ' ')}: {value}", "output": json.dumps(call)})
    data = Planted(made)
    _, taken = _split_off(r, rows, {"answer_shape": 40})
    data.faults["answer_shape"] = set(taken["answer_shape"])
    for i in taken["answer_shape"]:
        good = json.loads(data.rows[i]["output"])
        spoilt = (
            json.dumps({"tool": good["name"], "arguments": good["arguments"]}),
            json.dumps({"name": good["name"]}),
            json.dumps({"name": good["name"], "arguments": "none"}),
            "Sure! " + data.rows[i]["output"],
            data.rows[i]["output"][:-1],
        )
        data.rows[i]["output"] = r.choice(spoilt)
    return data


def chats(seed: int, rows: int = 600) -> Planted:
    """Conversations; faults: every way a turn can be broken."""
    r = random.Random(seed)
    data = Planted([{"messages": _chat(r)} for _ in range(rows)])
    _, taken = _split_off(r, rows, {"broken_turns": 60})
    data.faults["broken_turns"] = set(taken["broken_turns"])
    for i in taken["broken_turns"]:
        turns: list[dict[str, Any]] = data.rows[i]["messages"]
        user, reply = {"role": "user", "content": prose(r)}, {"role": "assistant", "content": prose(r)}
        spoilt: list[Any] = [
            turns[:-1],
            [reply, *turns],
            [*turns, reply],
            [*turns, {"role": "narrator", "content": "x"}, reply],
            [],
            "text",
            [user, *turns],
            [*turns[:-1], {"role": "assistant", "content": ""}],
            [{"role": "assistant", "content": "only me"}],
            [*turns, {"role": "system", "content": "late"}, user, reply],
        ]
        data.rows[i]["messages"] = r.choice(spoilt)
    return data


def _chat(r: random.Random) -> list[dict[str, Any]]:
    turns = [{"role": "system", "content": "You are helpful."}] if r.random() < 0.5 else []
    for _ in range(r.randint(1, 3)):
        turns += [{"role": "user", "content": prose(r)}, {"role": "assistant", "content": prose(r, (1, 2))}]
    return turns
