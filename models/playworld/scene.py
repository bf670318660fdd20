"""What a Playworld picture contains: skies, grounds, things, people, and how a seed chooses them.

A scene is a plain record; `render`, `caption`, `labels`, `joints` and the rest are functions of it. Lengths are
shares of the picture: x of its width, y of its height (downwards), sizes and joints of its shorter side.
"""

import random
from dataclasses import dataclass

from models.playworld.people import FREE, POSES, Joints, random_angles, skeleton
from models.playworld.splits import HELD_OUT_BACKDROPS, HELD_OUT_PEOPLE, HELD_OUT_THINGS, SPLITS

SKIES = ("day", "sunset", "night", "overcast")
GROUNDS = ("grass", "sand", "snow", "road")
KINDS = ("house", "tree", "pine", "car", "ball", "boat", "cat", "dog", "flower", "balloon", "umbrella", "kite")
FLYING = frozenset({"balloon", "kite"})
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
TROUSERS = ("black", "grey", "brown", "blue", "red", "green", "purple", "white")
HAIRS = ("black", "brown", "blond", "ginger", "grey")
HATS = ("none", *COLOURS)
SKINS = 5
POSITIONS = ("left", "middle", "right")
DISTANCES = ("near", "far")
SLOT_X = {"left": 0.18, "middle": 0.50, "right": 0.82}
UNIT = {"near": 0.30, "far": 0.18}  # width of a house
GROWN = {"cat": 1.15, "ball": 1.30, "flower": 1.15, "dog": 1.05}  # small kinds are drawn larger than life
# Wide poses fit more rarely between the neighbours and are drawn more often, so that all come out about equally often.
POSE_WEIGHTS = {
    "kicking": 1.7, "arms wide": 1.45, "walking": 1.2, "running": 1.15, "standing": 0.8, "arms up": 0.85, "waving": 0.9,
}
BORDER = 0.05  # people keep this far from the picture's edge


@dataclass(frozen=True)
class Thing:
    """One thing; (x, y) is the middle of its foot, or of the whole thing if it flies; size is the width of a house."""

    kind: str
    colour: str
    position: str
    distance: str
    x: float
    y: float
    size: float
    flip: bool


@dataclass(frozen=True)
class Person:
    """One person; (x, y) is the spot on the ground below the hips, joints are (x, y, c) relative to it."""

    pose: str
    shirt: str
    trousers: str
    hat: str
    hair: str
    long_hair: bool
    skin: int
    position: str
    x: float
    y: float
    height: float
    joints: Joints


@dataclass(frozen=True)
class Scene:
    """A whole picture; people are sorted left to right, things too."""

    seed: int
    split: str
    sky: str
    ground: str
    horizon: float
    weather: int  # seed of clouds, stars, hills and ground marks
    things: tuple[Thing, ...]
    people: tuple[Person, ...]


def sample_scene(seed: int, split: str = "train") -> Scene:
    """The scene of this seed in this split; the same on every machine and in every process."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    rng = random.Random(f"playworld/{split}/{int(seed)}")
    wanted = _pick_held_out(rng) if split == "held-out" else ("", ())
    while True:
        scene = _draft(rng, int(seed), split, *wanted)
        if _is_clear(scene):
            return scene


def _pick_held_out(rng: random.Random) -> tuple[str, tuple[str, str]]:
    sort = rng.choices(("thing", "person", "backdrop"), (5, 4, 1))[0]
    pairs = {"thing": HELD_OUT_THINGS, "person": HELD_OUT_PEOPLE, "backdrop": HELD_OUT_BACKDROPS}[sort]
    return sort, rng.choice(sorted(pairs))


def _draft(rng: random.Random, seed: int, split: str, sort: str, pair: tuple[str, ...]) -> Scene:
    """A scene that may still have people and things in each other's way; `pair` is the combination it must show."""
    closed = split != "held-out"
    n_people = rng.choices((0, 1, 2), (3, 8, 3))[0]
    if sort == "person":
        n_people = max(n_people, 1)
    n_things = rng.choices(range(4 - n_people), ((1, 3, 4, 4), (2, 4, 5), (2, 5))[n_people])[0]
    if sort == "thing":
        n_things = max(n_things, 1)
    slots = _slots(rng, n_people)
    kinds = rng.sample(KINDS, n_things)
    if sort == "thing" and pair[1] not in kinds:
        kinds[0] = pair[1]
    sky, ground = pair if sort == "backdrop" else _backdrop(rng, closed)
    horizon = rng.uniform(0.56, 0.62)
    people = [_person(rng, slot, n_people, closed, pair if sort == "person" and i == 0 else None)
              for i, slot in enumerate(slots[:n_people])]
    things = [_thing(rng, kind, slot, horizon, closed, pair if sort == "thing" and kind == pair[1] else None)
              for kind, slot in zip(kinds, slots[n_people:])]
    return Scene(seed, split, sky, ground, horizon, rng.getrandbits(32),
                 tuple(sorted(things, key=lambda thing: thing.x)), tuple(sorted(people, key=lambda person: person.x)))


def _slots(rng: random.Random, n_people: int) -> list[str]:
    """All three places in random order, people's first; two people mostly stand left and right."""
    slots = rng.sample(POSITIONS, 3)
    if n_people == 2 and "middle" in slots[:2] and rng.random() < 0.6:
        slots.remove("middle")
        slots.append("middle")
    return slots


def _backdrop(rng: random.Random, closed: bool) -> tuple[str, str]:
    while True:
        pair = (rng.choice(SKIES), rng.choice(GROUNDS))
        if not (closed and pair in HELD_OUT_BACKDROPS):
            return pair


def _thing(rng: random.Random, kind: str, position: str, horizon: float, closed: bool, pair) -> Thing:
    colours = [colour for colour in COLOURS if not (closed and (colour, kind) in HELD_OUT_THINGS)]
    colour = pair[0] if pair else rng.choice(colours)
    distance = rng.choice(DISTANCES)
    if kind in FLYING:
        y = rng.uniform(0.25, 0.29) if distance == "near" else rng.uniform(0.16, 0.28)
    else:
        y = rng.uniform(0.85, 0.92) if distance == "near" else horizon + rng.uniform(0.03, 0.07)
    x = SLOT_X[position] + rng.uniform(-0.015, 0.015)
    size = UNIT[distance] * GROWN.get(kind, 1.0) * rng.uniform(0.96, 1.04)
    return Thing(kind, colour, position, distance, x, y, size, rng.random() < 0.5)


def _person(rng: random.Random, position: str, n_people: int, closed: bool, pair) -> Person:
    pose = FREE if rng.random() < 0.15 else rng.choices(tuple(POSES), [POSE_WEIGHTS.get(name, 1.0) for name in POSES])[0]
    shirts = [colour for colour in COLOURS if not (closed and (pose, colour) in HELD_OUT_PEOPLE)]
    shirt = rng.choice(shirts)
    if pair:
        pose, shirt = pair
    height = rng.uniform(0.56, 0.68) if n_people == 1 else rng.uniform(0.48, 0.57)
    turn = rng.uniform(-1, 1) if rng.random() < 0.4 else rng.uniform(-0.3, 0.3)
    joints = skeleton(random_angles(pose, rng), height, rng.uniform(-8, 8), turn)
    low, high = min(x for x, _, _ in joints) - BORDER, max(x for x, _, _ in joints) + BORDER
    x = {"left": 0.21, "middle": 0.5, "right": 0.79}[position] + rng.uniform(-0.02, 0.02)
    x = min(max(x, -low), 1 - high)
    hat = "none" if rng.random() < 0.5 else rng.choice(COLOURS)
    return Person(pose, shirt, rng.choice(TROUSERS), hat, rng.choice(HAIRS), rng.random() < 0.5, rng.randrange(SKINS),
                  position, x, rng.uniform(0.91, 0.95), height, joints)


def _is_clear(scene: Scene) -> bool:
    """True if everyone stands in the named third, no two people touch, and no limb hides much of a thing."""
    for person in scene.people:
        if not {"left": 0.0, "middle": 0.40, "right": 0.61}[person.position] <= person.x <= {
                "left": 0.39, "middle": 0.60, "right": 1.0}[person.position]:
            return False
    if len(scene.people) == 2:
        left, right = scene.people
        gap = right.x + min(x for x, _, _ in right.joints) - left.x - max(x for x, _, _ in left.joints)
        if gap < 0.02:
            return False
    return all(_hidden_share(person, thing) < 0.14 for person in scene.people for thing in scene.things)


# Parent of each body joint, with the half width of the limb between them as a share of the height.
_LIMBS = ((1, 0, 0.10), (1, 8, 0.07), (1, 11, 0.07), (2, 3, 0.04), (3, 4, 0.04), (5, 6, 0.04), (6, 7, 0.04),
          (8, 9, 0.05), (9, 10, 0.05), (11, 12, 0.05), (12, 13, 0.05))


def _hidden_share(person: Person, thing: Thing) -> float:
    """About which share of a thing's box a person's limbs cover."""
    half = 0.52 * thing.size
    top, bottom = (thing.y - 0.65 * thing.size, thing.y + 0.65 * thing.size) if thing.kind in FLYING else (
        thing.y - (1.2 if thing.kind in ("tree", "pine", "umbrella", "boat") else 0.75) * thing.size, thing.y)
    covered = 0.0
    for a, b, half_width in _LIMBS:
        (ax, ay, _), (bx, by, _) = person.joints[a], person.joints[b]
        piece = (((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5 / 4) * 2 * half_width * person.height
        for t in (0.125, 0.375, 0.625, 0.875):
            x, y = person.x + ax + t * (bx - ax), person.y + ay + t * (by - ay)
            reach = half_width * person.height
            if abs(x - thing.x) < half + reach and top - reach < y < bottom + reach:
                covered += piece
    return covered / (2 * half * (bottom - top))
