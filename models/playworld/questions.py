"""Questions about a scene with their answers, in the words of the captions."""

import random

from models.playworld.caption import article
from models.playworld.people import FREE
from models.playworld.scene import KINDS, POSITIONS, Scene
from models.playworld.words import PLACES

NUMBERS = ("zero", "one", "two", "three")


def questions(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    """All questions of the law that this scene answers, in random order, with two about things that are absent."""
    pairs = [
        ("what sky is it?", scene.sky), ("what is the ground?", scene.ground),
        ("how many people are there?", NUMBERS[len(scene.people)]), ("how many things are there?", NUMBERS[len(scene.things)]),
    ]
    for thing in scene.things:
        pairs += [
            (f"is there {article(thing.kind)}?", "yes"), (f"what colour is the {thing.kind}?", thing.colour),
            (f"where is the {thing.kind}?", PLACES[thing.position][0]), (f"is the {thing.kind} near or far?", thing.distance),
        ]
    absent = sorted(set(KINDS) - {thing.kind for thing in scene.things})
    pairs += [(f"is there {article(kind)}?", "no") for kind in rng.sample(absent, 2)]
    for person, name in zip(scene.people, ("person",) if len(scene.people) == 1 else ("left person", "right person")):
        pairs += [
            (f"what colour is the shirt of the {name}?", person.shirt),
            (f"what colour are the trousers of the {name}?", person.trousers),
            (f"what colour is the hair of the {name}?", person.hair), (f"what colour is the hat of the {name}?", person.hat),
            (f"where is the {name}?", PLACES[person.position][0]),
        ]
        if person.pose != FREE:
            pairs.append((f"what is the {name} doing?", person.pose))
    pairs += [(f"what is {PLACES[place][0]}?", _at(scene, place)) for place in POSITIONS]
    rng.shuffle(pairs)
    return pairs


def _at(scene: Scene, place: str) -> str:
    for thing in scene.things:
        if thing.position == place:
            return article(f"{thing.colour} {thing.kind}")
    return "a person" if any(person.position == place for person in scene.people) else "nothing"
