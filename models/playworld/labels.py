"""The complete categorical truth of a scene, for judges, and the facts a caption may state about it.

A head is one question with a closed list of answers: `sky`, `ground`, `people.count`, `<kind>.present|colour|position|
distance` for each kind, and `person0|person1.pose|shirt|trousers|hat|hair|position` from left to right.
"""

from dataclasses import dataclass

from models.playworld.people import POSES
from models.playworld.scene import COLOURS, DISTANCES, GROUNDS, HAIRS, HATS, KINDS, POSITIONS, SKIES, TROUSERS, Scene

COUNTS = ("0", "1", "2")
THING_HEADS = {"present": ("no", "yes"), "colour": COLOURS, "position": POSITIONS, "distance": DISTANCES}
PERSON_HEADS = {"pose": tuple(POSES), "shirt": COLOURS, "trousers": TROUSERS, "hat": HATS, "hair": HAIRS, "position": POSITIONS}

LABELS: dict[str, tuple[str, ...]] = {
    "sky": SKIES, "ground": GROUNDS, "people.count": COUNTS,
    **{f"{kind}.{name}": classes for kind in KINDS for name, classes in THING_HEADS.items()},
    **{f"person{i}.{name}": classes for i in range(2) for name, classes in PERSON_HEADS.items()},
}


@dataclass(frozen=True)
class Fact:
    """One thing a caption states: Fact("sky", "day"), Fact("house", "present"), Fact("person0", "pose", "waving")."""

    subject: str
    attribute: str
    value: str = ""

    @property
    def head(self) -> str:
        """The head of LABELS that decides this fact."""
        return self.subject if self.subject in ("sky", "ground") else f"{self.subject}.{self.attribute}"

    @property
    def index(self) -> int:
        """The class of that head that makes this fact true."""
        if self.subject in ("sky", "ground"):
            return LABELS[self.head].index(self.attribute)
        return LABELS[self.head].index(self.value or "yes")


def labels(scene: Scene) -> dict[str, int]:
    """Head to class number; -1 where there is no answer (an absent thing or person, the pose of a free pose)."""
    found = dict.fromkeys(LABELS, -1)
    found["sky"], found["ground"] = SKIES.index(scene.sky), GROUNDS.index(scene.ground)
    found["people.count"] = len(scene.people)
    found.update({f"{kind}.present": 0 for kind in KINDS})
    for thing in scene.things:
        found[f"{thing.kind}.present"] = 1
        for name in ("colour", "position", "distance"):
            found[f"{thing.kind}.{name}"] = THING_HEADS[name].index(getattr(thing, name))
    for i, person in enumerate(scene.people):
        for name, classes in PERSON_HEADS.items():
            value = getattr(person, name)
            found[f"person{i}.{name}"] = classes.index(value) if value in classes else -1
    return found
