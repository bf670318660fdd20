"""Reading every kind of picture file, edges, resizing, and telling maps from pictures."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from models.diffusion import maps
from models.diffusion.maps import (
    PictureError,
    canny,
    check_map,
    inspect_map,
    invert,
    read_picture,
    resize,
    stretch_note,
)
from models.diffusion.openpose import draw_pose


def photo(height=96, width=128):
    """A colourful picture with a few shapes, soft shading and grain."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([100 + x * 0.8, 200 - y, 60 + (x + y) * 0.4], axis=2).clip(0, 255).astype(np.uint8)
    cv2.rectangle(rgb, (20, 30), (60, 80), (200, 40, 30), -1)
    cv2.circle(rgb, (90, 50), 22, (20, 90, 200), -1)
    grain = np.random.default_rng(0).integers(-4, 5, rgb.shape)
    return (rgb.astype(int) + grain).clip(0, 255).astype(np.uint8)


JOINTS = (
    "256 90, 256 150, 210 152, 190 220, 185 290, 302 152, 322 220, 327 290, 228 290, "
    "224 380, 222 470, 284 290, 288 380, 290 470, 244 78, 268 78, 228 84, 284 84"
)


def figure(size=256):
    """One standing person, by the reference renderer."""
    points = np.array([pair.split() for pair in JOINTS.split(", ")], float) * size / 512
    return draw_pose(np.concatenate([points, np.ones((18, 1))], axis=1)[None], size, size)


def encode(picture, form="PNG", **options):
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows):
    """A PNG from its parts, for kinds that Pillow does not write (or whose size is a lie)."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# --- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_come_back_as_they_were(form, tmp_path):
    picture = figure(64)
    path = tmp_path / f"figure.{form.lower()}"
    path.write_bytes(encode(picture, form, **({"lossless": True} if form == "WEBP" else {})))
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(read_picture(source), picture)


def test_sixteen_bits_are_scaled_not_cut():
    values = np.array([[0, 257, 32896, 65535, 100]], np.uint16)
    assert read_picture(encode(values))[0, :, 0].tolist() == [0, 1, 128, 255, 0]
    rows = b"\0" + struct.pack(">6H", 65535, 32896, 0, 257, 65535, 0)
    assert read_picture(png(2, 1, 16, 2, rows)).tolist() == [[[255, 128, 0], [1, 255, 0]]]


def test_floats_and_single_bits():
    assert read_picture(encode(np.array([[0, 0.5, 1]], np.float32), "TIFF"))[0, :, 1].tolist() == [0, 128, 255]
    assert read_picture(encode(np.array([[False, True]])))[0, :, 2].tolist() == [0, 255]


def test_transparency_is_laid_on_a_ground():
    lines = np.zeros((20, 20, 4), np.uint8)
    lines[10, :, 3] = 255  # black lines on nothing
    half = np.array([[[255, 0, 0, 128]]], np.uint8)
    assert read_picture(encode(lines))[[0, 10], 5].tolist() == [[255] * 3, [0] * 3]
    assert read_picture(encode(lines), ground="auto")[[0, 10], 5].tolist() == [[255] * 3, [0] * 3]
    assert not read_picture(encode(lines), ground="black").any()
    lines[10, :, :3] = 255  # white lines on nothing
    assert read_picture(encode(lines), ground="auto")[[0, 10], 5].tolist() == [[0] * 3, [255] * 3]
    assert read_picture(encode(half))[0, 0].tolist() == [255, 127, 127]
    grey = Image.merge("LA", [Image.new("L", (2, 2), 40), Image.new("L", (2, 2), 0)])
    assert (read_picture(encode(grey)) == 255).all()
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    assert read_picture(encode(palette, transparency=0)).tolist() == [[[255] * 3, [200, 100, 50]]]


def test_cmyk_and_rotation():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = read_picture(encode(cmyk, "JPEG", quality=95))[8, 8]
    assert red[0] > 230 and red[1] < 25 and red[2] < 25
    upright = photo()
    exif = Image.Exif()
    exif[274] = 6  # turn right to see it upright
    stored = np.rot90(upright).copy()
    read = read_picture(encode(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(read, upright)


def test_one_pixel_and_giants(tmp_path):
    assert read_picture(encode(np.full((1, 1, 3), 9, np.uint8))).tolist() == [[[9, 9, 9]]]
    wide = np.zeros((30, 20_000, 3), np.uint8)
    wide[:, 10_000:] = 255
    small = read_picture(encode(wide))
    assert small.shape == (6, 4096, 3)
    assert small[3, 1000].tolist() == [0] * 3 and small[3, 3000].tolist() == [255] * 3
    assert read_picture(encode(wide[:1])).shape == (1, 4096, 3)
    assert read_picture(encode(wide, "JPEG"), max_side=512).shape == (1, 512, 3)


def test_a_picture_that_claims_to_be_huge_is_refused_before_decoding():
    for size in (9_000, 10_000, 30_000, 2**31 - 1):
        with pytest.raises(PictureError, match="pixels|damaged"):
            read_picture(png(size, size, 8, 2, b""))


def test_a_jpeg_is_shrunk_while_it_is_decoded(monkeypatch):
    """So it may have more pixels than could be decoded at once; a PNG may not."""
    monkeypatch.setattr(maps, "MAX_DECODED", 20_000)
    large = np.full((400, 400, 3), 77, np.uint8)
    assert read_picture(encode(large, "JPEG"), max_side=100).shape == (100, 100, 3)
    with pytest.raises(PictureError, match="The picture is 400 x 400 pixels"):
        read_picture(encode(large), max_side=100)


WHOLE = encode(photo())

DAMAGED = {
    "cut short": (WHOLE[: len(WHOLE) // 2], "damaged"),
    "flipped bits": (WHOLE[:200] + bytes(b ^ 255 for b in WHOLE[200:260]) + WHOLE[260:], "damaged"),
    "rows missing": (png(50, 50, 8, 2, b"\0" * 30), "damaged"),
    "header only": (WHOLE[:20], "damaged|not a picture"),
    "text": (b"Dear diary,\nthis is no picture.\n", "a text file, not a picture"),
    "noise": (bytes(range(256)) * 4, "not a picture this program can read"),
    "empty": (b"", "empty"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "a text file"),
    "jpeg cut": (encode(photo(), "JPEG")[:900], "damaged"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_get_one_sentence(kind, tmp_path):
    data, message = DAMAGED[kind]
    path = tmp_path / "map.png"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=rf"map\.png .*({message})") as caught:
        read_picture(path)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(PictureError, match=r"no file gone\.png"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(PictureError, match="cannot be opened"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="cannot be opened"):
        read_picture("a\0b.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on damaged TIFF tags
def test_random_damage_never_escapes_as_another_error():
    rng = np.random.default_rng(7)
    forms = [encode(photo(24, 32), form) for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")]
    for trial in range(300):
        data = bytearray(forms[trial % len(forms)])
        for place in rng.integers(0, len(data), 6):
            data[place] = rng.integers(256)
        try:
            picture = read_picture(bytes(data))
        except PictureError:
            continue
        assert picture.dtype == np.uint8 and picture.ndim == 3


# --- edges, inversion, size -------------------------------------------------------------------------------------


def test_canny_is_that_of_opencv_on_grey():
    picture = photo()
    grey = np.asarray(Image.fromarray(picture).convert("L"))  # another program's grey, equal within rounding
    edges = canny(picture, 60, 120)
    assert edges.shape == picture.shape[:2]
    assert set(np.unique(edges)) == {0, 255}
    assert np.mean(edges != cv2.Canny(grey, 60, 120)) < 0.005
    assert edges.any() and (canny(picture, 200, 255) > 0).sum() < (edges > 0).sum()


def test_canny_is_that_of_the_training():
    edges = pytest.importorskip("models.playworld.edges")
    np.testing.assert_array_equal(canny(photo()), edges.edges(photo()))


def test_invert():
    assert invert(np.array([[0, 255, 10]], np.uint8)).tolist() == [[255, 0, 245]]


@pytest.mark.parametrize("mode", ["Just Resize", "Crop and Resize", "Resize and Fill"])
@pytest.mark.parametrize("size", [(64, 64), (200, 40), (128, 96), (17, 300), (1, 1)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_resizing_gives_the_size_asked_for(mode, size, channels):
    picture = np.random.default_rng(1).integers(0, 256, (96, 128, *channels), dtype=np.uint8)
    resized = resize(picture, *size, mode)
    assert resized.shape == (size[1], size[0], *channels)
    assert resized.dtype == np.uint8
    if size == (128, 96):
        np.testing.assert_array_equal(resized, picture)


def disc_box(picture):
    ys, xs = np.nonzero(picture > 127)
    return np.ptp(xs) + 1, np.ptp(ys) + 1, xs.mean(), ys.mean()


def test_what_each_mode_does_to_a_disc():
    wide = cv2.circle(np.zeros((100, 200), np.uint8), (100, 50), 30, 255, -1)
    width, height, *_ = disc_box(resize(wide, 100, 100, "Just Resize"))
    assert (width, height) == pytest.approx((30, 61), abs=1)
    width, height, x, y = disc_box(resize(wide, 100, 100, "Crop and Resize"))
    assert (width, height, x, y) == pytest.approx((61, 61, 50, 50), abs=1)
    filled = resize(wide, 100, 100, "Resize and Fill")
    assert disc_box(filled) == pytest.approx((30, 30, 50, 50), abs=1.2)
    assert not filled[:20].any()
    assert (resize(255 - wide, 100, 100, "Resize and Fill")[:20] == 255).all()
    with pytest.raises(ValueError, match="not by 'Stretch'"):
        resize(wide, 50, 50, "Stretch")


# --- inspection -------------------------------------------------------------------------------------------------


def grey(picture):
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def strokes(width=3):
    """A drawing as from the canvas: antialiased white strokes on black."""
    picture = np.zeros((128, 128, 3), np.uint8)
    for k in range(5):
        cv2.line(picture, (10, 20 * k + 10), (110, 110 - 15 * k), (255, 255, 255), width, cv2.LINE_AA)
    return picture


def jpeg(picture):
    return read_picture(encode(picture, "JPEG", quality=80))


LINE_MAPS = {
    "canny": canny(photo(), 60, 120),
    "canny in three channels": np.repeat(canny(photo(), 60, 120)[..., None], 3, axis=2),
    "strokes": strokes(),
    "thick strokes": strokes(9),
    "jpeg": jpeg(strokes()),
    "blank": np.zeros((64, 64, 3), np.uint8),
}


@pytest.mark.parametrize("name", LINE_MAPS)
def test_line_maps_are_recognised_either_way_round(name):
    right, wrong = inspect_map(LINE_MAPS[name]), inspect_map(invert(LINE_MAPS[name]))
    assert right.looks_like_map and right.polarity == "white-on-black" and not right.is_pose_map
    assert wrong.looks_like_map and wrong.polarity == "black-on-white" and not wrong.is_pose_map
    assert any("invert it" in note for note in wrong.notes)
    assert right.is_blank == wrong.is_blank == (name == "blank")
    height, width = LINE_MAPS[name].shape[:2]
    assert right.size == (width, height)


night = (photo() * 0.25).astype(np.uint8)
PICTURES = {
    "photo": photo(),
    "grey photo": grey(photo()),
    "night": night,
    "grey night": grey(night),
    "grey ramp": np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None], 64, axis=0),
    "even grey": np.full((64, 64, 3), 128, np.uint8),
    "red disc": cv2.circle(np.zeros((64, 64, 3), np.uint8), (32, 32), 12, (255, 0, 0), -1),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_no_maps(name):
    report = inspect_map(PICTURES[name])
    assert (report.looks_like_map, report.polarity, report.is_pose_map) == (False, "not a map", False)


def test_pose_maps_are_recognised():
    """Also after a JPEG, unless the bones are one pixel wide and their colours gone."""
    for picture in (figure(128), figure(256), figure(512), jpeg(figure(256)), jpeg(figure(512))):
        report = inspect_map(picture)
        assert (report.looks_like_map, report.polarity, report.is_pose_map) == (True, "colour-on-black", True)
    assert not inspect_map(invert(figure(256))).is_pose_map


def test_nothing_stands_against_a_right_map():
    assert check_map(strokes(), "canny", 128, 128) == ()
    assert check_map(figure(), "pose", 512, 512) == ()


@pytest.mark.parametrize(
    ("picture", "kind", "size", "words"),
    [
        (photo(128, 128), "canny", (128, 128), ["not an edge map"]),
        (invert(strokes()), "canny", (128, 128), ["invert it"]),
        (figure(), "canny", (128, 128), ["This is a pose map"]),
        (strokes(), "pose", (128, 128), ["not a pose map"]),
        (strokes(), "canny", (128, 256), ["128 x 128 and the picture 128 x 256"]),
        (photo(), "pose", (128, 128), ["not a pose map", "stretched"]),
        (np.zeros((64, 64), np.uint8), "canny", (64, 64), ["blank"]),
        (np.zeros((1, 1, 3), np.uint8), "canny", (64, 64), ["1 x 1 pixels"]),
    ],
)
def test_each_mistake_has_its_sentence(picture, kind, size, words):
    sentences = check_map(picture, kind, *size)
    assert len(sentences) == len(words)
    for sentence, word in zip(sentences, words, strict=True):
        assert word in sentence and sentence.endswith(".")


def test_small_differences_of_aspect_are_let_pass():
    assert stretch_note((512, 512), 512, 520) == ""
    assert stretch_note((512, 512), 512, 640) != ""
