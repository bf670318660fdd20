"""A1111 `parameters` text: the documented example to the letter, round trips of awkward values, hostile input."""

from __future__ import annotations

import random
import string

import pytest

from app.protocol import infotext
from app.protocol.infotext import Infotext

CANNY = {
    "Module": "canny", "Model": "tiny-canny", "Weight": "1.0", "Resize Mode": "Crop and Resize", "Processor Res": "512",
    "Threshold A": "100", "Threshold B": "200", "Guidance Start": "0.0", "Guidance End": "1.0", "Pixel Perfect": "False",
    "Control Mode": "Balanced",
}  # fmt: skip
EXAMPLE = (
    "a lighthouse at dusk\n"
    "Negative prompt: blurry\n"
    "Steps: 20, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x512, Model: tiny-demo, "
    'ControlNet 0: "Module: canny, Model: tiny-canny, Weight: 1.0, Resize Mode: Crop and Resize, Processor Res: 512, '
    "Threshold A: 100, Threshold B: 200, Guidance Start: 0.0, Guidance End: 1.0, Pixel Perfect: False, "
    'Control Mode: Balanced", RNG: CPU, Version: our-app 0.1'
)
INFO = Infotext(
    prompt="a lighthouse at dusk",
    negative_prompt="blurry",
    fields=(
        ("Steps", "20"), ("Sampler", "Euler"), ("Schedule type", "Karras"), ("CFG scale", "7"), ("Seed", "42"),
        ("Size", "512x512"), ("Model", "tiny-demo"), ("RNG", "CPU"), ("Version", "our-app 0.1"),
    ),
    controls=(CANNY,),
)  # fmt: skip
BASE = (("Steps", "20"), ("Sampler", "Euler"), ("Seed", "1"))


def test_the_example_of_the_convention_is_written_and_read_to_the_letter():
    assert infotext.write(INFO) == EXAMPLE
    assert infotext.read(EXAMPLE) == INFO


def test_read_by_the_pattern_every_other_reader_uses():
    import json
    import re

    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    pairs = dict(pattern.findall(EXAMPLE.split("\n")[-1]))
    assert pairs["CFG scale"] == "7" and pairs["Version"] == "our-app 0.1"
    assert json.loads(pairs["ControlNet 0"]).startswith("Module: canny, Model: tiny-canny")


@pytest.mark.parametrize(
    "value",
    ["plain", "a, b", "a: b", "two\nlines", 'say "x"', '"quoted"',
     "back\\slash", "tail\\", "ünïcode 漢字 🙂", "a,b:c\"d\\e\nf", "", ", ", ":", "x" * 5000],
)  # fmt: skip
def test_awkward_values_come_back(value):
    text = infotext.write(Infotext(prompt="p", fields=(*BASE, ("Model", value))))
    read = infotext.read(text)
    assert read.get("Model") == value and read.get("Steps") == "20" and read.prompt == "p"


def test_random_values_come_back():
    rng = random.Random(0)
    letters = string.ascii_letters + ' ,:"\\\n\t{}[]()<>-_/äß漢'
    for _ in range(500):
        value = "".join(rng.choice(letters) for _ in range(rng.randrange(40))).strip()
        prompt = "".join(rng.choice(letters) for _ in range(rng.randrange(80))).strip()
        info = Infotext(prompt=prompt, negative_prompt="n\n\nm", fields=(*BASE, ("Model", value)))
        if prompt.startswith(infotext._NEGATIVE) or "\n" + infotext._NEGATIVE in prompt:
            continue
        assert infotext.read(infotext.write(info)) == info


@pytest.mark.parametrize("prompt", ["", "one", "one\ntwo\n\nthree", "a: 1, b: 2, c: 3", "ends: with, pairs: like, these: do\nSteps: 3"])
@pytest.mark.parametrize("negative", ["", "bad", "bad\nworse", "x: 1, y: 2, z: 3"])
def test_prompts_of_several_lines_come_back(prompt, negative):
    info = Infotext(prompt=prompt, negative_prompt=negative, fields=BASE)
    assert infotext.read(infotext.write(info)) == info
    assert ("Negative prompt" in infotext.write(info)) == bool(negative)


def test_a_last_line_of_fewer_than_three_pairs_is_prompt():
    assert infotext.read("a house\nby: the sea, at: night").prompt == "a house\nby: the sea, at: night"


def test_a_key_equal_to_its_value_stands_alone():
    assert infotext.write(Infotext(fields=(*BASE, ("Tiling", "Tiling")))).endswith("Seed: 1, Tiling")


def test_version_and_rng_stand_behind_the_controls():
    text = infotext.write(Infotext(fields=(("Version", "v"), *BASE), controls=({"Module": "none", "Weight": "1.0"},)))
    assert text.endswith('ControlNet 0: "Module: none, Weight: 1.0", Version: v')


def test_control_fields_never_hold_commas_or_colons():
    text = infotext.write(Infotext(fields=BASE, controls=({"Module": "none", "Model": "a, b: c\nd"},)))
    assert infotext.read(text).controls == ({"Module": "none", "Model": "a b c d"},)


def test_older_forms_of_controls_are_read():
    flat = (
        "x\nSteps: 20, Sampler: Euler, Seed: 1, ControlNet 0 Enabled: True, ControlNet 0 Preprocessor: canny, "
        "ControlNet 0 Model: c [ab], ControlNet 0 Weight: 1, ControlNet 0 Guidance Start: 0, ControlNet 0 Guidance End: 0.5, "
        "ControlNet 1 Model: p"
    )
    first, second = infotext.read(flat).controls
    assert first == {
        "Enabled": "True", "Module": "canny", "Model": "c [ab]", "Weight": "1", "Guidance Start": "0", "Guidance End": "0.5",
    }  # fmt: skip
    assert second == {"Model": "p"}
    middle = (
        'x\nSteps: 20, Sampler: Euler, Seed: 1, ControlNet: "preprocessor: canny, model: c, weight: 1, '
        'starting/ending: (0.1, 0.9), resize mode: Just Resize, pixel perfect: False, control mode: Balanced, '
        'preprocessor params: (512, 100, 200)"'
    )
    (control,) = infotext.read(middle).controls
    assert control["Module"] == "canny" and control["Guidance Start"] == "0.1" and control["Guidance End"] == "0.9"
    assert control["Threshold A"] == "100" and control["Threshold B"] == "200" and control["Resize Mode"] == "Just Resize"


@pytest.mark.parametrize(
    ("name", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", "", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Exponential", "", ("DPM++ 2M SDE", "Exponential")),
        ("Euler", "Karras", ("Euler", "Karras")),
        ("Euler a", "", ("Euler a", "")),
        ("DPM++ 2M Karras", "SGM Uniform", ("DPM++ 2M", "SGM Uniform")),
    ],
)
def test_fused_sampler_names_are_parted(name, schedule, expected):
    assert infotext.split_sampler(name, schedule) == expected


def test_sizes():
    assert infotext.read_size("512x768") == (512, 768)
    assert all(infotext.read_size(text) is None for text in ("", "512", "ax b", "-1x5", "9999999x1", "5x5x5"))


def test_hostile_texts_end_quickly_and_without_harm():
    rng = random.Random(1)
    letters = 'aA0 :,"\\\n-/()xControlNet'
    for _ in range(300):
        infotext.read("".join(rng.choice(letters) for _ in range(rng.randrange(300))))
    for text in ("a" * 900_000, "a:" * 30_000, 'aa:"' * 16_000, "aa:" + '"\\' * 30_000, ("ab " * 20_000) + ":"):
        infotext.read(text)
    assert infotext.read("p\nControlNet 99999999: x, a1: 1, b1: 2").controls == ()
    with pytest.raises(infotext.InfotextError):
        infotext.read("a" * (infotext.MAX_TEXT + 1))
