"""A third generator: questions made by a few frames each, where every training row is a sibling of every sample.

Word problems, translations, questions about code, multiple choice, dialogues, and frames in German, Spanish, Japanese and
Arabic. A text is a list of pieces (a word, or in Japanese what a word is there), so that one piece in ten can be replaced
in any script; what fills a slot of a frame is marked. A replaced piece never gets a filler of its own slot: that would be
another draw from the frame and no edit. Seeds are split as in `planted`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

DEVELOPMENT, HELD_OUT = (21, 22, 23, 31, 32, 33), (3021, 3022, 3023, 3024)

_WORDS = {
    "name": "Tom Anna Raj Mei Lucas Sofia Omar Julia Peter Nina Diego Lena Sam Ida Viktor Grace Paul Zara Ben Eva",
    "fruit": "apples pears plums oranges eggs marbles books pencils stickers coins cards shells balls cookies flowers",
    "place": "shop park school market library station beach farm museum garden",
    "animal": "cat dog horse rabbit parrot turtle goat hamster duck pony",
    "colour": "red blue green yellow white black brown orange purple grey",
    "country": "France Japan Brazil Kenya Norway Peru Egypt Canada India Poland Chile Vietnam Greece Ghana Nepal Cuba",
    "language": "French German Italian Spanish Swedish Turkish Polish Finnish Greek Hindi Dutch Korean",
    "noun": "house river window teacher letter mountain bread doctor street garden bottle picture chair winter sister ocean "
            "candle engine forest hammer",
    "verb": "opens sees buys paints forgets cleans describes loses finds sells draws moves",
    "adverb": "slowly today quickly again often quietly tomorrow rarely",
    "function": "merge sort filter reverse count parse split flatten rotate encode search group zip slice",
    "type": "list string tuple dict set array queue stack tree matrix heap graph",
    "tongue": "Python Java Rust Go Ruby Swift Kotlin Haskell Perl Scala",
    "error": "IndexError KeyError TypeError ValueError OverflowError MemoryError LookupError RuntimeError",
    "city": "Rome Oslo Lima Cairo Delhi Seoul Dakar Quito Hanoi Turin Perth Accra Malmo Izmir",
    "dish": "pizza ramen salad tacos soup curry pasta sushi pancakes risotto",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "element": "iron gold neon zinc copper silver helium carbon nickel lead sulfur boron radon argon",
    "property": "density colour weight price hardness origin symbol discovery",
    "dename": "Klaus Sabine Jürgen Heike Uwe Monika Dieter Petra Stefan Ulrike Björn Käthe",
    "deding": "Äpfel Bücher Schlüssel Brötchen Hefte Knöpfe Lampen Stühle Kerzen Nüsse Bälle Briefe",
    "esname": "Carmen Íñigo Lucía Pablo Jesús Marta Álvaro Pilar Joaquín Elena",
    "eslugar": "plaza playa escuela montaña tienda iglesia estación biblioteca",
    "escosa": "manzanas llaves flores cartas botellas camisas naranjas velas",
    "janame": "田中さん 鈴木さん 佐藤さん 山本さん 中村さん 小林さん 加藤さん 吉田さん",
    "jathing": "りんご みかん 鉛筆 切手 たまご 本 花 皿 封筒 ノート",
    "japlace": "東京 京都 大阪 札幌 福岡 名古屋 仙台 広島 神戸 長崎",
    "arname": "أحمد فاطمة يوسف ليلى عمر مريم خالد سارة حسن نور",
    "arthing": "تفاحات كتب أقلام كرات بيضات زهور مفاتيح رسائل صور أكواب",
    "arcity": "القاهرة بغداد دمشق الرباط تونس عمان بيروت الخرطوم صنعاء الدوحة",
}  # fmt: skip
_SLOTS = {slot: words.split() for slot, words in _WORDS.items()}
_NUMBERS = {"n": (2, 60), "m": (2, 60), "k": (2, 20), "big": (100, 999)}

FRAMES: dict[str, tuple[str, ...]] = {
    "word problems": (
        "{name} has {n} {fruit=a} and gets {m} more. How many {fruit=a} has {name=a} now?",
        "{name} buys {n} {fruit} and {m} {fruit} at the {place}. How many things does {name=a} carry home?",
        "There are {n} {colour} {fruit} in a box and {k} boxes in the {place}. How many {fruit=a} are there?",
        "{name} and {name} share {n} {fruit} with {k} friends from the {place}. How many are left over?",
    ),
    "translations": (
        "Translate into {language}: The {noun} near the {noun} {verb} the {noun} {adverb}.",
        "How do you say \"my {noun} {verb} your {noun}\" in {language}?",
        "Give me the {language} words for {noun} , {noun} , {noun} and {noun} please.",
    ),
    "code": (
        "Write a {tongue} function that can {function} a {type} of {n} items without using {function}.",
        "Why does my {tongue} program raise {error} when I {function} a {type} with {n} entries?",
        "What is the complexity of {function} on a {type} in {tongue} if we {function} it first?",
    ),
    "multiple choice": (
        "Which of these is the {property} of {element}? A) {big} B) {big} C) {big} D) {big}",
        "Which city lies in {country}? A) {city} B) {city} C) {city} D) {city} Answer with the letter.",
    ),
    "dialogues": (
        "Hi, I am {name}. Can I get {dish} for {k} people on {day} at {n} Main Street?",
        "Customer: My {noun} from order {big} is {colour} , not {colour}. Agent: Sorry, {name}, we will send another on {day}.",
        "Please book a table in {city} for {k} on {day} and tell {name} about the {dish}.",
    ),
    "German": (
        "{dename} hat {n} {deding=a} und bekommt noch {m} dazu. Wie viele {deding=a} sind es dann?",
        "Am Montag kauft {dename} für {dename} genau {n} {deding} und {k} {deding} im Laden.",
    ),
    "Spanish": (
        "{esname} compra {n} {escosa=a} en la {eslugar} y regala {k} a {esname}. ¿Cuántas {escosa=a} le quedan?",
        "¿A qué hora llega {esname} a la {eslugar} con las {n} {escosa} de {esname}?",
    ),
    "Japanese": (
        "{janame}|は|{jathing=a}|を|{n}|個|持っています|。|{m}|個|もらうと|、|{jathing=a}|は|全部で|いくつ|に|なりますか|。",
        "{japlace}|から|{japlace}|まで|の|切符|を|{n}|枚|買う|と|、|一枚|{big}|円|で|いくら|ですか|。",
    ),
    "Arabic": (
        "لدى {arname} {n} {arthing=a} ثم أخذ {m} أخرى من {arname}. كم عدد {arthing=a} الآن؟",
        "سافر {arname} من {arcity} إلى {arcity} ومعه {n} {arthing}. كم بقي بعد أن أعطى {k} منها؟",
    ),
}  # fmt: skip
_ELSEWHERE = {
    "English": "saddle thunder whether beneath narrow lantern purely stumble orbit velvet among drifting harvest stubborn ladder never "
    "copper gather beyond hollow nearly because rather whistle shallow onward anchor tidy unless crooked",
    "Japanese": "机 雲 走る 静か 昨日 空 赤い 犬 眠い 川 音楽 遠く",
    "Arabic": "بحر سريع نافذة أمس جبل يكتب هادئ سماء كلب طويل",
    "German": "wagen leise gestern himmel rennt straße dunkel fenster über wolke",
    "Spanish": "nube lento ayer cielo corre calle oscuro ventana sobre perro",
}
_FIELD = re.compile(r"\{(\w+?)(?:=(\w+))?\}")


class Piece(NamedTuple):
    """A word of a text, and the slot it fills."""

    text: str
    slot: str = ""


class Kind(NamedTuple):
    """One kind of question."""

    frames: tuple[str, ...]
    parted: str
    """What stands between two pieces."""
    elsewhere: Sequence[str]
    """Words that no frame has."""


KINDS = {
    name: Kind(frames, "" if name == "Japanese" else " ", _ELSEWHERE.get(name, _ELSEWHERE["English"]).split())
    for name, frames in FRAMES.items()
}


def draw(r: random.Random, frame: str, parted: str) -> list[Piece]:
    """One text of a frame. A field with a name behind `=` has the same filler as the others with its name (and slot)."""
    named: dict[tuple[str, str], str] = {}
    pieces: list[Piece] = []
    for word in frame.split(parted or "|"):
        slots: list[str] = []

        def fill(field: re.Match[str], slots: list[str] = slots) -> str:
            slot, alias = field.group(1), field.group(2)
            slots.append(slot)
            if slot in _NUMBERS:
                return str(r.randint(*_NUMBERS[slot]))
            first = named.get((slot, ""))
            if alias and ((slot, alias) in named or first):
                return named.get((slot, alias)) or first or ""
            filler = r.choice(_SLOTS[slot])
            named[slot, alias or ""] = filler
            return filler

        pieces.append(Piece(_FIELD.sub(fill, word), slots[0] if slots else ""))
    return pieces


def joined(pieces: Sequence[Piece], kind: Kind) -> str:
    return kind.parted.join(p.text for p in pieces)


def edit(r: random.Random, pieces: Sequence[Piece], kind: Kind, way: str = "replaced") -> list[Piece]:
    """A tenth of the pieces (one at least) replaced; or ("mixed") now and then one left out or put in. Half of the new words
    come from the frames of the kind, but never from the slot that they are put into."""
    edited = list(pieces)
    words = [i for i, p in enumerate(edited) if any(c.isalnum() for c in p.text)]
    for i in sorted(r.sample(words, max(1, round(0.1 * len(words)))), reverse=True):
        old = edited[i]
        own = [
            p.text for p in pieces if p.slot != old.slot and p.text != old.text and not any(c.isdigit() for c in p.text)
        ]
        new = r.choice(own if own and r.random() < 0.5 else kind.elsewhere)
        how = r.random() if way == "mixed" else 1.0
        if how < 0.2:
            del edited[i]
        elif how < 0.4:
            edited.insert(i, Piece(new))
        else:
            edited[i] = Piece(new)
    return edited


class Mixed(NamedTuple):
    """Rows of which the first are edited copies of samples, the others independent draws from the same frames."""

    samples: list[str]
    copies: list[str]
    others: list[str]


Change = Callable[[random.Random, list[Piece], Kind], str]


def mixed(
    seed: int, kind: Kind, change: Change, *, samples: int = 150,
    rows: int = 600, frames: int = 2,
) -> Mixed:  # fmt: skip
    """Samples and rows of one kind; a third of the samples leaked. No other row equals a sample."""
    r = random.Random(seed)
    chosen = r.sample(kind.frames, min(frames, len(kind.frames)))
    drawn = {joined(p, kind): p for p in (draw(r, r.choice(chosen), kind.parted) for _ in range(samples))}
    leaked = r.sample(sorted(drawn), samples // 3) if len(drawn) > samples // 3 else sorted(drawn)
    copies = [change(r, drawn[text], kind) for text in leaked]
    others = [t for t in (joined(draw(r, r.choice(chosen), kind.parted), kind) for _ in range(rows)) if t not in drawn]
    return Mixed(list(drawn), copies, others)
