"""The txt2img runner on tiny random networks: grammar, determinism, pins, torch state, previews, words."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial

import numpy as np
import PIL.Image
import pytest
import torch

from app import runners
from app.cli_options import make_job
from app.jobs.diffusion import (
    AUTOMATIC_SCHEDULE,
    SAMPLER_TITLES,
    SCHEDULE_TITLES,
    CheckControls,
    Control,
    DecodeLatent,
    Txt2Img,
    controlled_steps,
    demo_job,
)
from app.protocol import commands
from app.protocol.errors import UserError
from app.protocol.events import Cancelled, Done, Failed, Preview, Record, Step
from app.protocol.payloads import Image
from app.runners.diffusion_models import preview_map
from app.runners.png_recipe import read_recipe
from app.worker import loop
from app.worker.mailbox import Mailbox
from models.diffusion.controlnet import ControlNet
from models.diffusion.guidance import control_steps
from models.diffusion.preview import latent_rgb
from models.diffusion.samplers import SAMPLERS
from models.diffusion.schedule import SCHEDULES
from models.diffusion.unet import UNet
from models.playworld.render import render
from models.playworld.scene import sample_scene

SIZE = 64
WAVING = demo_job().control[1].pose


def lines(size: int = SIZE) -> Image:
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[size // 4 : 3 * size // 4, size // 3] = 255
    pixels[size // 2, size // 4 : 3 * size // 4] = 255
    return Image(pixels=pixels)


def job(**changes) -> Txt2Img:
    values = {"model": "tiny", "steps": 3, "width": SIZE, "height": SIZE, "seed": 7, "cfg_scale": 3.0}
    return Txt2Img(**(values | changes))


def result(events):
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result


def records(events, channel):
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


@pytest.fixture
def drive(drive, tiny_nets):
    """`drive` with the tiny networks in memory; `models=None` loads them from their files."""
    return partial(drive, models=tiny_nets)


@pytest.fixture
def stage(tiny, tiny_nets):
    """`stage(job)`: a worker to be stepped by hand, and its mailbox."""

    def submit(some_job):
        mailbox = Mailbox()
        load = lambda key, device, dtype, progress=None: tiny_nets[key]  # noqa: E731
        worker = loop.GpuWorker(mailbox, runners.runner, load=load, expected_size=lambda key: 0)
        worker.post(commands.Submit(run_id=1, job=some_job))
        return worker, mailbox

    return submit


@pytest.fixture
def hash_of(tiny, drive):
    return lambda some_job, **options: result(drive(some_job, **options)).facts["sha256"]


# --- the run -------------------------------------------------------------------------------------------


def test_events_tell_every_step(tiny, drive):
    events = drive(job(control=(Control(kind="canny", image=lines(), end=0.5), Control(kind="pose", pose=WAVING))))
    steps = [event for event in events if isinstance(event, Step)]
    assert [(step.index, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    film = records(events, "step")
    assert [record.index for record in film] == [0, 1, 2]
    assert [record.active_controls for record in film] == [(0, 1), (1,), (1,)]
    assert film[0].sigma > film[1].sigma > film[2].sigma > 0 == film[2].sigma_next
    assert film[0].x_t.pixels.shape == (8, 8, 3) and film[0].x_t.decoder == "linear latent-to-RGB map"
    assert film[0].x_t.label.startswith("x_t, step 1 of 3, sigma 14.6")
    assert not np.array_equal(film[0].x_t.pixels, film[0].x0.pixels)
    for record in film:
        place = events.index(next(e for e in events if isinstance(e, Record) and e.payload is record))
        assert any(isinstance(e, Step) and e.index == record.index + 1 for e in events[place:])
    start = records(events, "start")[0]
    assert start["seed"] == 7 and len(start["sigmas"]) == 4 and start["controls"][0]["active"]
    done = result(events)
    assert set(done.files) == {"image.png", "maps/0-canny.png", "maps/1-pose.png"}
    assert done.facts["seconds_per_step"] > 0 and done.facts["device"] and done.facts["dtype"]


@pytest.mark.parametrize("sampler", SAMPLER_TITLES)
def test_same_job_same_pixels_and_other_seed_other_pixels(sampler, hash_of):
    same = job(sampler=sampler)
    assert hash_of(same) == hash_of(same)
    assert hash_of(same) != hash_of(replace(same, seed=8))


def test_watching_does_not_change_the_picture(hash_of):
    for sampler in ("dpmpp_2m_sde", "heun"):
        watched = job(sampler=sampler, control=(Control(kind="canny", image=lines()),))
        assert hash_of(watched, previews=True) == hash_of(watched, previews=False)
        assert hash_of(watched) == hash_of(replace(watched, keep_steps=True))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue boat on water"},
        {"negative_prompt": "a cat"},
        {"cfg_scale": 5.0},
        {"schedule": "exponential"},
        {"steps": 4},
        {"control": (Control(kind="canny", image=lines()),)},
        {"control": (Control(kind="canny", image=lines(), weight=0.5),)},
        {"control": (Control(kind="canny", image=lines(), end=0.4),)},
        {"control": (Control(kind="canny", image=lines(), mode="prompt"),)},
        {"control": (Control(kind="canny", image=lines(), mode="control"),)},
        {"control": (Control(kind="pose", pose=WAVING),)},
    ],
)
def test_every_setting_reaches_the_picture(change, hash_of):
    full = job(control=(Control(kind="canny", image=lines()),))
    base = job() if list(change) != ["control"] or change["control"] == full.control else full
    assert hash_of(base) != hash_of(replace(base, **change))


def test_eta_reaches_ddim(hash_of):
    assert hash_of(job(sampler="ddim")) != hash_of(job(sampler="ddim", eta=0.7))


def test_disabled_and_weightless_controls_change_nothing(hash_of):
    plain = hash_of(job())
    assert hash_of(job(control=(Control(kind="canny", enabled=False),))) == plain
    assert hash_of(job(control=(Control(kind="canny", image=lines(), weight=0.0),))) == plain


def test_a_batch_is_its_pictures_alone(tiny, drive):
    batch = result(drive(job(batch_count=2, sampler="euler_a")))
    alone = [result(drive(job(seed=seed, sampler="euler_a"))).facts["sha256"] for seed in (7, 8)]
    assert batch.facts["sha256_all"] == alone and batch.facts["seeds"] == [7, 8]
    assert {"image.png", "image-2.png"} <= set(batch.files)


def test_last_seed_counts_on_from_zero(tiny, drive):
    assert result(drive(job(seed=2**32 - 1, batch_count=2))).facts["seeds"] == [2**32 - 1, 0]


def test_a_random_seed_is_drawn_once_and_told(tiny, drive, hash_of):
    done = result(drive(job(seed=-1)))
    assert done.facts["seed"] >= 0
    assert hash_of(job(seed=done.facts["seed"])) == done.facts["sha256"]


def test_parked_runs_have_their_record(tiny, drive):
    events = drive(job(), park_after=1)
    assert len(records(events, "step")) == 1
    assert {event.channel for event in events if isinstance(event, Preview)} == {"xt", "x0", "eps"}


# --- pins, state, cancelling ---------------------------------------------------------------------------


def torch_state() -> tuple:
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().numpy().tobytes(),
    )  # fmt: skip


def test_closing_at_every_yield_releases_all_pins_and_leaves_torch_alone(stage):
    controlled = job(steps=2, control=(Control(kind="canny", image=lines()),))
    for stop_after in range(1, 100):
        worker, mailbox = stage(controlled)
        before = torch_state()
        for _ in range(stop_after):
            if not worker.turn():
                break
            assert torch_state() == before
        worker.post(commands.Cancel(run_id=1))
        while worker.turn():
            pass
        assert worker.zoo.pins() == 0
        last = mailbox.drain()[0][-1]
        assert isinstance(last, Cancelled | Done)
        if isinstance(last, Done):
            break
    assert stop_after > 8


def test_cancelling_costs_at_most_the_step_at_work(stage):
    worker, mailbox = stage(job(steps=100))
    events = []
    while not any(isinstance(event, Step) for event in events):
        worker.turn()
        events += mailbox.drain()[0]
    worker.post(commands.Cancel(run_id=1))
    while worker.turn():
        pass
    events += mailbox.drain()[0]
    assert isinstance(events[-1], Cancelled) and len(records(events, "step")) == 1


def test_a_cancel_waits_for_one_network_call_at_most(stage, monkeypatch):
    worker, mailbox = stage(job(steps=5, sampler="heun", control=(Control(kind="canny", image=lines()),)))
    calls = []

    def counted(network):
        forward = network.forward

        def call(self, *args, **options):
            calls.append(network.__name__)
            if len(calls) == 4:  # the UNet's second evaluation of a Heun step
                worker.post(commands.Cancel(run_id=1))
            return forward(self, *args, **options)

        monkeypatch.setattr(network, "forward", call)

    counted(UNet)
    counted(ControlNet)
    while worker.turn():
        pass
    assert isinstance(mailbox.drain()[0][-1], Cancelled)
    assert len(calls) == 4


# --- CFG while it runs ---------------------------------------------------------------------------------


def test_cfg_tuned_in_the_middle_is_told_and_can_be_made_again(stage, hash_of):
    tuned = job(steps=4)
    worker, mailbox = stage(tuned)
    events = []
    while worker.turn():
        events += mailbox.drain()[0]
        if sum(isinstance(event, Step) for event in events) == 2:
            worker.post(commands.Tune(run_id=1, job=replace(tuned, cfg_scale=9.0)))
    events += mailbox.drain()[0]
    done = result(events)
    assert done.facts["cfg_curve"] == [3.0, 3.0, 9.0, 9.0]
    recipe = records(events, "picture")[0].job
    assert recipe.cfg_curve == (3.0, 3.0, 9.0, 9.0)
    assert done.facts["sha256"] != hash_of(tuned)
    assert done.facts["sha256"] == hash_of(recipe)


# --- film and files ------------------------------------------------------------------------------------


def test_a_kept_latent_decodes_to_the_very_picture(tiny, drive):
    events = drive(job(keep_steps=True))
    done, film = result(events), records(events, "step")
    for record in film:
        for lens in ("x0", "xt"):
            again = result(drive(DecodeLatent.of(record, lens, model="tiny"))).files["image.png"]
            assert again.decoder == "full VAE"
            assert again.sha256 == done.files[f"steps/{record.index + 1:03d}_{lens}.png"].sha256
    assert result(drive(DecodeLatent.of(film[-1], "x0", model="tiny"))).files["image.png"].sha256 == done.facts["sha256"]
    noise = result(drive(DecodeLatent.of(film[0], "eps", model="tiny"))).files["image.png"]
    assert noise.sha256 != done.facts["sha256"] and noise.label.startswith("removed noise, step 1 of 3")


def test_decoding_nothing_says_so(tiny, drive):
    failed = drive(DecodeLatent(model="tiny"))[-1]
    assert isinstance(failed, Failed) and failed.report.kind == "user"


def test_the_picture_file_holds_its_recipe(tiny, drive, hash_of):
    some = job(control=(Control(kind="canny", image=lines(), weight=0.8),), negative_prompt="a cat", batch_count=2)
    done = result(drive(some))
    for n, name in enumerate(("image.png", "image-2.png")):
        recipe = read_recipe(done.files[name])
        assert recipe.source == "glassbox" and recipe.job == replace(some, batch_count=1, seed=7 + n)
        with PIL.Image.open(io.BytesIO(done.files[name])) as picture:
            assert Image(pixels=np.asarray(picture)).sha256 == done.facts["sha256_all"][n] == hash_of(recipe.job)


def test_finished_pictures_are_in_the_gallery_before_they_are_told(tiny, drive, tmp_path):
    events = drive(job(gallery=str(tmp_path / "new")))
    record = records(events, "picture")[0]
    saved = tmp_path / "new" / record.saved_as.split("/")[-1]
    assert read_recipe(saved.read_bytes()).job == replace(record.job, gallery="")
    assert result(events).facts["saved_as"] == [str(saved)]


def test_a_full_disk_does_not_lose_the_picture(tiny, drive, tmp_path, monkeypatch):
    import os

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    events = drive(job(gallery=str(tmp_path)))
    record = records(events, "picture")[0]
    assert "disk is full" in record.save_error and record.saved_as == "" and record.image.width == SIZE
    assert result(events).facts["save_errors"] == [record.save_error]
    assert list(tmp_path.glob("*.png")) == [] and list(tmp_path.glob(".*.part")) == []


class LinearVae(torch.nn.Module):
    """Latents that hold the shrunken picture: the right preview map is known exactly."""

    class config:  # noqa: N801 - stands for the config object of a VAE
        scaling_factor = 0.5

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode(self, x):
        small = torch.nn.functional.interpolate(x, size=16, mode="area")
        return torch.cat([3 * small, small.sum(1, keepdim=True) + 1], 1), None


def test_without_its_file_the_preview_map_is_fitted_to_the_vae(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path))
    vae = LinearVae()
    fitted = preview_map("tiny", vae)
    assert fitted is preview_map("tiny", vae)
    pixels = torch.from_numpy(render(sample_scene(77), 128)).movedim(-1, 0)[None].float() / 127.5 - 1
    shown = latent_rgb(0.5 * vae.encode(pixels)[0][0], fitted).movedim(-1, 0).float() / 127.5 - 1
    assert (shown - torch.nn.functional.interpolate(pixels, size=16, mode="area")[0]).abs().max() < 0.02


# --- words before the run ------------------------------------------------------------------------------


def refused(events) -> str:
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    assert "\n" not in last.report.title
    return last.report.title


def bright() -> Image:
    return Image(pixels=255 - lines().pixels)


def photo() -> Image:
    ramp = np.linspace(0, 255, SIZE).astype(np.uint8)
    return Image(pixels=np.stack([np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], (1, SIZE)), np.full((SIZE, SIZE), 90, np.uint8)], -1))


POSE_MAP = "pose map"
BAD_CONTROLS = {
    "has no map": Control(kind="canny"),
    "pose control has no map": Control(kind="pose"),
    "bright": Control(kind="canny", image=bright()),
    "not an edge map": Control(kind="canny", image=photo()),
    "pose map, but": Control(kind="canny", image=Image(pixels=np.zeros((1, 1, 3), np.uint8), label=POSE_MAP)),
    "no step of 3": Control(kind="canny", image=lines(), start=0.95, end=1.0),
    "too small": Control(kind="canny", image=Image(pixels=np.zeros((1, 1, 3), np.uint8))),
    "blank": Control(kind="canny", image=Image(pixels=np.zeros((64, 64, 3), np.uint8))),
    "not a pose map": Control(kind="pose", image=lines()),
    "Inverted": Control(kind="canny", image=lines(), invert=True),
    "There is no file": Control(kind="canny", image_file="/nowhere/map.png"),
}


@pytest.mark.parametrize("words", BAD_CONTROLS)
def test_controls_that_cannot_run_are_refused_in_words(words, tiny, drive):
    control = BAD_CONTROLS[words]
    if control.image is not None and control.image.label == POSE_MAP:
        from app.runners.control_maps import pose_map

        control = replace(control, image=pose_map(WAVING, 128, 128))
    sentence = refused(drive(job(control=(control,))))
    assert words in sentence and sentence.startswith(f"Control 1 ({control.kind}):")
    checked = result(drive(CheckControls(txt2img=job(control=(control,))))).facts
    assert not checked["ok"] and checked["error"] == sentence and checked["hint"]
    assert not checked["controls"][0]["active"] and words in checked["controls"][0]["sentence"]


def test_checks_offer_the_button_that_helps(tiny, drive):
    asked = job(control=(Control(kind="canny", image=bright()), Control(kind="canny", image=photo()), Control(kind="canny", image=lines())))
    checked = result(drive(CheckControls(txt2img=asked))).facts["controls"]
    assert [control["question"] for control in checked] == ["invert", "make-edges", ""]
    assert checked[2]["covers"] == "steps 1-3 of 3, sigma 14.6 to 0.029" and checked[2]["steps"] == [0, 2]


def test_inverting_a_bright_map_gives_the_same_picture(hash_of):
    right = job(control=(Control(kind="canny", image=lines()),))
    turned = job(control=(Control(kind="canny", image=bright(), invert=True),))
    assert hash_of(right) == hash_of(turned)


def test_maps_of_another_size_are_fitted_and_said(tiny, drive):
    wide = np.zeros((512, 1024, 3), np.uint8)
    wide[100:400, 500] = 255
    for mode, word in (("crop", "resized"), ("fill", "resized"), ("just", "stretched")):
        events = drive(job(control=(Control(kind="canny", image=Image(pixels=wide), resize_mode=mode),)))
        seen = result(events).files["maps/0-canny.png"].pixels
        assert seen.shape == (SIZE, SIZE, 3) and seen.max() == 255 and set(np.unique(seen)) == {0, 255}
        assert word in records(events, "start")[0]["controls"][0]["sentence"]


def test_weights_are_loaded_from_their_files(tiny, drive, hash_of):
    events = drive(job(control=(Control(kind="canny", image=lines()),)), models=None)
    assert result(events).facts["sha256"] == hash_of(job(control=(Control(kind="canny", image=lines()),)))


def test_missing_weights_are_told(tiny, drive, monkeypatch, tmp_path):
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path))
    assert "missing" in refused(drive(job(), models=None))
    assert not result(drive(CheckControls(txt2img=job()))).facts["ok"]


def test_damaged_weights_are_told(tiny, drive, monkeypatch, tmp_path):
    import shutil

    for path in tiny.iterdir():
        shutil.copy(path, tmp_path / path.name)
    damaged = tmp_path / "tiny-unet.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path))
    assert "tiny-unet" in refused(drive(job(), models=None))


def test_too_large_for_memory_is_told_with_a_size_that_fits(tiny, drive, monkeypatch):
    from app.runners import memory

    monkeypatch.setattr(memory, "free_bytes", lambda device: memory.MARGIN + 9_000_000)
    last = drive(job(width=512, height=256))[-1]
    assert "512 x 256" in last.report.title
    width, height = (int(word) for word in last.report.hint.split(" would")[0].split(" x "))
    assert width % 8 == height % 8 == 0 and memory.picture_bytes(width, height, 8, 8, 2, 4) <= 9_000_000


def test_long_and_unknown_prompts_are_noted_not_refused(tiny, drive):
    events = drive(job(prompt="zebra " + "red house " * 1000))
    notes = " ".join(result(events).facts["notes"])
    assert "zebra" in notes and "2001 words" in notes and "reads 30" in notes and len(notes) < 600
    assert result(events).facts["unknown_words"] == ["zebra"]
    assert result(drive(job(prompt=""))).facts["notes"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("steps", 151), ("cfg_scale", float("nan")), ("cfg_scale", 31.0), ("width", 100), ("height", 2048),
     ("seed", -2), ("seed", 2**32), ("batch_count", 17), ("sampler", "plms"), ("eta", float("inf")), ("cfg_curve", (1.0,)),
     ("width", 64.0), ("prompt", None)],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused_when_the_job_is_made(field, value):
    with pytest.raises(UserError):
        job(**{field: value})


BAD_TEXTS = ("kind=depth", "weight=nan", "weight=3", "start=0.9,end=0.1", "nonsense", "colour=red", "end=x", "invert=maybe")


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_control_texts_are_refused(text):
    with pytest.raises(UserError):
        Control.from_text(text)


def test_control_text_is_read():
    control = Control.from_text("kind=pose, pose=a.json, weight=0.5, start=0.1, end=0.9, mode=prompt, resize=fill, enabled=no")
    assert control == Control(
        kind="pose", pose_file="a.json", weight=0.5, start=0.1, end=0.9, mode="prompt", resize_mode="fill", enabled=False, source="file"
    )


def test_the_command_line_reads_controls():
    words = ["--prompt", "a house", "--control", "kind=canny,image=map.png,weight=1.0,start=0,end=1"]
    read = make_job(Txt2Img, [*words, "--control", "kind=pose,pose=pose.json", "--keep-steps", "--cfg-scale", "5", "--sampler", "ddim"])
    assert read.control == (Control(image_file="map.png", source="file"), Control(kind="pose", pose_file="pose.json", source="file"))
    assert read.keep_steps and read.cfg_scale == 5 and read.sampler == "ddim" and read.prompt == "a house"


# --- tables that must agree with the models ------------------------------------------------------------


def test_names_are_those_of_the_models():
    assert {key: sampler.title for key, sampler in SAMPLERS.items()} == SAMPLER_TITLES
    assert {key: sampler.schedule for key, sampler in SAMPLERS.items()} == AUTOMATIC_SCHEDULE
    assert {"automatic": "Automatic"} | {key: spacing.title for key, spacing in SCHEDULES.items()} == SCHEDULE_TITLES


def test_controlled_steps_follow_the_rule_of_the_models():
    for steps in (1, 2, 7, 20):
        for start in (0.0, 0.05, 0.3, 0.5):
            for end in (0.5, 0.77, 1.0):
                assert controlled_steps(start, end, steps) == control_steps(start, end, steps)
    assert controlled_steps(0.0, 0.5, 20) == range(10)
