"""Training and evaluation jobs on tiny networks that stand in for the built-in ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.jobs.evaluation import EvaluateTxt2Img
from app.jobs.training import TrainClip, TrainControl, TrainFlow, TrainJudge, TrainUnet, TrainVae
from app.protocol.events import Done, Record
from models import catalog
from models.checkpoint import save_sharded
from models.fitting import averaged_weights
from models.flows.coupling import ActNorm, GlowConfig
from models.flows.nice import NiceConfig
from models.flows.tiles import glow_tiles, nice_tiles
from models.vision.judges import FactClassifier, JointConfig, JointRegressor
from models.vision.training import fact_config
from tests.runners.conftest import BUILDERS, randomised

FLOWS = {
    "glow": lambda: glow_tiles(GlowConfig(channels=3, size=16, levels=2, steps=1, width=8)),
    "nice": lambda: nice_tiles(NiceConfig(dim=256, couplings=4, width=16, depth=1, prior="logistic")),
}
JUDGES = {"facts": lambda: FactClassifier(fact_config((8, 8, 8))), "joints": lambda: JointRegressor(JointConfig(widths=(8, 8, 8, 8)))}


def big_clip():
    """The tiny CLIP with a picture tower for 128 px, which training needs."""
    clip = BUILDERS["clip"]()
    vision = replace(clip.config.vision, image_size=128)
    return type(clip)(replace(clip.config, vision=vision))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """All built-in models replaced by tiny random ones in a folder of their own."""
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path / "weights"))
    for seed, (name, build) in enumerate((BUILDERS | JUDGES | FLOWS | {"clip": big_clip}).items()):
        spec = replace(catalog.SPECS[f"playworld/{name}"], build=build)
        monkeypatch.setitem(catalog.SPECS, spec.key, spec)
        save_sharded(randomised(build(), seed).state_dict(), spec.path)
    return tmp_path


def training(job_class, folder, /, **changes):
    values = {"steps": 2, "batch_size": 4, "scenes": 512, "folder": str(folder / "work"), "bf16": False, "device": "cpu"}
    return job_class(**(values | changes))


@pytest.mark.parametrize(
    ("kind", "key", "changes"),
    [
        (TrainVae, "vae", {}),
        (TrainClip, "clip", {}),
        (TrainUnet, "unet", {}),
        (TrainControl, "control-canny", {"kind": "canny"}),
        (TrainControl, "control-pose", {"kind": "pose"}),
        (TrainJudge, "facts", {"kind": "facts"}),
        (TrainJudge, "joints", {"kind": "joints"}),
        (TrainFlow, "glow", {"kind": "glow", "validation": 0}),
        (TrainFlow, "nice", {"kind": "nice", "validation": 0}),
    ],
)
def test_every_training_runs_resumes_and_installs(weights, drive, kind, key, changes):
    first = drive(training(kind, weights, **changes))
    assert isinstance(first[-1], Done), first[-1]
    assert first[-1].result.facts["updates"] == 2
    records = [entry for event in first if isinstance(event, Record) for entry in event.payload]
    assert [entry["step"] for entry in records] == [1, 2]
    more = drive(training(kind, weights, steps=3, install=True, **changes))
    assert more[-1].result.facts["updates"] == 1  # the two made before are not made again
    average = averaged_weights(weights / "work" / key)
    installed = catalog.load(f"playworld/{key}").state_dict()
    for name, value in average.items():
        if name.startswith(("to_moments.", "from_latent.")):  # standardised, which test_training of the models proves
            continue
        assert np.allclose(installed[name].numpy(), value.half().float().numpy())
    assert (weights / "weights" / "playworld-latent-rgb.json").exists() == (key == "vae")


def test_the_words_of_clip_come_first_and_stay(weights, drive):
    before = catalog.load("playworld/clip").state_dict()
    drive(training(TrainClip, weights, stage="words", install=True))
    words = catalog.load("playworld/clip").state_dict()
    average = averaged_weights(weights / "work" / "clip-words")
    assert all(np.allclose(words[name].numpy(), average[name].half().float().numpy()) for name in words if name.startswith("text."))
    assert not np.allclose(words["text.tokens.weight"].numpy(), before["text.tokens.weight"].numpy())
    drive(training(TrainClip, weights, stage="pictures", install=True))
    after = catalog.load("playworld/clip").state_dict()
    assert all(np.array_equal(after[name].numpy(), words[name].numpy()) for name in words if name.startswith("text."))
    assert not np.array_equal(after["vision.class_token"].numpy(), words["vision.class_token"].numpy())


@pytest.mark.parametrize(("kind", "key"), [(TrainUnet, "unet"), (TrainControl, "control-canny")])
def test_training_can_go_on_from_the_installed_weights(weights, drive, kind, key):
    before = catalog.load(f"playworld/{key}").state_dict()
    drive(training(kind, weights, steps=1, lr=1e-7, go_on=True, install=True))
    after = catalog.load(f"playworld/{key}").state_dict()
    assert all(np.allclose(after[name].numpy(), value.numpy(), atol=2e-3) for name, value in before.items())


def test_evaluation_names_every_figure_with_its_bounds(weights, drive):
    job = EvaluateTxt2Img(scenes=8, steps=2, batch_size=4, device="cpu")
    done = drive(job)[-1]
    assert isinstance(done, Done), done
    facts = done.result.facts
    assert set(facts) == {"judges", "autoencoder", "facts", "canny", "pose"}
    assert {"share", "upper_true_renders", "lower_empty_prompt"} <= set(facts["facts"])
    assert {"control", "upper_autoencoded_renders", "lower_no_control"} == set(facts["canny"])
    assert all({"precision", "recall", "f1"} == set(row) for row in facts["canny"].values())
    assert {"pck_control", "pck_upper_true_renders", "pck_lower_no_control"} == set(facts["pose"])
    assert {"autoencoder.png", "facts.png", "canny.png", "pose.png"} == set(done.result.files)
    again = drive(job)[-1].result
    assert again.facts == facts and again.files == done.result.files


def test_a_flow_keeps_its_actnorm_when_it_goes_on_and_tells_bits_of_unseen_scenes(weights, drive):
    job = training(TrainFlow, weights, kind="glow", steps=3, install=True, validation=64)
    facts = drive(job)[-1].result.facts
    assert 3 < facts["validation_bits_per_dim"] < 9
    installed = catalog.load("playworld/glow")
    norms = [m for m in installed.modules() if isinstance(m, ActNorm)]
    assert norms and all(bool(m.initialised) for m in norms)
    (weights / "work" / "glow" / "checkpoint.safetensors").unlink()
    drive(training(TrainFlow, weights, kind="glow", steps=1, lr=1e-7, go_on=True, install=True, validation=0))
    after = catalog.load("playworld/glow").state_dict()
    assert all(np.allclose(after[name].numpy(), value.numpy(), atol=2e-3) for name, value in installed.state_dict().items())
