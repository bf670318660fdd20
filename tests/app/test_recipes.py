"""Recipes in PNG files: our chunk restores everything, A1111 text and older files are read, hostile files are refused."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from app.jobs.diffusion import Control, Txt2Img, demo_job
from app.protocol.payloads import Image
from app.runners import png_recipe
from app.runners.png_recipe import SIGNATURE, job_from_infotext, png_bytes, read_recipe, read_texts, recipe_of

PICTURE = Image(pixels=np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
FULL = replace(
    demo_job(),
    negative_prompt="a cat: blurry, \"bad\"\nsecond line",
    sampler="ddim",
    schedule="exponential",
    eta=0.25,
    cfg_scale=6.5,
    seed=123456,
    cfg_curve=tuple(1.0 + k / 10 for k in range(20)),
)


def chunk(kind: bytes, body: bytes, *, crc: int | None = None) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)


def png(*chunks: bytes) -> bytes:
    """A sound picture with these chunks before its data."""
    plain = png_bytes(PICTURE)
    header = len(SIGNATURE) + 25
    return plain[:header] + b"".join(chunks) + plain[header:]


def text_chunk(key: str, text: str) -> bytes:
    return chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode())


# --- our own chunk -------------------------------------------------------------------------------------


def test_our_chunk_restores_everything():
    recipe = read_recipe(png_bytes(PICTURE, FULL))
    assert recipe.source == "glassbox" and recipe.job == FULL and recipe.notes == ()
    assert recipe.job.control[0].image.sha256 == FULL.control[0].image.sha256
    assert recipe.job.control[1].pose == FULL.control[1].pose


def test_what_belongs_to_the_machine_stays_out():
    data = png_bytes(PICTURE, replace(FULL, gallery="/home/somebody/secret", device="cpu"))
    assert b"somebody" not in data
    assert read_recipe(data).job == FULL


def test_other_programs_see_the_picture_and_the_common_text():
    with PIL.Image.open(io.BytesIO(png_bytes(PICTURE, FULL))) as opened:
        opened.load()
        assert np.array_equal(np.asarray(opened), PICTURE.pixels)
        assert opened.text["parameters"].startswith(FULL.prompt + "\nNegative prompt: a cat")
        settings = "Steps: 20, Sampler: DDIM, Schedule type: Exponential, CFG scale: 6.5, Seed: 123456, Size: 128x128"
        assert settings in opened.text["parameters"]


def test_large_maps_do_not_make_the_file_unreadable_for_others():
    noise = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    data = png_bytes(PICTURE, replace(FULL, control=(Control(image=Image(pixels=noise)),)))
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert len(opened.text["glassbox"]) > 2**20
    assert read_recipe(data).job.control[0].image.sha256 == Image(pixels=noise).sha256


def test_unknown_fields_of_a_newer_program_are_noted():
    recipe = recipe_of(FULL)
    recipe["job"]["from_the_future"] = 1
    found = read_recipe(png(text_chunk("glassbox", json.dumps(recipe | {"format": 2}))))
    assert found.job == FULL and any("from_the_future" in note for note in found.notes) and any("format 2" in note for note in found.notes)


HOSTILE = {
    "not json": "{",
    "a list": "[]",
    "no job": '{"format": 1}',
    "job is text": '{"format": 1, "job": "x"}',
    "deep": "[" * 100_000,
    "nan": '{"format": 1, "job": {"cfg_scale": NaN}}',
    "huge number": '{"format": 1, "job": {"steps": 1' + "0" * 5000 + "}}",
    "wrong type": '{"format": 1, "job": {"steps": "many"}}',
    "steps a list": '{"format": 1, "job": {"steps": [1]}}',
    "control a number": '{"format": 1, "job": {"control": 3}}',
    "control of text": '{"format": 1, "job": {"control": ["x"]}}',
    "control kind": '{"format": 1, "job": {"control": [{"kind": "depth"}]}}',
    "image is text": '{"format": 1, "job": {"control": [{"image": "x"}]}}',
    "image of nothing": '{"format": 1, "job": {"control": [{"image": {"$type": "Image", "png": "AAAA"}}]}}',
    "image bomb": None,
    "pose of words": '{"format": 1, "job": {"control": [{"pose": {"$type": "Pose", "people": "x", "width": 1, "height": 1}}]}}',
    "unknown payload": '{"format": 1, "job": {"control": [{"image": {"$type": "os.system"}}]}}',
}


def image_bomb() -> str:
    import base64

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    data = SIGNATURE + header + chunk(b"IDAT", zlib.compress(b"\0" * 10**6)) + chunk(b"IEND", b"")
    image = {"$type": "Image", "png": base64.b64encode(data).decode()}
    return json.dumps({"format": 1, "job": {"control": [{"image": image}]}})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_chunk_is_refused_in_a_sentence_and_the_common_text_is_used(name):
    text = HOSTILE[name] or image_bomb()
    alone = read_recipe(png(text_chunk("glassbox", text)))
    assert alone.job is None and alone.source == "none" and alone.sentence.startswith("Our own recipe could not be read:")
    assert len(alone.sentence) < 400
    common = text_chunk("parameters", "a house\nSteps: 5, Sampler: Euler, Seed: 3")
    both = read_recipe(png(text_chunk("glassbox", text), common))
    assert both.source == "a1111" and both.job.prompt == "a house" and both.notes


# --- broken and hostile files --------------------------------------------------------------------------


def test_zip_bombs_are_refused():
    bomb = zlib.compress(b"a" * 40 * 2**20)
    assert len(bomb) < 100_000
    for body in (b"glassbox\0\0" + bomb,):
        found = read_texts(png(chunk(b"zTXt", body)))
        assert "glassbox" not in found.texts and "refused" in found.problems[0]
    found = read_texts(png(chunk(b"iTXt", b"glassbox\0\1\0\0\0" + bomb)))
    assert "glassbox" not in found.texts and "refused" in found.problems[0]


def test_compressed_texts_of_normal_size_are_read():
    old = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"hello"))
    new = chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress("hä".encode()))
    found = read_texts(png(old, new))
    assert found.texts == {"parameters": "hello", "k": "hä"} and found.problems == ()


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"zTXt", b"parameters\0\0not zlib"),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"hello" * 1000)[:-8]),
        chunk(b"iTXt", b"parameters\0\0\0\0\0\xff\xfe"),
        chunk(b"tEXt", b"parameters\0hello", crc=1),
    ],
)
def test_damaged_texts_are_named(broken):
    found = read_texts(png(broken))
    assert found.texts == {} and len(found.problems) == 1
    assert read_recipe(png(broken)).source == "none"


def test_a_file_cut_anywhere_never_fails():
    plain = replace(FULL, control=(), cfg_curve=(), keep_steps=False)
    data = png_bytes(PICTURE, plain)
    sources = set()
    for end in range(0, len(data), 7):
        recipe = read_recipe(data[:end])
        sources.add(recipe.source)
        assert recipe.sentence and recipe.job in (None, plain)
        assert recipe.notes or recipe.source == "glassbox" or end < len(SIGNATURE) + 8
    assert sources == {"none", "a1111", "glassbox"}


def test_random_damage_never_fails():
    data = bytearray(png_bytes(PICTURE, FULL))
    rng = random.Random(0)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 20)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        assert read_recipe(bytes(damaged)).sentence


@pytest.mark.parametrize("data", [b"", b"\x89PNG", SIGNATURE, b"just text", b"\xff\xd8\xff\xe0broken jpeg"])
def test_files_that_are_no_pictures_hold_no_settings(data):
    assert read_recipe(data).source == "none"


def test_texts_are_stripped_before_decoding():
    stripped = png_recipe.without_texts(png(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 10**7)), text_chunk("parameters", "x")))
    assert b"zTXt" not in stripped and b"iTXt" not in stripped
    with PIL.Image.open(io.BytesIO(stripped)) as opened:
        assert np.array_equal(np.asarray(opened), PICTURE.pixels)


# --- other people's files ------------------------------------------------------------------------------


def foreign(**texts: str) -> bytes:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    PIL.Image.fromarray(PICTURE.pixels).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("texts", "source", "name"),
    [
        ({"prompt": "{}", "workflow": "{}"}, "comfyui", "ComfyUI"),
        ({"invokeai_metadata": "{}"}, "invokeai", "InvokeAI"),
        ({"fooocus_scheme": "fooocus", "parameters": '{"prompt": "x"}'}, "fooocus", "Fooocus"),
    ],
)
def test_other_tools_are_named(texts, source, name):
    recipe = read_recipe(foreign(**texts))
    assert recipe.source == source and name in recipe.sentence and recipe.job is None


def test_our_settings_survive_through_the_common_text():
    plain = replace(FULL, cfg_curve=(), negative_prompt="a cat, dog: x")
    recipe = read_recipe(foreign(parameters=png_recipe.infotext_text(plain)))
    assert recipe.source == "a1111" and recipe.notes == () and "maps" in recipe.sentence
    bare = tuple(replace(control, image=None, pose=None, source="file") for control in plain.control)
    assert recipe.job == replace(plain, control=bare, keep_steps=False)


def test_older_files_with_fused_names_are_read():
    text = (
        "x\nSteps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 5, Size: 512x768, "
        "ControlNet 0 Enabled: True, ControlNet 0 Model: control_canny [ab], ControlNet 0 Weight: 0.8"
    )
    job = read_recipe(foreign(parameters=text)).job
    assert (job.sampler, job.schedule, job.steps, job.cfg_scale, job.width, job.height) == ("dpmpp_2m", "karras", 30, 7.5, 512, 768)
    assert job.control == (Control(kind="canny", weight=0.8, source="file"),)


def test_settings_that_are_not_here_are_bent_and_noted():
    text = (
        "x\nSteps: 500, Sampler: UniPC, Schedule type: Beta, CFG scale: nan, Seed: -5, Size: 3000x10, "
        'ControlNet 0: "Module: depth, Model: depth"'
    )
    recipe = read_recipe(foreign(parameters=text))
    job = recipe.job
    assert (job.steps, job.sampler, job.schedule, job.cfg_scale, job.seed) == (150, "dpmpp_2m", "automatic", Txt2Img().cfg_scale, -1)
    assert (job.width, job.height, job.control) == (1024, 64, ())
    for word in ("Steps", "UniPC", "Beta", "CFG scale", "Seed", "width", "height", "depth"):
        assert any(word in note for note in recipe.notes), word


def test_settings_in_a_jpeg_are_read():
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "ein Haus\nSteps: 4, Sampler: Euler, Seed: 9".encode("utf-16-be")
    buffer = io.BytesIO()
    PIL.Image.fromarray(PICTURE.pixels).save(buffer, format="JPEG", exif=exif.tobytes())
    recipe = read_recipe(buffer.getvalue())
    assert recipe.source == "a1111" and recipe.job.prompt == "ein Haus" and recipe.job.seed == 9


def test_random_infotexts_always_make_a_job():
    rng = random.Random(2)
    keys = ["Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Eta DDIM"]
    keys += ["ControlNet 0", "ControlNet 1 Weight", "ControlNet 1 Model"]
    values = ["1e999", "-1", "nan", "", "x", "0x0", "99999x1", "Euler Karras", "canny", "1e9", "[]"]
    values += ['"Model: canny, Weight: inf, Guidance Start: 2"']
    for _ in range(300):
        line = ", ".join(f"{rng.choice(keys)}: {rng.choice(values)}" for _ in range(rng.randrange(3, 9)))
        job, notes = job_from_infotext(png_recipe.infotext.read("p\n" + line))
        assert isinstance(job, Txt2Img) and all(isinstance(note, str) for note in notes)
