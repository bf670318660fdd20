"""Jobs check themselves with sentences, survive JSON, and hold pictures by content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest

from app.protocol import encoding
from app.protocol.errors import UserError
from app.protocol.job import Job, check_knobs, job_from_dict, job_to_dict, kebab, knob, knobs, live_fields, tuned
from app.protocol.payloads import Image, Person, Pose


@dataclass(frozen=True, kw_only=True)
class Part:
    """A nested piece of a job."""

    kind: Literal["canny", "pose"] = "canny"
    image: Image | None = None
    pose: Pose | None = None
    weight: float = knob(1.0, lo=0.0, hi=2.0)

    def __post_init__(self) -> None:
        check_knobs(self)


@dataclass(frozen=True, kw_only=True)
class Paint(Job):
    """A job with every kind of field."""

    prompt: str = knob("", multiline=True)
    sampler: Literal["ddim", "euler"] = knob("ddim")
    steps: int = knob(20, lo=1, hi=150, title="Sampling steps")
    cfg_scale: float = knob(7.0, lo=1.0, hi=30.0, live=True)
    keep_steps: bool = False
    parts: tuple[Part, ...] = ()
    size: tuple[int, int] = (8, 8)


def picture(value: int = 3) -> Image:
    return Image(np.full((4, 5, 3), value, np.uint8), label="map")


def full_job() -> Paint:
    pose = Pose(people=(Person(points=((1.5, 2.0, 1.0),) * 18),), width=9, height=8)
    return Paint(prompt="ein Häuschen\n", parts=(Part(image=picture()), Part(kind="pose", pose=pose, weight=0.5)))


@pytest.mark.parametrize(
    "name, words",
    [
        ("Txt2Img", "txt2img"),
        ("TrainVae", "train-vae"),
        ("EvaluateTxt2Img", "evaluate-txt2img"),
        ("PPOTrain", "ppo-train"),
        ("Long", "long"),
    ],
)
def test_names(name, words) -> None:
    assert kebab(name) == words


def test_the_name_can_be_overridden() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Other(Job):
        """Named by hand."""

        name: ClassVar[str] = "something-else"

    assert (Other.name, Paint.name, Paint().name) == ("something-else", "paint", "paint")


@pytest.mark.parametrize(
    "values, sentence, hint",
    [
        ({"steps": 0}, "Sampling steps is 0, which is out of range.", "1 to 150"),
        ({"steps": 151}, "Sampling steps is 151, which is out of range.", "1 to 150"),
        ({"steps": 2.5}, "Sampling steps must be a whole number, not 2.5.", ""),
        ({"steps": True}, "Sampling steps must be a whole number, not True.", ""),
        ({"steps": "20"}, "Sampling steps must be a whole number, not '20'.", ""),
        ({"cfg_scale": float("nan")}, "Cfg scale is not a finite number.", "1.0 to 30.0"),
        ({"cfg_scale": float("inf")}, "Cfg scale is not a finite number.", ""),
        ({"sampler": "magic"}, "Sampler cannot be 'magic'.", "ddim, euler"),
        ({"prompt": 3}, "Prompt must be text, not 3.", ""),
        ({"keep_steps": 1}, "Keep steps must be true or false, not 1.", ""),
        ({"parts": ("x",)}, "Parts must be of the kind Part, not 'x'.", ""),
        ({"size": (1, 2, 3)}, "Size needs 2 values, but 3 were given.", ""),
        ({"device": "tpu"}, "Device cannot be 'tpu'.", "cuda"),
    ],
)
def test_bad_values_get_a_sentence(values, sentence, hint) -> None:
    with pytest.raises(UserError) as caught:
        Paint(**values)
    assert caught.value.message == sentence and hint in caught.value.hint


def test_edges_of_the_range_are_allowed_and_whole_numbers_are_numbers() -> None:
    assert Paint(steps=1).steps == 1 and Paint(steps=150, cfg_scale=30).cfg_scale == 30


@pytest.mark.parametrize("tokens", [(3, 9, -1, 5), (3, 101, 4), (3, 1.0, 5), (3, True, 5), (3, None), [3]])
def test_long_rows_of_whole_numbers_are_checked_each(tokens) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Row(Job):
        """Tokens."""

        tokens: tuple[int, ...] = knob((), lo=0, hi=100)

    assert Row(tokens=(0, 100)).tokens == (0, 100) and Row(tokens=()).tokens == ()
    with pytest.raises(UserError):
        Row(tokens=tokens)


def test_jobs_survive_json_with_pictures_and_poses() -> None:
    job = full_job()
    text = json.dumps(job_to_dict(job))
    assert job_from_dict(Paint, json.loads(text)) == (job, [])


def test_unknown_keys_are_told_and_missing_ones_take_their_default() -> None:
    made, warnings = job_from_dict(Paint, {"steps": 7, "colour": "red", "parts": [{"weight": 2.0, "shape": 1}]})
    assert made == Paint(steps=7, parts=(Part(weight=2.0),))
    assert len(warnings) == 2 and "colour" in warnings[0] and "shape" in warnings[1]


@pytest.mark.parametrize(
    "values",
    [
        {"steps": "many"}, {"steps": 10**6}, {"parts": 3}, {"parts": [3]}, {"parts": [{"image": "x"}]}, [], None,
        {"parts": [{"image": {"$type": "Image", "png": "!!"}}]}, {"parts": [{"image": {"$type": "Popen"}}]},
        {"parts": [{"pose": {"$type": "Pose", "people": [{"$type": "Person", "points": [[1, 2]]}], "width": 1, "height": 1}}]},
        {"parts": [{"pose": {"$type": "Pose", "people": [{"$type": "Person", "points": [[float("nan"), 2, 1]] * 18}]}}]},
        {"prompt": {"$type": ["Image"]}}, {"prompt": {"$type": "array", "dtype": "object", "shape": [1], "data": ""}},
    ],
)  # fmt: skip
def test_hostile_settings_get_a_sentence(values) -> None:
    with pytest.raises(UserError):
        job_from_dict(Paint, values)


def test_png_round_trip_and_what_is_refused() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (7, 11, 3), dtype=np.uint8)
    data = encoding.png_bytes(pixels)
    assert np.array_equal(encoding.png_pixels(data), pixels)
    huge = data[:16] + (10**6).to_bytes(4, "big") * 2 + data[24:]
    wrong_size = data[:16] + (12).to_bytes(4, "big") + data[20:]
    for bad in (b"", b"GIF89a", data[:40], data[:-30], huge, wrong_size, data[:60] + b"\0\0\0\0" + data[64:]):
        with pytest.raises(UserError):
            encoding.png_pixels(bad)


def test_png_is_what_others_read(tmp_path) -> None:
    import PIL.Image

    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    (tmp_path / "a.png").write_bytes(encoding.png_bytes(pixels))
    with PIL.Image.open(tmp_path / "a.png") as read:
        read.load()
        assert read.mode == "RGB" and np.array_equal(np.asarray(read), pixels)


def test_summary_names_pictures_by_digest() -> None:
    text = json.dumps(encoding.summary(full_job()))
    assert picture().sha256 in text and "png" not in text and len(text) < 3000


def test_tuning_takes_only_live_fields() -> None:
    assert live_fields(Paint) == ("cfg_scale",)
    assert tuned(Paint(steps=5), Paint(steps=9, cfg_scale=2.0)) == Paint(steps=5, cfg_scale=2.0)
    with pytest.raises(TypeError):
        tuned(Paint(), Job())


def test_titles_come_from_the_name_unless_given() -> None:
    assert knobs(Paint)["cfg_scale"].title == "Cfg scale" and knobs(Paint)["steps"].title == "Sampling steps"
    assert list(knobs(Paint)) == ["device", "prompt", "sampler", "steps", "cfg_scale", "keep_steps", "parts", "size"]
