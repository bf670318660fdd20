"""Colours of Playworld: names to RGB, the light of each sky, and the shades of a colour."""

from functools import lru_cache
from typing import NamedTuple

Rgb = tuple[int, int, int]

NAMED: dict[str, Rgb] = {
    "red": (219, 48, 46), "orange": (245, 134, 28), "yellow": (252, 210, 38), "green": (34, 146, 72),
    "blue": (42, 98, 216), "purple": (136, 70, 194), "pink": (248, 136, 188), "white": (248, 247, 242),
    "black": (48, 46, 56), "grey": (138, 142, 152), "brown": (122, 78, 46), "blond": (236, 200, 104), "ginger": (204, 96, 38),
}
SKINS: tuple[Rgb, ...] = ((255, 220, 192), (243, 194, 156), (212, 154, 112), (166, 112, 78), (124, 82, 58))
TRUNK: Rgb = (128, 86, 54)
GLASS: Rgb = (186, 222, 240)
STONE: Rgb = (206, 198, 186)

LIGHT: dict[str, tuple[float, float, float]] = {  # what each sky leaves of red, green and blue
    "day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.94, 0.88), "night": (0.87, 0.88, 0.98), "overcast": (0.94, 0.95, 0.97),
}


class Shades(NamedTuple):
    """One colour in four steps: lit side, itself, side in shade, outline."""

    light: Rgb
    base: Rgb
    dark: Rgb
    line: Rgb


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """a with this share of b."""
    return tuple(round(p + (q - p) * share) for p, q in zip(a, b))


@lru_cache(maxsize=512)
def shades(colour: Rgb, sky: str) -> Shades:
    """The four shades of a colour under a sky."""
    base = tuple(round(value * light) for value, light in zip(colour, LIGHT[sky]))
    return Shades(mix(base, (255, 255, 255), 0.30), base, mix(base, (30, 22, 66), 0.24), mix(base, (26, 18, 40), 0.72))
