"""How a person is drawn from joints, so that every edited pose can be drawn too."""

import math

import numpy as np

from models.playworld.painter import Frame, Painter, Point, arc
from models.playworld.palette import NAMED, SKINS, Shades, mix, shades
from models.playworld.people import HEAD, NECK_TO_NOSE, TORSO
from models.playworld.scene import Person, Scene
from models.playworld.things import shadow_colour

SHOE = (70, 62, 70)
LEG, ARM, CHEST = 0.084, 0.066, 0.07  # widths as shares of the height


def draw_person(painter: Painter, scene: Scene, person: Person) -> None:
    """One person with a shadow; limbs with a missing end (c = 0) are left out."""
    x, y, unit = person.x * painter.width, person.y * painter.height, painter.unit
    at = [(x + dx * unit, y + dy * unit) if c > 0 else None for dx, dy, c in person.joints]
    height = figure_height(at, person.height * unit)
    skin, shirt = shades(SKINS[person.skin], scene.sky), shades(NAMED[person.shirt], scene.sky)
    trousers, shoe = shades(NAMED[person.trousers], scene.sky), shades(SHOE, scene.sky)
    feet = [at[k][0] for k in (10, 13) if at[k]] or [x]
    shadow = 0.13 + 0.3 * (max(feet) - min(feet)) / height
    Frame(painter, sum(feet) / len(feet), y, height).ground(0, 0, shadow, 0.024, shadow_colour(scene))
    head = _head_frame(painter, at, height)
    if head and person.long_hair:
        _long_hair(head, shades(NAMED[person.hair], scene.sky))
    for hip, knee, ankle, side in ((11, 12, 13, 1), (8, 9, 10, -1)):
        _leg(painter, at[hip], at[knee], at[ankle], side, height, trousers, shoe)
    _trunk(painter, at, height, skin, shirt, trousers)
    for shoulder, elbow, wrist in ((5, 6, 7), (2, 3, 4)):
        _arm(painter, at[shoulder], at[elbow], at[wrist], height, skin, shirt)
    if head:
        _head(head, at, person, scene, skin)


def figure_height(at: list[Point | None], default: float) -> float:
    """The standing height that the trunk and head of these joints belong to, in canvas pixels."""
    found = []
    hips = [at[k] for k in (8, 11) if at[k]]
    if at[1] and hips:
        middle = (sum(p[0] for p in hips) / len(hips), sum(p[1] for p in hips) / len(hips))
        found.append(math.dist(at[1], middle) / TORSO)
    if at[1] and at[0]:
        found.append(math.dist(at[1], at[0]) / NECK_TO_NOSE)
    return float(np.mean(found)) if found else default


def _leg(painter: Painter, hip, knee, ankle, side: int, height: float, trousers: Shades, shoe: Shades) -> None:
    if ankle and knee:
        along = math.atan2(ankle[1] - knee[1], ankle[0] - knee[0])
        toe = (ankle[0] + height * (0.03 * math.cos(along) + 0.028 * side), ankle[1] + height * 0.03 * math.sin(along))
        painter.limb([ankle, toe], 0.062 * height, shoe.base, shoe.line)
    points = [p for p in (hip, knee, ankle) if p] if knee else []
    if len(points) > 1:
        painter.limb(points, LEG * height, trousers.base, trousers.line)
        inner = [(x + 0.016 * height, y) for x, y in points]
        painter.path(inner, 0.032 * height, trousers.dark)


def _trunk(painter: Painter, at: list, height: float, skin: Shades, shirt: Shades, trousers: Shades) -> None:
    neck, nose = at[1], at[0]
    if neck and nose:
        painter.limb([neck, nose], 0.05 * height, skin.dark, skin.line)
    hips = [p for p in (at[8], at[11]) if p]
    if len(hips) == 2:
        painter.limb(hips, LEG * height, trousers.base, trousers.line)
        painter.path(hips, 0.6 * LEG * height, trousers.base)
    corners = [p for p in (at[2], at[5], at[11], at[8]) if p]
    if len(corners) < 3:
        return
    cx, cy = sum(p[0] for p in corners) / len(corners), sum(p[1] for p in corners) / len(corners)
    corners = [(x + 0.10 * (cx - x), y + 0.12 * (cy - y)) for x, y in corners]
    outline = CHEST * height + 2 * painter.pen
    painter.path([*corners, corners[0]], outline, shirt.line)
    painter.path([*corners, corners[0]], CHEST * height, shirt.base)
    painter.polygon(corners, shirt.base)
    if len(corners) == 4:
        rs, ls, lh, rh = corners
        painter.path([_between(ls, rs, 0.12), _between(lh, rh, 0.06)], 0.05 * height, shirt.dark)
        painter.path([_between(rs, ls, 0.10), _between(rs, rh, 0.5)], 0.028 * height, shirt.light)
    if neck and nose:
        painter.path([neck, _between(neck, nose, 0.25)], 0.05 * height, skin.base)


def _between(a: Point, b: Point, share: float) -> Point:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)


def _arm(painter: Painter, shoulder, elbow, wrist, height: float, skin: Shades, shirt: Shades) -> None:
    if elbow and wrist:
        painter.limb([elbow, wrist], 0.88 * ARM * height, skin.base, skin.line)
        painter.ellipse(*wrist, 0.038 * height, 0.038 * height, skin.base, skin.line)
        painter.path([elbow, _between(elbow, wrist, 0.85)], 0.7 * ARM * height, skin.base)
    if shoulder and elbow:
        tip = _between(shoulder, elbow, 1.12)
        painter.limb([shoulder, tip], ARM * height, shirt.base, shirt.line)
        painter.path([_between(shoulder, elbow, -0.15), _between(shoulder, elbow, 0.1)], 0.8 * ARM * height, shirt.base)
        shade = [(x + 0.012 * height, y + 0.010 * height) for x, y in (_between(shoulder, elbow, 0.2), tip)]
        painter.path(shade, 0.026 * height, shirt.dark)


class _HeadFrame(Frame):
    """Coordinates of a head: origin in its middle, y towards the crown, unit its radius; may be tilted."""

    def __init__(self, painter: Painter, x: float, y: float, size: float, up: Point) -> None:
        super().__init__(painter, x, y, size)
        self.up = up

    def at(self, x: float, y: float) -> Point:
        ux, uy = self.up
        return (self.x + self.size * (-uy * x + ux * y), self.y + self.size * (ux * x + uy * y))


def _head_frame(painter: Painter, at: list, height: float) -> _HeadFrame | None:
    if not at[0]:
        return None
    eyes = [p for p in (at[14], at[15]) if p]
    if len(eyes) == 2:  # up is across the line of the eyes, from the nose's side
        dx, dy = at[15][0] - at[14][0], at[15][1] - at[14][1]
        up = (dy, -dx)
    elif at[1]:
        up = (at[0][0] - at[1][0], at[0][1] - at[1][1])
    else:
        up = (0.0, -1.0)
    length = math.hypot(*up) or 1.0
    up = (up[0] / length, up[1] / length)
    middle = at[0]
    if at[16] and at[17]:
        middle = ((at[16][0] + at[17][0]) / 2, (at[16][1] + at[17][1]) / 2)
    elif at[1]:
        middle = (at[1][0] + up[0] * NECK_TO_NOSE * height, at[1][1] + up[1] * NECK_TO_NOSE * height)
    return _HeadFrame(painter, *middle, HEAD * height, up)


def _long_hair(f: Frame, hair: Shades) -> None:
    sides = [(-1.22, -0.75), (-0.7, -1.12), (0.7, -1.12), (1.22, -0.75)]
    f.polygon([*arc(0, 0.12, 1.12, 1.08, 0, 180, 14), *sides], hair.dark, hair.line)


def _head(f: Frame, at: list, person: Person, scene: Scene, skin: Shades) -> None:
    hair = shades(NAMED[person.hair], scene.sky)
    for ear, side in ((at[16], -1), (at[17], 1)):
        if ear:
            f.ellipse(side * 0.97, -0.02, 0.20, 0.24, skin.dark, skin.line)
    f.ellipse(0, 0, 0.98, 1.0, skin.base, skin.line)
    fringe = [*arc(0, 0.04, 1.08, 1.06, -4, 184, 18), (-0.86, 0.30), (-0.42, 0.52), (0.20, 0.48), (0.72, 0.62), (0.90, 0.28)]
    f.polygon(fringe, hair.base, hair.line)
    f.path([(-0.55, 0.72), (-0.15, 0.86)], 0.16, hair.light)
    _features(f, at, skin)
    if person.hat != "none":
        _hat(f, shades(NAMED[person.hat], scene.sky))


def _features(f: Frame, at: list, skin: Shades) -> None:
    """Eyes at their joints, a nose, a smile and cheeks."""
    painter, size = f.painter, f.size
    lips = (140, 44, 52) if sum(skin.base) > 440 else (226, 120, 116)
    for eye in (at[14], at[15]):
        if eye:
            painter.ellipse(*eye, 0.175 * size, 0.215 * size, (250, 248, 246))
            painter.ellipse(*eye, 0.13 * size, 0.17 * size, (34, 26, 38))
    up = f.up
    nose = at[0]

    def near(x: float, y: float) -> Point:
        return (nose[0] + size * (-up[1] * x + up[0] * y), nose[1] + size * (up[0] * x + up[1] * y))

    for s in (-1, 1):
        painter.ellipse(*near(0.52 * s, -0.22), 0.15 * size, 0.11 * size, mix(skin.base, (240, 90, 90), 0.35))
    painter.ellipse(*near(0, -0.02), 0.09 * size, 0.08 * size, skin.dark)
    smile = ((-0.28, -0.36), (-0.14, -0.46), (0.14, -0.46), (0.28, -0.36))
    painter.path([near(x, y) for x, y in smile], max(0.10 * size, 1.0), lips)


def _hat(f: Frame, c: Shades) -> None:
    f.polygon([*arc(0, 0.50, 0.86, 0.86, 0, 180, 14)], c.base, c.line)
    f.polygon([*arc(0, 0.52, 0.74, 0.74, 8, 72, 8), (0.28, 0.62)], c.dark)
    f.path([(-0.42, 0.96), (-0.16, 1.14)], 0.15, c.light)
    f.limb([(-1.18, 0.50), (1.18, 0.50)], 0.20, c.base, c.line)
