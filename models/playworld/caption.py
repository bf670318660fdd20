"""Captions: a scene in varied plain English, and exactly the facts that the sentence states.

A caption names a random subset of what is there. Laws: "a person" states a count of one; two people are told apart as
"the left person" and "the right person" or by their places; "beside" is only said of neighbours. A free pose is called
"posing" or nothing, and states no fact.
"""

import random

from models.playworld.labels import Fact
from models.playworld.people import FREE
from models.playworld.scene import POSITIONS, Person, Scene, Thing
from models.playworld.words import (
    GROUND_ADVERBS,
    GROUND_NOUNS,
    KIND_NOUNS,
    MAX_LEN,
    PLACES,
    POSE_PHRASES,
    RANGES,
    SKY_ADVERBS,
    SKY_NOUNS,
    split_words,
)

Phrase = tuple[str, list[Fact]]

# How often each detail is told, before a caption's own terseness.
TOLD = {"sky": 0.88, "ground": 0.88, "thing": 0.95, "person": 0.97, "colour": 0.93, "place": 0.55, "distance": 0.40,
        "pose": 0.92, "shirt": 0.65, "trousers": 0.35, "hat": 0.45, "no hat": 0.12, "hair": 0.22}


def caption(scene: Scene, rng: random.Random) -> tuple[str, tuple[Fact, ...]]:
    """A caption of at most 30 words and marks, and the facts it states."""
    detail = rng.choice((0.55, 0.85, 1.0, 1.05))
    while True:
        text, facts = _Teller(scene, rng, detail).tell()
        if text and len(split_words(text)) <= MAX_LEN - 2:
            return text, tuple(dict.fromkeys(facts))
        detail = 1.0 if not text else detail * 0.85


def article(phrase: str) -> str:
    """The phrase behind "a" or "an"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


class _Teller:
    """One attempt at a caption."""

    def __init__(self, scene: Scene, rng: random.Random, detail: float) -> None:
        self.scene, self.rng, self.detail = scene, rng, detail

    def tells(self, what: str) -> bool:
        share = TOLD[what]
        return self.rng.random() < (share if what in ("thing", "person") else min(share * self.detail, 0.97))

    def tell(self) -> tuple[str, list[Fact]]:
        sky = self._backdrop("sky", self.scene.sky) if self.tells("sky") else None
        ground = self._backdrop("ground", self.scene.ground) if self.tells("ground") else None
        subjects = self._subjects()
        text, facts = _join(subjects, self.rng)
        if not text:
            chosen = [part for part in (sky, ground) if part]
            return ", ".join(nouns for (nouns, _), _ in chosen), [fact for _, fact in chosen]
        return self._arrange(text, sky, ground), [*facts, *(fact for _, fact in filter(None, (sky, ground)))]

    def _backdrop(self, subject: str, value: str) -> tuple[tuple[str, str], Fact]:
        """((as a noun, as an adverb), fact)."""
        nouns, adverbs = (SKY_NOUNS, SKY_ADVERBS) if subject == "sky" else (GROUND_NOUNS, GROUND_ADVERBS)
        return (self.rng.choice(nouns[value]), self.rng.choice(adverbs[value])), Fact(subject, value)

    def _arrange(self, text: str, sky, ground) -> str:
        """Subjects, sky and ground in one of four orders."""
        rng, order = self.rng, self.rng.random()
        (sky_noun, sky_adverb), (ground_noun, ground_adverb) = (part[0] if part else ("", "") for part in (sky, ground))
        if order < 0.45:  # a red house, day sky, grass
            parts = [text, sky_noun, ground_noun] if rng.random() < 0.75 else [text, ground_noun, sky_noun]
        elif order < 0.65:  # at sunset, a red house, on the grass
            parts = [sky_adverb, text, ground_adverb]
        elif order < 0.80:  # a red house, on the grass, at sunset
            parts = [text, ground_adverb, sky_adverb]
        else:  # day sky, grass, a red house
            parts = [sky_noun, ground_noun, text]
        return ", ".join(filter(None, parts)) + ("." if rng.random() < 0.08 else "")

    def _subjects(self) -> list[list[Phrase]]:
        """People and things, each a list of alternatives to be joined by commas; neighbours may be one phrase."""
        rng, scene = self.rng, self.scene
        things = [thing for thing in scene.things if self.tells("thing")]
        rng.shuffle(things)
        people = []
        if not scene.people:
            if rng.random() < 0.12:
                people = [(rng.choice(("nobody", "no people")), [Fact("people", "count", "0")])]
        elif self.tells("person"):
            people = self._one(scene.people[0], things) if len(scene.people) == 1 else self._two()
        phrases = [self._thing(thing) for thing in things]
        if scene.people and people:
            return [*people, *phrases] if rng.random() < 0.7 else [*phrases, *people]
        return [*phrases, *people]

    def _thing(self, thing: Thing) -> Phrase:
        rng, kind = self.rng, thing.kind
        facts, noun, after, before = [Fact(kind, "present")], rng.choice(KIND_NOUNS[kind]), [], ""
        if self.tells("colour"):
            noun = f"{thing.colour} {noun}"
            facts.append(Fact(kind, "colour", thing.colour))
        if self.tells("distance"):
            after.append(rng.choice(RANGES[thing.distance]))
            facts.append(Fact(kind, "distance", thing.distance))
        if self.tells("place"):
            place = rng.choice(PLACES[thing.position])
            facts.append(Fact(kind, "position", thing.position))
            if rng.random() < 0.2:
                before = f"{place} "
            else:
                after.append(place)
        rng.shuffle(after)
        return before + " ".join([article(noun), *after]), facts

    def _one(self, person: Person, things: list[Thing]) -> list[Phrase]:
        """The only person, perhaps together with a thing beside them, which is taken from `things`."""
        rng = self.rng
        text, facts = self._person(rng.choice(("a person", "a person", "a person", "someone")), person, 0, self.tells("place"))
        facts = [Fact("people", "count", "1"), *facts]
        beside = [thing for thing in things if abs(POSITIONS.index(thing.position) - POSITIONS.index(person.position)) == 1]
        if beside and rng.random() < 0.4:
            things.remove(beside[0])
            other, more = self._thing(beside[0])
            if other.startswith(("on ", "in ", "at ")):
                return [(text, facts), (other, more)]
            return [(f"{text} {rng.choice(('beside', 'next to'))} {other}", facts + more)]
        return [(text, facts)]

    def _two(self) -> list[Phrase]:
        rng, (left, right) = self.rng, self.scene.people
        count = Fact("people", "count", "2")
        style = rng.random()
        if style < 0.12 and left.pose == right.pose != FREE:
            poses = [Fact("person0", "pose", left.pose), Fact("person1", "pose", left.pose)]
            return [(f"two people {rng.choice(POSE_PHRASES[left.pose])}", [count, *poses])]
        if style < 0.10:
            return [("two people", [count])]
        if style < 0.55:
            pair = [self._person("the left person", left, 0, False), self._person("the right person", right, 1, False)]
            head = [("two people", [count])] if rng.random() < 0.5 else []
        else:
            pair = [self._person("a person", person, i, True) for i, person in enumerate((left, right))]
            head = []
        pair[0][1].insert(0, count)
        return [*head, *pair]

    def _person(self, name: str, person: Person, i: int, place: bool) -> Phrase:
        rng, facts, groups = self.rng, [], [self._clothes(person, i), self._looks(person, i)]
        rng.shuffle(groups)
        if self.tells("pose"):
            if person.pose != FREE:
                at = rng.choice((0, len(groups)))
                groups.insert(at, (rng.choice(POSE_PHRASES[person.pose]), [Fact(f"person{i}", "pose", person.pose)]))
            elif rng.random() < 0.6:
                groups.insert(rng.choice((0, len(groups))), (FREE, []))
        if place:
            at = rng.choice((0, len(groups)))
            groups.insert(at, (rng.choice(PLACES[person.position]), [Fact(f"person{i}", "position", person.position)]))
        for _, stated in groups:
            facts += stated
        return " ".join([name, *(text for text, _ in groups if text)]), facts

    def _clothes(self, person: Person, i: int) -> Phrase:
        told = [name for name in ("shirt", "trousers") if self.tells(name)]
        texts = {"shirt": article(f"{person.shirt} shirt"), "trousers": f"{person.trousers} trousers"}
        text = " and ".join(texts[name] for name in told)
        facts = [Fact(f"person{i}", name, getattr(person, name)) for name in told]
        return (f"{self.rng.choice(('in', 'in', 'wearing'))} {text}" if text else ""), facts

    def _looks(self, person: Person, i: int) -> Phrase:
        texts, facts = [], []
        if self.tells("hair"):
            texts.append(f"{person.hair} hair")
            facts.append(Fact(f"person{i}", "hair", person.hair))
        if person.hat != "none" and self.tells("hat"):
            texts.append(article(f"{person.hat} hat"))
            facts.append(Fact(f"person{i}", "hat", person.hat))
        if person.hat == "none" and not texts and self.tells("no hat"):
            return "without a hat", [Fact(f"person{i}", "hat", "none")]
        return (f"with {' and '.join(texts)}" if texts else ""), facts


def _join(phrases: list[Phrase], rng: random.Random) -> Phrase:
    """Phrases joined by commas, the last perhaps by "and"."""
    texts = [text for text, _ in phrases]
    facts = [fact for _, stated in phrases for fact in stated]
    if len(texts) > 1 and rng.random() < 0.45:
        return ", ".join(texts[:-1]) + " and " + texts[-1], facts
    return ", ".join(texts), facts
