"""Sky, hills and ground of Playworld."""

import math
import random
from functools import lru_cache

import numpy as np
from PIL import Image

from models.playworld.painter import Painter
from models.playworld.palette import LIGHT, Rgb, mix
from models.playworld.scene import Scene

SKY: dict[str, tuple[Rgb, ...]] = {  # from the top to the horizon
    "day": ((84, 164, 236), (146, 204, 246), (214, 238, 250)),
    "sunset": ((108, 82, 158), (232, 124, 128), (255, 196, 120)),
    "night": ((14, 18, 52), (28, 38, 88), (58, 70, 128)),
    "overcast": ((128, 138, 150), (166, 174, 184), (200, 206, 212)),
}
GROUND: dict[str, tuple[Rgb, Rgb]] = {  # at the horizon, at the bottom
    "grass": ((156, 206, 108), (112, 182, 78)), "sand": ((246, 224, 172), (230, 198, 138)),
    "snow": ((232, 240, 250), (248, 251, 255)), "road": ((116, 118, 128), (92, 94, 104)),
}
HILL: dict[str, Rgb] = {"grass": (112, 170, 104), "sand": (224, 190, 132), "snow": (206, 220, 238), "road": (128, 158, 116)}
HAZE: dict[str, tuple[Rgb, float]] = {  # what distance mixes into the hills
    "day": ((170, 212, 240), 0.30), "sunset": ((226, 130, 124), 0.42),
    "night": ((30, 38, 86), 0.60), "overcast": ((170, 178, 186), 0.42),
}
DIM = {"day": 1.0, "sunset": 0.93, "night": 0.62, "overcast": 0.90}  # how bright each sky leaves the ground


def under(colour: Rgb, sky: str) -> Rgb:
    """A ground colour under the light of a sky; pale ground keeps more of it at night."""
    dim = max(DIM[sky], 0.80 if min(colour) > 200 else 0.72 if max(colour) > 220 else 0.0)
    return tuple(round(value * light * dim) for value, light in zip(colour, LIGHT[sky]))


@lru_cache(maxsize=64)
def _gradient(stops: tuple[Rgb, ...], width: int, height: int) -> Image.Image:
    at = np.linspace(0, len(stops) - 1, height)
    rows = np.stack([np.interp(at, range(len(stops)), [stop[k] for stop in stops]) for k in range(3)], 1)
    column = Image.fromarray(np.round(rows).astype(np.uint8)[:, None])
    return column.resize((width, height), Image.Resampling.NEAREST)


def gradient(stops: tuple[Rgb, ...], width: int, height: int) -> Image.Image:
    """A vertical gradient; kept for the next scene unless it is large."""
    make = _gradient if width * height <= 640 * 640 else _gradient.__wrapped__
    return make(stops, width, height)


def sky_image(scene: Scene, width: int, height: int) -> Image.Image:
    """A fresh canvas filled with the sky's gradient."""
    return gradient(SKY[scene.sky], width, height).copy()


def draw_backdrop(painter: Painter, scene: Scene) -> None:
    """Sun, moon, stars and clouds, then hills, then the ground with its marks."""
    rng = random.Random(scene.weather)
    {"day": _day, "sunset": _sunset, "night": _night, "overcast": _overcast}[scene.sky](painter, rng)
    _hills(painter, scene, rng)
    top = round(scene.horizon * painter.height)
    stops = tuple(under(colour, scene.sky) for colour in GROUND[scene.ground])
    painter.image.paste(gradient(stops, painter.width, painter.height - top), (0, top))
    {"grass": _grass, "sand": _sand, "snow": _snow, "road": _road}[scene.ground](painter, scene, rng)


def _disc(painter: Painter, x: float, y: float, radius: float, fill: Rgb) -> None:
    painter.ellipse(x * painter.width, y * painter.height, radius * painter.unit, radius * painter.unit, fill)


def _cloud(painter: Painter, x: float, y: float, size: float, fill: Rgb, shade: Rgb) -> None:
    puffs = ((-1.0, 0.0, 0.55), (-0.35, -0.30, 0.72), (0.40, -0.16, 0.62), (1.0, 0.05, 0.48))
    for colour, drop in ((shade, 0.14), (fill, 0.0)):
        for dx, dy, radius in puffs:
            painter.ellipse(x * painter.width + dx * size * painter.unit, y * painter.height + (dy + drop) * size * painter.unit,
                            radius * size * painter.unit, radius * 0.72 * size * painter.unit, colour)


def _day(painter: Painter, rng: random.Random) -> None:
    x = rng.choice((0.10, 0.34, 0.66, 0.90))
    _disc(painter, x, 0.11, 0.088, (196, 224, 232))
    _disc(painter, x, 0.11, 0.064, (255, 236, 130))
    for _ in range(rng.choice((1, 2, 2))):
        _cloud(painter, rng.uniform(0.1, 0.9), rng.uniform(0.10, 0.36), rng.uniform(0.055, 0.085),
               (255, 255, 255), (222, 236, 248))


def _sunset(painter: Painter, rng: random.Random) -> None:
    x = rng.choice((0.20, 0.34, 0.66, 0.80))
    _disc(painter, x, 0.47, 0.150, (250, 172, 122))
    _disc(painter, x, 0.47, 0.105, (255, 226, 138))
    for _ in range(2):
        x, y, unit = rng.uniform(0.1, 0.9) * painter.width, rng.uniform(0.10, 0.30) * painter.height, painter.unit
        half = rng.uniform(0.10, 0.20) * unit
        painter.path([(x - half, y), (x + half, y)], 0.028 * unit, (214, 116, 142))
        y -= 0.02 * unit
        painter.path([(x - 0.4 * half, y), (x + 0.6 * half, y)], 0.024 * unit, (240, 150, 146))


def _night(painter: Painter, rng: random.Random) -> None:
    for _ in range(22):
        x, y, radius = rng.random(), rng.uniform(0.01, 0.48), rng.choice((0.0045, 0.006, 0.0085))
        _disc(painter, x, y, radius, rng.choice(((255, 255, 255), (200, 212, 255), (255, 240, 200))))
    x = rng.choice((0.12, 0.34, 0.66, 0.88))
    _disc(painter, x, 0.12, 0.086, (44, 54, 106))
    _disc(painter, x, 0.12, 0.066, (246, 242, 214))
    for dx, dy, radius in ((-0.020, -0.014, 0.014), (0.018, 0.016, 0.017), (0.014, -0.030, 0.008)):
        _disc(painter, x + dx, 0.12 + dy, radius, (222, 216, 186))


def _overcast(painter: Painter, rng: random.Random) -> None:
    for y, size in ((0.07, 0.115), (0.07, 0.12), (0.18, 0.10), (0.28, 0.085)):
        _cloud(painter, rng.uniform(0.05, 0.95), y + rng.uniform(-0.02, 0.02), size, (182, 190, 199), (150, 159, 170))


def _hills(painter: Painter, scene: Scene, rng: random.Random) -> None:
    haze, share = HAZE[scene.sky]
    base = mix(under(HILL[scene.ground], scene.sky), haze, share)
    for colour, lift, rise in ((mix(base, haze, 0.45), 0.085, 0.045), (base, 0.035, 0.03)):
        phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(1.0, 1.7)
        points = []
        for i in range(25):
            x = i / 24
            y = scene.horizon - lift - rise * math.sin(2 * math.pi * waves * x + phase)
            points.append((x * painter.width, y * painter.height))
        painter.polygon([*points, (painter.width, painter.height), (0, painter.height)], colour)


def _spots(painter: Painter, scene: Scene, rng: random.Random, n: int):
    """n places on the ground, (x, y, size in canvas pixels), larger towards the viewer."""
    for _ in range(n):
        depth = rng.random()
        y = scene.horizon + 0.04 + depth * (0.94 - scene.horizon)
        yield rng.random() * painter.width, y * painter.height, (0.4 + 0.6 * depth) * painter.unit


def _grass(painter: Painter, scene: Scene, rng: random.Random) -> None:
    dark = under((84, 154, 60), scene.sky)
    for x, y, size in _spots(painter, scene, rng, 9):
        for lean in (-0.014, 0.0, 0.014):
            painter.path([(x, y), (x + lean * size, y - 0.026 * size)], 0.007 * size, dark)


def _sand(painter: Painter, scene: Scene, rng: random.Random) -> None:
    dark = under((208, 172, 112), scene.sky)
    for x, y, size in _spots(painter, scene, rng, 7):
        w = 0.06 * size
        painter.path([(x - w, y), (x - w / 2, y - w / 5), (x, y), (x + w / 2, y - w / 5), (x + w, y)], 0.008 * size, dark)


def _snow(painter: Painter, scene: Scene, rng: random.Random) -> None:
    shade = under((206, 220, 240), scene.sky)
    for x, y, size in _spots(painter, scene, rng, 6):
        painter.ellipse(x, y, 0.085 * size, 0.013 * size, shade)


def _road(painter: Painter, scene: Scene, rng: random.Random) -> None:
    width, top = painter.width, scene.horizon * painter.height
    kerb = 0.018 * painter.unit
    painter.polygon([(0, top), (width, top), (width, top + kerb), (0, top + kerb)], under((196, 196, 200), scene.sky))
    unit, y = painter.unit, 0.955 * painter.height
    dash, shift, lean, thick = 0.26 * unit, rng.uniform(0, 0.26) * unit, 0.02 * unit, 0.022 * unit
    paint = under((244, 238, 214), scene.sky)
    x = -shift
    while x < width:
        painter.polygon([(x + lean, y), (x + 0.6 * dash + lean, y), (x + 0.6 * dash, y + thick), (x, y + thick)], paint)
        x += dash
