"""Pictures of every kind, and a gallery that survives crashes, full disks and foreign files."""

from __future__ import annotations

import io
import os
import time
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from app.jobs.diffusion import Txt2Img
from app.jobs.library import DeleteFromGallery, GalleryItem, ListGallery, OpenPicture, ReadRecipe, SaveToGallery
from app.protocol.errors import UserError
from app.protocol.events import Done, Failed
from app.protocol.job import job_from_dict
from app.protocol.payloads import Image
from app.runners import library

RED = Image(pixels=np.full((16, 24, 3), (200, 30, 20), np.uint8))
JOB = Txt2Img(prompt="a red house", seed=5, steps=4)


def result(events):
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result


def refused(events) -> str:
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    assert "\n" not in last.report.title
    return last.report.title


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


# --- opening -------------------------------------------------------------------------------------------


GREY16 = PIL.Image.fromarray(np.full((16, 24), 0x8000, np.uint16))
KINDS = {
    "rgb": (encoded(PIL.Image.fromarray(RED.pixels)), (200, 30, 20)),
    "16 bit": (encoded(GREY16), (128, 128, 128)),
    "cmyk": (encoded(PIL.Image.new("CMYK", (24, 16), (0, 0, 0, 255)), "JPEG"), (0, 0, 0)),
    "palette": (encoded(PIL.Image.fromarray(RED.pixels).quantize(4)), (200, 30, 20)),
    "one bit": (encoded(PIL.Image.new("1", (24, 16), 1)), (255, 255, 255)),
    "bright lines on nothing": (encoded(PIL.Image.new("RGBA", (24, 16), (255, 255, 255, 0))), None),
    "opaque alpha": (encoded(PIL.Image.new("RGBA", (24, 16), (200, 30, 20, 255))), (200, 30, 20)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_kind_become_rgb(kind, drive):
    data, colour = KINDS[kind]
    image = result(drive(OpenPicture(data=data))).files["image.png"]
    assert image.pixels.shape == (16, 24, 3)
    if colour:
        assert np.abs(image.pixels.astype(int) - colour).max() <= 3


def test_very_wide_pictures_are_read_smaller_and_said(drive):
    done = result(drive(OpenPicture(data=encoded(PIL.Image.new("RGB", (20_000, 40))))))
    assert done.files["image.png"].width == 4096 and done.facts["notes"]


BAD = {
    "empty": b"",
    "text": b"hello, I am a text",
    "cut png": KINDS["rgb"][0][:40],
    "cut data": encoded(PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)))[:3000],
    "zeros": bytes(100),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_one_sentence(kind, drive, tmp_path):
    path = tmp_path / "thing.png"
    path.write_bytes(BAD[kind])
    assert "thing.png" in refused(drive(OpenPicture(path=str(path))))


def test_paths_that_lead_nowhere(drive, tmp_path):
    assert "no file" in refused(drive(OpenPicture(path=str(tmp_path / "nothing.png"))))
    assert "folder" in refused(drive(OpenPicture(path=str(tmp_path))))
    refused(drive(OpenPicture(path="a\0b")))


def test_metadata_bombs_do_not_keep_a_picture_from_opening(drive):
    import struct
    import zlib

    body = b"k\0\0" + zlib.compress(b"a" * 3 * 10**7)
    bomb = struct.pack(">I4s", len(body), b"zTXt") + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = KINDS["rgb"][0]
    assert result(drive(OpenPicture(data=data[:33] + bomb + data[33:]))).files["image.png"].sha256 == RED.sha256


def test_dropping_a_picture_says_how_it_was_made(drive, tmp_path):
    saved = result(drive(SaveToGallery(image=RED, txt2img=JOB, folder=str(tmp_path)))).facts["saved_as"]
    done = result(drive(ReadRecipe(path=saved)))
    job, warnings = job_from_dict(Txt2Img, done.facts["job"])
    assert job == JOB and not warnings and done.facts["source"] == "glassbox"
    assert done.files["image.png"].sha256 == RED.sha256
    plain = result(drive(ReadRecipe(data=KINDS["rgb"][0])))
    assert plain.facts["source"] == "none" and plain.facts["job"] is None and "image.png" in plain.files
    assert "text file" in refused(drive(ReadRecipe(data=b"no picture at all")))


# --- the gallery ---------------------------------------------------------------------------------------


def saved(drive, folder, n: int = 1) -> list[str]:
    paths = []
    for k in range(n):
        paths.append(result(drive(SaveToGallery(image=RED, txt2img=replace(JOB, seed=k), folder=str(folder)))).facts["saved_as"])
        time.sleep(0.002)
    return paths


def test_the_gallery_lists_the_newest_first_and_knows_its_recipes(drive, tmp_path):
    paths = saved(drive, tmp_path / "new folder", 3)
    done = result(drive(ListGallery(folder=str(tmp_path / "new folder"), thumbnail=16)))
    items = [GalleryItem(thumbnail=done.files[f"thumb/{n}"], **item) for n, item in enumerate(done.facts["items"])]
    assert [item.path for item in items] == paths[::-1] and [item.seed for item in items] == [2, 1, 0]
    assert all((item.prompt, item.width, item.height, item.problem) == ("a red house", 24, 16, "") for item in items)
    assert items[0].thumbnail.width == 16 and items[0].saved_at > 0
    page = result(drive(ListGallery(folder=str(tmp_path / "new folder"), limit=1, offset=1)))
    assert page.facts["total"] == 3 and [item["path"] for item in page.facts["items"]] == [paths[1]]


def test_an_absent_gallery_is_empty(drive, tmp_path):
    assert result(drive(ListGallery(folder=str(tmp_path / "none")))).facts == {"total": 0, "items": []}


def test_broken_and_foreign_files_are_listed_with_their_problem(drive, tmp_path):
    saved(drive, tmp_path)
    (tmp_path / "a-broken.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "b-foreign.png").write_bytes(KINDS["rgb"][0])
    (tmp_path / "notes.txt").write_text("x")
    items = result(drive(ListGallery(folder=str(tmp_path)))).facts["items"]
    assert [bool(item["problem"]) for item in items] == [True, True, False]


def test_a_crash_while_writing_leaves_no_half_picture(drive, tmp_path, monkeypatch):
    """The process dies between writing and renaming: the gallery is as before, and the rest is swept later."""
    saved(drive, tmp_path)

    def die(*paths):
        raise OSError("the power is gone")

    with monkeypatch.context() as power_cut:
        power_cut.setattr(os, "replace", die)
        power_cut.setattr(os, "unlink", die)
        with pytest.raises(UserError):
            library.save_picture(tmp_path, RED, JOB)
    parts = list(tmp_path.glob(".*.part"))
    assert len(parts) == 1
    assert result(drive(ListGallery(folder=str(tmp_path)))).facts["total"] == 1
    assert parts[0].exists(), "it may belong to another process that is writing now"
    os.utime(parts[0], (1, 1))
    assert result(drive(ListGallery(folder=str(tmp_path)))).facts["total"] == 1
    assert not parts[0].exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(drive, tmp_path, monkeypatch):
    real = os.fsync

    def full(descriptor):
        real(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "disk is full" in refused(drive(SaveToGallery(image=RED, txt2img=JOB, folder=str(tmp_path))))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_told(drive, tmp_path):
    (tmp_path / "file").write_text("x")
    refused(drive(SaveToGallery(image=RED, folder=str(tmp_path / "file"))))
    refused(drive(SaveToGallery(image=RED)))
    refused(drive(SaveToGallery(folder=str(tmp_path))))


def test_export_overwrites_exactly_the_named_file(drive, tmp_path):
    path = tmp_path / "out" / "map.png"
    for _ in range(2):
        assert result(drive(SaveToGallery(image=RED, path=str(path)))).facts["saved_as"] == str(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["map.png"]
    with PIL.Image.open(path) as opened:
        assert np.array_equal(np.asarray(opened), RED.pixels) and "glassbox" not in opened.text


def test_deleting_touches_nothing_outside_the_gallery(drive, tmp_path):
    folder = tmp_path / "gallery"
    inside = saved(drive, folder, 2)
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"x")
    other = folder / "notes.txt"
    other.write_text("x")
    wanted = (inside[0], str(outside), str(folder / ".." / "outside.png"), str(other))
    done = result(drive(DeleteFromGallery(folder=str(folder), paths=wanted)))
    assert done.facts["deleted"] == [inside[0]] and len(done.facts["problems"]) == 3
    assert outside.exists() and other.exists() and os.path.exists(inside[1]) and not os.path.exists(inside[0])
