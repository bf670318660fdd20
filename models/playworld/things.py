"""How each kind of thing is drawn, in its own frame: foot at (0, 0), y upwards, a house one unit wide."""

from collections.abc import Callable

from models.playworld.backdrop import GROUND, under
from models.playworld.painter import Frame, Painter, arc
from models.playworld.palette import GLASS, NAMED, STONE, TRUNK, Shades, mix, shades
from models.playworld.scene import Scene, Thing


def draw_thing(painter: Painter, scene: Scene, thing: Thing) -> None:
    """One thing with its shadow."""
    frame = Frame(painter, thing.x * painter.width, thing.y * painter.height, thing.size * painter.unit, thing.flip)
    paint = shades(NAMED[thing.colour], scene.sky)
    DRAW[thing.kind](frame, paint, scene)


def shadow_colour(scene: Scene):
    """Ground in shade."""
    return mix(under(GROUND[scene.ground][1], scene.sky), (34, 30, 70), 0.34)


def _house(f: Frame, c: Shades, scene: Scene) -> None:
    stone, wood, glass = shades(STONE, scene.sky), shades(TRUNK, scene.sky), shades(GLASS, scene.sky)
    window = (255, 226, 120) if scene.sky == "night" else glass.base
    roof = shades(mix(NAMED["grey"], NAMED["black"], 0.45), scene.sky)
    f.ground(0.05, 0.0, 0.60, 0.07, shadow_colour(scene))
    f.box(0.20, 0.72, 0.33, 1.08, stone.dark, stone.line)
    f.box(-0.44, 0.0, 0.44, 0.64, c.base, c.line)
    f.box(0.28, 0.02, 0.42, 0.62, c.dark)
    f.polygon([(-0.56, 0.60), (0.56, 0.60), (0.02, 1.08), (-0.02, 1.08)], roof.base, roof.line)
    f.polygon([(-0.46, 0.63), (-0.05, 0.63), (-0.02, 1.00)], roof.light)
    f.box(-0.09, 0.0, 0.13, 0.40, wood.base, wood.line)
    for x in (-0.27, 0.29):
        f.box(x - 0.085, 0.24, x + 0.085, 0.44, window, c.line)
        f.path([(x, 0.26), (x, 0.42)], 0.02, c.line)


def _tree(f: Frame, c: Shades, scene: Scene) -> None:
    wood = shades(TRUNK, scene.sky)
    f.ground(0.04, 0.0, 0.40, 0.06, shadow_colour(scene))
    f.polygon([(-0.10, 0.0), (0.10, 0.0), (0.065, 0.60), (-0.065, 0.60)], wood.base, wood.line)
    crown = ((-0.24, 0.70, 0.25), (0.25, 0.72, 0.25), (-0.12, 1.00, 0.27), (0.15, 1.02, 0.26), (0.0, 0.80, 0.27))
    for x, y, r in crown:
        f.ellipse(x, y, r, r, c.line, c.line)
    inset = 0.75 * f.painter.pen / f.size
    for x, y, r in crown:
        f.ellipse(x, y, r - inset, r - inset, c.dark)
    for x, y, r in crown:
        f.ellipse(x - 0.025, y + 0.045, r - inset - 0.05, r - inset - 0.05, c.base)
    f.ellipse(-0.16, 1.07, 0.10, 0.08, c.light)
    f.ellipse(0.14, 0.98, 0.07, 0.055, c.light)


def _pine(f: Frame, c: Shades, scene: Scene) -> None:
    wood = shades(TRUNK, scene.sky)
    f.ground(0.04, 0.0, 0.38, 0.055, shadow_colour(scene))
    f.box(-0.07, 0.0, 0.07, 0.24, wood.base, wood.line)
    for low, high, half in ((0.16, 0.70, 0.44), (0.48, 1.02, 0.35), (0.82, 1.36, 0.25)):
        f.polygon([(-half, low), (half, low), (0.0, high)], c.base, c.line)
        f.polygon([(0.08, low + 0.03), (half - 0.08, low + 0.03), (0.01, high - 0.08)], c.dark)
        f.polygon([(-half + 0.12, low + 0.05), (-half + 0.22, low + 0.05), (-0.03, high - 0.14)], c.light)


def _wheel(f: Frame, x: float, scene: Scene) -> None:
    rubber, hub = shades(NAMED["black"], scene.sky), shades(STONE, scene.sky)
    f.ellipse(x, 0.125, 0.125, 0.125, rubber.base, rubber.line)
    f.ellipse(x, 0.125, 0.055, 0.055, hub.light)


def _car(f: Frame, c: Shades, scene: Scene) -> None:
    glass = shades(GLASS, scene.sky)
    f.ground(0.0, 0.01, 0.58, 0.065, shadow_colour(scene))
    f.polygon([(-0.36, 0.36), (-0.25, 0.62), (0.14, 0.62), (0.32, 0.36)], c.base, c.line)
    f.polygon([(-0.27, 0.38), (-0.20, 0.56), (-0.05, 0.56), (-0.05, 0.38)], glass.base, c.line)
    f.polygon([(0.01, 0.38), (0.01, 0.56), (0.11, 0.56), (0.23, 0.38)], glass.light, c.line)
    f.polygon([(-0.56, 0.12), (-0.56, 0.34), (-0.50, 0.40), (0.36, 0.39), (0.55, 0.32), (0.56, 0.12)], c.base, c.line)
    f.polygon([(-0.53, 0.15), (-0.53, 0.22), (0.53, 0.22), (0.53, 0.15)], c.dark)
    f.path([(-0.47, 0.345), (0.32, 0.335)], 0.03, c.light)
    f.ellipse(0.51, 0.27, 0.035, 0.04, (255, 240, 170), c.line)
    for x in (-0.30, 0.30):
        _wheel(f, x, scene)


def _ball(f: Frame, c: Shades, scene: Scene) -> None:
    r = 0.30
    white = shades(NAMED["white"] if c.base != shades(NAMED["white"], scene.sky).base else NAMED["grey"], scene.sky)
    f.ground(0.06, 0.01, 0.32, 0.06, shadow_colour(scene))
    f.ellipse(0, r, r, r, c.dark, c.line)
    f.ellipse(-0.02, r + 0.025, r - 0.05, r - 0.05, c.base)
    f.path([(-0.25, 0.20), (-0.12, 0.14), (0.0, 0.12), (0.12, 0.14), (0.25, 0.20)], 0.055, white.base)
    f.ellipse(-0.10, 0.43, 0.07, 0.05, c.light)


def _boat(f: Frame, c: Shades, scene: Scene) -> None:
    water, wood, sail = shades((70, 150, 214), scene.sky), shades(TRUNK, scene.sky), shades(NAMED["white"], scene.sky)
    f.ground(0.0, 0.03, 0.62, 0.145, water.dark)
    f.ground(0.0, 0.025, 0.59, 0.12, water.base)
    f.path([(0.0, 0.2), (0.0, 1.10)], 0.045, wood.line)
    f.polygon([(0.05, 0.34), (0.40, 0.36), (0.05, 1.04)], sail.dark, sail.line)
    f.polygon([(-0.04, 0.34), (-0.34, 0.36), (-0.04, 0.94)], c.light if c.base != sail.base else sail.base, c.line)
    f.polygon([(-0.50, 0.29), (0.52, 0.29), (0.34, 0.04), (-0.34, 0.04)], c.base, c.line)
    f.polygon([(-0.38, 0.13), (0.40, 0.13), (0.33, 0.07), (-0.32, 0.07)], c.dark)
    f.path([(-0.42, 0.245), (0.42, 0.245)], 0.028, c.light)
    if not f.painter.flat:
        for x in (-0.34, 0.22):
            f.path([(x - 0.09, -0.03), (x + 0.09, -0.03)], 0.022, water.light)


def _face(f: Frame, x: float, y: float, c: Shades) -> None:
    """Two eyes and a nose around (x, y)."""
    for dx in (-0.075, 0.075):
        f.ellipse(x + dx, y + 0.03, 0.026, 0.034, (28, 24, 36))
    f.ellipse(x, y - 0.04, 0.026, 0.02, c.line)


def _cat(f: Frame, c: Shades, scene: Scene) -> None:
    f.ground(0.04, 0.0, 0.36, 0.055, shadow_colour(scene))
    f.limb([(0.20, 0.08), (0.36, 0.14), (0.40, 0.32), (0.33, 0.46)], 0.075, c.base, c.line)
    f.ellipse(0.0, 0.24, 0.25, 0.25, c.base, c.line)
    f.ellipse(0.02, 0.20, 0.13, 0.17, c.light)
    for x in (-0.10, 0.10):
        f.ellipse(x, 0.045, 0.085, 0.05, c.base, c.line)
    for s in (-1, 1):
        f.polygon([(s * 0.23, 0.66), (s * 0.20, 0.90), (s * 0.04, 0.77)], c.base, c.line)
        f.polygon([(s * 0.185, 0.72), (s * 0.18, 0.82), (s * 0.10, 0.76)], c.dark)
    f.ellipse(0.0, 0.60, 0.245, 0.205, c.base, c.line)
    _face(f, 0.0, 0.60, c)
    for s in (-1, 1):
        f.path([(s * 0.10, 0.53), (s * 0.22, 0.54)], 0.014, c.line)


def _dog(f: Frame, c: Shades, scene: Scene) -> None:
    f.ground(0.02, 0.0, 0.48, 0.055, shadow_colour(scene))
    f.limb([(-0.36, 0.40), (-0.47, 0.52), (-0.50, 0.64)], 0.065, c.base, c.line)
    for x in (-0.30, -0.16, 0.12, 0.25):
        f.limb([(x, 0.26), (x, 0.055)], 0.085, c.dark if x in (-0.16, 0.12) else c.base, c.line)
    f.limb([(-0.27, 0.345), (0.17, 0.345)], 0.24, c.base, c.line)
    f.path([(-0.24, 0.42), (0.10, 0.42)], 0.05, c.light)
    f.ellipse(0.27, 0.62, 0.19, 0.18, c.base, c.line)
    f.ellipse(0.42, 0.56, 0.125, 0.095, c.light, c.line)
    f.ellipse(0.51, 0.59, 0.04, 0.035, (30, 26, 36))
    f.ellipse(0.30, 0.67, 0.03, 0.038, (28, 24, 36))
    f.limb([(0.16, 0.74), (0.10, 0.55)], 0.10, c.dark, c.line)
    f.path([(0.10, 0.45), (0.25, 0.43)], 0.05, shades(NAMED["red"], scene.sky).dark)


def _flower(f: Frame, c: Shades, scene: Scene) -> None:
    stem = shades((44, 140, 62), scene.sky)
    heart = shades((255, 214, 70) if c.base != shades(NAMED["yellow"], scene.sky).base else TRUNK, scene.sky)
    f.ground(0.02, 0.0, 0.20, 0.035, shadow_colour(scene))
    f.limb([(0.0, 0.03), (0.02, 0.32), (0.0, 0.60)], 0.05, stem.base, stem.line)
    for s in (-1, 1):
        f.polygon([(0.01, 0.10), (s * 0.15, 0.15), (s * 0.25, 0.32), (s * 0.10, 0.28)], stem.base, stem.line)
    petals = arc(0.0, 0.74, 0.19, 0.19, 90, 390, 5)
    for x, y in petals:
        f.ellipse(x, y, 0.125, 0.125, c.base, c.line)
    for x, y in petals:
        f.ellipse(0.75 * x, 0.74 + 0.75 * (y - 0.74), 0.085, 0.085, c.base)
        f.ellipse(x, y + 0.03, 0.055, 0.045, c.light)
    f.ellipse(0.0, 0.74, 0.10, 0.10, heart.base, heart.line)


def _balloon(f: Frame, c: Shades, scene: Scene) -> None:
    """A hot-air balloon; the frame's origin is its middle."""
    basket, rope = shades((186, 132, 76), scene.sky), shades(TRUNK, scene.sky)
    for s in (-1, 1):
        f.path([(s * 0.24, -0.12), (s * 0.09, -0.46)], 0.022, rope.line)
    f.box(-0.115, -0.64, 0.115, -0.44, basket.base, basket.line)
    f.path([(-0.09, -0.48), (0.09, -0.48)], 0.035, basket.light)
    bulb = [*arc(0.0, 0.24, 0.42, 0.42, -25, 205, 20), (-0.12, -0.26), (0.12, -0.26)]
    f.polygon(bulb, c.base, c.line)
    shade = [*arc(0.0, 0.24, 0.385, 0.385, -22, 80, 10), *arc(0.0, 0.24, 0.26, 0.39, 80, -22, 8)]
    f.polygon([(0.09, -0.22), *shade, (0.07, -0.23)], c.dark)
    f.polygon([*arc(0.0, 0.24, 0.14, 0.395, -10, 190, 10), (-0.035, -0.23), (0.035, -0.23)], c.light)
    f.path([(-0.12, -0.26), (0.12, -0.26)], 0.05, c.line)


def _umbrella(f: Frame, c: Shades, scene: Scene) -> None:
    pole = shades(TRUNK, scene.sky)
    f.ground(0.04, 0.0, 0.42, 0.06, shadow_colour(scene))
    f.limb([(0.0, 0.02), (0.0, 1.16)], 0.04, pole.base, pole.line)
    dome = arc(0.0, 0.70, 0.56, 0.46, 0, 180, 16)
    scallops = [point for x in (-0.42, -0.14, 0.14, 0.42) for point in arc(x, 0.70, 0.14, 0.07, 180, 0, 5)]
    f.polygon([*dome, *scallops], c.base, c.line)
    f.polygon([(0.0, 1.14), *arc(0.0, 0.70, 0.52, 0.43, 60, 12, 6), *arc(0.14, 0.72, 0.13, 0.06, 0, 180, 5)], c.dark)
    f.polygon([(0.0, 1.14), *arc(0.0, 0.70, 0.52, 0.43, 120, 160, 6), *arc(-0.14, 0.74, 0.12, 0.05, 180, 0, 5)], c.light)
    f.path([(-0.02, 1.14), (-0.14, 0.77)], 0.018, c.line)
    f.path([(0.02, 1.14), (0.14, 0.77)], 0.018, c.line)


def _kite(f: Frame, c: Shades, scene: Scene) -> None:
    """A kite with a tail; the frame's origin is its middle."""
    line = shades(TRUNK, scene.sky)
    f.path([(0.02, -0.10), (0.10, -0.28), (-0.06, -0.42), (0.06, -0.56), (-0.04, -0.66)], 0.026, line.line)
    for x, y in ((0.07, -0.34), (0.0, -0.50)):
        f.polygon([(x - 0.10, y + 0.05), (x - 0.10, y - 0.05), (x + 0.10, y + 0.05), (x + 0.10, y - 0.05)], c.base)
    top, right, bottom, left = (0.0, 0.66), (0.36, 0.28), (0.0, -0.18), (-0.36, 0.28)
    f.polygon([top, right, bottom, left], c.base, c.line)
    f.polygon([(0.02, 0.58), (0.30, 0.30), (0.02, 0.30)], c.light)
    f.polygon([(-0.29, 0.25), (-0.02, 0.25), (-0.02, -0.10)], c.dark)
    f.path([top, bottom], 0.02, c.line)
    f.path([left, right], 0.02, c.line)


DRAW: dict[str, Callable[[Frame, Shades, Scene], None]] = {
    "house": _house, "tree": _tree, "pine": _pine, "car": _car, "ball": _ball, "boat": _boat, "cat": _cat, "dog": _dog,
    "flower": _flower, "balloon": _balloon, "umbrella": _umbrella, "kite": _kite,
}
