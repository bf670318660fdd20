"""Which word combinations Playworld keeps back.

A model that has learnt words, and not pictures by heart, can draw a combination it never saw. So training and
validation scenes never show one of the pairs below; every held-out scene shows at least one. Each split also draws
its seeds from a namespace of its own, so no two splits share a scene.
"""

SPLITS = ("train", "validation", "held-out")

# (colour, kind): one for each kind of thing.
HELD_OUT_THINGS = frozenset({
    ("purple", "house"), ("blue", "tree"), ("pink", "pine"), ("green", "car"), ("orange", "ball"), ("red", "boat"),
    ("blue", "cat"), ("yellow", "dog"), ("white", "flower"), ("green", "balloon"), ("orange", "umbrella"), ("purple", "kite"),
})

# (pose, shirt colour)
HELD_OUT_PEOPLE = frozenset({
    ("waving", "green"), ("arms up", "red"), ("running", "purple"), ("sitting", "blue"),
    ("kicking", "yellow"), ("jumping", "white"), ("pointing", "orange"), ("hands on hips", "pink"),
})

# (sky, ground)
HELD_OUT_BACKDROPS = frozenset({("sunset", "snow"), ("overcast", "sand")})


def held_out_combinations(scene) -> tuple[tuple[str, str], ...]:
    """The held-out pairs that a scene shows, in the order backdrop, things, people."""
    backdrop = {(scene.sky, scene.ground)} & HELD_OUT_BACKDROPS
    things = {(thing.colour, thing.kind) for thing in scene.things} & HELD_OUT_THINGS
    people = {(person.pose, person.shirt) for person in scene.people} & HELD_OUT_PEOPLE
    return (*sorted(backdrop), *sorted(things), *sorted(people))
