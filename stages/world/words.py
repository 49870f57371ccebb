"""Draw words for slots: their training and held-out halves, and invented words."""

import functools
import hashlib
import random

from stages.world.vocabulary import CLOSED_SLOTS, HELD_OUT_ONLY, OBJECTS, QUESTIONS, SLOTS

CONSONANTS = "bcdfghjklmnprstvwz"
VOWELS = "aeiou"
LONGEST_NONSENSE_WORD = 13
BASE_WORDS = SLOTS | {"question": QUESTIONS}
"""The words of each slot before any is held out; "object:VERB" and "question" are slots too."""

for _verb, _objects in OBJECTS.items():
    BASE_WORDS[f"object:{_verb}"] = _objects


def _is_held_out(slot: str, word: str) -> bool:
    """Whether a slot word belongs to the seventh of words that training never sees."""
    return int(hashlib.md5(f"{slot}/{word}".encode()).hexdigest(), 16) % 7 == 0


@functools.cache
def slot_words(slot: str, held_out: bool) -> tuple[str, ...]:
    """The words of a slot on one side of the split."""
    words = BASE_WORDS[slot]
    held_out_words = tuple(word for word in words if _is_held_out(slot, word)) or words[-1:]
    if held_out:
        return held_out_words + HELD_OUT_ONLY.get(slot, ())
    return tuple(word for word in words if word not in held_out_words)


def all_words(slot: str) -> tuple[str, ...]:
    """Every word of a slot, on both sides of the split."""
    return BASE_WORDS[slot] + HELD_OUT_ONLY.get(slot, ())


@functools.cache
def _word_parts() -> tuple[list[str], list[str]]:
    """Beginnings and endings of training words, to invent words without a meaning."""
    phrases = [phrase.lower() for slot in SLOTS for phrase in slot_words(slot, False)]
    phrases += [phrase for verb in OBJECTS for phrase in slot_words(f"object:{verb}", False)]
    heads = []
    tails = []
    for word in " ".join(phrases).split():
        if len(word) <= 3:
            continue
        for cut in (2, 3, 4):
            if cut < len(word):
                heads.append(word[:cut])
                tails.append(word[cut:])
    return heads, tails


def nonsense_word(rng: random.Random) -> str:
    """A lower-case word without a meaning: halves of two words, sometimes with changed letters."""
    heads, tails = _word_parts()
    word = rng.choice(heads) + rng.choice(tails)
    if rng.random() < 0.25:
        syllable = rng.choice(heads) + rng.choice(CONSONANTS) + rng.choice(VOWELS)
        word = syllable + rng.choice(tails)
    if rng.random() < 0.35:
        place = rng.randrange(len(word))
        letters = VOWELS if word[place] in VOWELS else CONSONANTS
        word = word[:place] + rng.choice(letters) + word[place + 1 :]
    return word[:LONGEST_NONSENSE_WORD]


def _nonsense_for(rng: random.Random, slot: str) -> str:
    word = nonsense_word(rng)
    if slot.startswith("object:"):
        return "a " + word
    if slot == "event":
        return word + rng.choice((" race", " cup", " show", " contest"))
    if slot == "exam":
        return word + rng.choice((" exam", " test", " class"))
    if slot == "group":
        return word + "s"
    if slot == "theme":
        return rng.choice(("the ", "my ", "")) + word
    if slot in ("first_name", "last_name", "city", "street"):
        return word.capitalize()
    return word


def draw_word(rng: random.Random, slot: str, held_out: bool = False, nonsense: float = 0.0) -> str:
    """One word for a slot; `nonsense` is the chance of an invented one where the slot allows it."""
    is_open = slot not in CLOSED_SLOTS and slot != "question"
    if nonsense and is_open and rng.random() < nonsense:
        return _nonsense_for(rng, slot)
    return rng.choice(slot_words(slot, held_out))
