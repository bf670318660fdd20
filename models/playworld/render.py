"""From a scene to pictures and exact annotations: render, joints, instances, mask, boxes.

Everything is drawn enlarged and averaged down, which is the antialiasing. `instances` draws the same strokes once more
in flat numbers, so that masks and boxes are those of the drawing.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from models.playworld.backdrop import draw_backdrop, sky_image
from models.playworld.figure import draw_person
from models.playworld.painter import Painter
from models.playworld.scene import FLYING, KINDS, Scene
from models.playworld.things import draw_thing

MASK_CLASSES = ("sky", "ground", "person", *KINDS)
MAX_SIZE = 4096  # pixels a side


def _canvas_size(size: int, height: int | None) -> tuple[int, int, int]:
    width, height = int(size), int(size if height is None else height)
    if not (8 <= width <= MAX_SIZE and 8 <= height <= MAX_SIZE):
        raise ValueError(f"a picture side must lie between 8 and {MAX_SIZE} pixels, not {width} x {height}")
    side = max(width, height)
    return width, height, 3 if side <= 640 else 2 if side <= 1024 else 1


def _elements(scene: Scene) -> list[tuple[str, int]]:
    """('thing' or 'person', index) from back to front."""
    things = sorted(range(len(scene.things)), key=lambda i: (scene.things[i].kind not in FLYING, scene.things[i].y))
    return [("thing", i) for i in things] + [("person", i) for i in range(len(scene.people))]


def _draw_elements(painter: Painter, scene: Scene) -> None:
    for number, (sort, i) in enumerate(_elements(scene)):
        painter.element = number + 2
        if sort == "thing":
            draw_thing(painter, scene, scene.things[i])
        else:
            draw_person(painter, scene, scene.people[i])


def render(scene: Scene, size: int = 128, height: int | None = None) -> np.ndarray:
    """The picture, uint8 (H, W, 3); `size` is the width, and the height too unless one is given."""
    width, height, scale = _canvas_size(size, height)
    image = sky_image(scene, width * scale, height * scale)
    painter = Painter(image)
    draw_backdrop(painter, scene)
    _draw_elements(painter, scene)
    return np.array(image.reduce(scale) if scale > 1 else image)


def instances(scene: Scene, size: int = 128, height: int | None = None) -> np.ndarray:
    """Which element each pixel shows, uint8 (H, W): 0 sky, 1 ground from the horizon down, then 2, 3, ... back to front."""
    width, height, scale = _canvas_size(size, height)
    image = Image.new("L", (width * scale, height * scale), 0)
    image.paste(1, (0, round(scene.horizon * height * scale), width * scale, height * scale))
    _draw_elements(Painter(image, flat=True), scene)
    return np.asarray(image)[scale // 2::scale, scale // 2::scale].copy()


def mask(scene: Scene, size: int = 128, height: int | None = None) -> np.ndarray:
    """Class of each pixel, uint8 (H, W), numbers into MASK_CLASSES."""
    table = [0, 1]
    for sort, i in _elements(scene):
        table.append(2 if sort == "person" else MASK_CLASSES.index(scene.things[i].kind))
    return np.array(table, np.uint8)[instances(scene, size, height)]


def boxes(scene: Scene, size: int = 128, height: int | None = None) -> list[tuple[str, int, int, int, int]]:
    """(label, x0, y0, x1, y1) around the visible pixels of each thing, then of each person left to right; x1, y1 lie outside."""
    drawn = instances(scene, size, height)
    found = {}
    for number, (sort, i) in enumerate(_elements(scene)):
        rows, columns = np.nonzero(drawn == number + 2)
        if len(rows):
            label = "person" if sort == "person" else scene.things[i].kind
            found[sort != "thing", i] = (label, int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return [found[key] for key in sorted(found)]


def joints(scene: Scene, size: int = 128, height: int | None = None) -> np.ndarray:
    """Pixel x, y and visibility of everyone's 18 joints, float32 (P, 18, 3), people from left to right."""
    width, height = int(size), int(size if height is None else height)
    unit = min(width, height)
    people = [[(p.x * width + x * unit, p.y * height + y * unit, c) for x, y, c in p.joints] for p in scene.people]
    return np.array(people, np.float32).reshape(-1, 18, 3)


def with_joints(scene: Scene, people: np.ndarray, size: int = 128, height: int | None = None) -> Scene:
    """The same scene with its people's joints replaced by pixel joints (P, 18, 3), P at most the number of people."""
    width, height = int(size), int(size if height is None else height)
    unit = min(width, height)
    moved = list(scene.people)
    for i, points in enumerate(np.asarray(people, float)):
        person = moved[i]
        relative = tuple(((x - person.x * width) / unit, (y - person.y * height) / unit, float(c)) for x, y, c in points)
        moved[i] = replace(person, joints=relative)
    return replace(scene, people=tuple(moved))
