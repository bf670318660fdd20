"""A walk as a file: animation, picture, arrays, table, and what is no file."""

import csv
import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from app.jobs.plane import ExportPlane
from app.protocol.events import Failed
from app.protocol.plane import CloudPoints, Particles


def moments(count: int = 4) -> tuple[Particles, ...]:
    rng = np.random.default_rng(0)
    return tuple(
        Particles(xy=rng.normal(size=(50, 2)), way="walk", index=k, time=k / 3, evaluations=k, signal=1.0, noise=3.0 - k)
        for k in range(count)
    )


DATA = CloudPoints(xy=np.zeros((10, 2)), title="Moons", centre=(0.0, 0.0), scale=1.0)


def test_an_animation_has_every_moment_and_moves(drive, tmp_path):
    path = tmp_path / "walk.gif"
    drive(ExportPlane(path=str(path), moments=moments(), data=DATA))
    with PIL.Image.open(path) as film:
        assert film.n_frames == 4
        first = np.asarray(film.convert("RGB"))
        film.seek(3)
        assert not np.array_equal(first, np.asarray(film.convert("RGB")))


def test_positions_are_those_of_the_walk(drive, tmp_path):
    path, made = tmp_path / "walk.npz", moments()
    drive(ExportPlane(path=str(path), moments=made))
    with np.load(path) as found:
        assert np.array_equal(found["walk_xy"], np.stack([one.xy for one in made])) and np.array_equal(found["walk_noise"], [3, 2, 1, 0])


def test_a_table_is_of_the_chosen_moment(drive, tmp_path):
    path, made = tmp_path / "walk.csv", moments()
    drive(ExportPlane(path=str(path), moments=made, at=2))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert rows[0] == ["x", "y"] and np.allclose(np.array(rows[1:], float), made[2].xy)


def test_a_picture_opens(drive, tmp_path):
    path = tmp_path / "walk.png"
    drive(ExportPlane(path=str(path), moments=moments(), at=99))
    with PIL.Image.open(path) as picture:
        assert picture.width > 400


def test_walks_side_by_side_move_together(drive, tmp_path):
    path, made = tmp_path / "walk.gif", moments()
    still = tuple(replace(made[0], index=k) for k in range(4))
    drive(ExportPlane(path=str(path), moments=made, others=(*still, *made, *made), titles=("A", "B", "C"), data=DATA))
    with PIL.Image.open(path) as film:
        first, (width, height) = np.asarray(film.convert("RGB")), film.size
        film.seek(3)
        last = np.asarray(film.convert("RGB"))
    moved = (first != last).any(-1)[40:, :]
    halves = moved[: height // 2 - 60, : width // 2], moved[: height // 2 - 60, width // 2 :]
    assert halves[0].any() and not halves[1].any(), "the second walk stands still, the first does not"


def test_walks_of_unequal_length_are_told(drive):
    (failed,) = [event for event in drive(ExportPlane(path="walk.gif", moments=moments(), others=moments(3), titles=("A",)))
                 if isinstance(event, Failed)]  # fmt: skip
    assert "3 moments are not 4" in failed.report.title


@pytest.mark.parametrize(("path", "made", "words"), [("walk.mp4", moments(), "cannot be written"), ("walk.gif", (), "no walk")])
def test_what_cannot_be_written_is_told(drive, path, made, words):
    (failed,) = [event for event in drive(ExportPlane(path=path, moments=made)) if isinstance(event, Failed)]
    assert words in failed.report.title
