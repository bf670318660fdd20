"""`flow-tiles` on tiny flows: what it tells is measured on the pictures it shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.jobs.flows import FlowTiles
from app.protocol.events import Done, Failed, Preview, Record, Step
from models import catalog
from models.checkpoint import save_sharded
from models.flows.chain import seeded
from models.flows.coupling import GlowConfig
from models.flows.nice import NiceConfig
from models.flows.tiles import glow_tiles, nice_tiles
from tests.runners.conftest import randomised

BUILD = {
    "glow": lambda: glow_tiles(GlowConfig(channels=3, size=16, levels=2, steps=1, width=8)),
    "nice": lambda: nice_tiles(NiceConfig(dim=256, couplings=4, width=16, depth=1, prior="logistic")),
}


@pytest.fixture(params=["glow", "nice"])
def kind(request, tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path))
    spec = replace(catalog.SPECS[f"playworld/{request.param}"], build=BUILD[request.param])
    monkeypatch.setitem(catalog.SPECS, spec.key, spec)
    model = seeded(0, spec.build)
    for parameter in randomised(model, 1).parameters():
        parameter.data *= 0.1
    save_sharded(model.state_dict(), spec.path)
    return request.param


def test_a_flow_shows_what_it_can_do(kind, drive):
    job = FlowTiles(kind=kind, samples=10, scenes=8, rows=2, columns=5, climb=6, hidden="left", device="cpu")
    events = drive(job)
    done = events[-1]
    assert isinstance(done, Done), done
    files, facts = done.result.files, done.result.facts
    assert files["samples.png"].pixels.shape == (32, 128, 3)
    assert files["interpolation.png"].pixels.shape == (32, 80, 3)
    assert files["inpainting.png"].pixels.shape == (32, 48, 3)
    assert [e.index for e in events if isinstance(e, Step)] == [1, 2, 3, 4, 5, 6]
    assert {e.channel for e in events if isinstance(e, Record)} == {"facts", "samples", "interpolation", "inpainting"}
    assert any(isinstance(e, Preview) for e in events)
    assert facts["inverse_error"] < 1e-3 and 1 < facts["bits_per_dim"] < 20 and np.isfinite(facts["inpainted_log_density"])
    given, filled, truth = (files["inpainting.png"].pixels[:16, 16 * k : 16 * k + 16].astype(int) for k in range(3))
    assert (given[:, :8] == 0).all() and np.array_equal(filled[:, 8:], truth[:, 8:])
    ends = files["interpolation.png"].pixels[:16].astype(int)
    assert abs(ends[:, :16] - truth).max() <= 1, "the first interpolation begins at the first scene"
    if kind == "nice":
        assert (truth[..., 0] == truth[..., 2]).all()
    again = drive(job)[-1].result
    assert again.facts == facts and again.files == files


def test_missing_weights_are_told(monkeypatch, tmp_path, drive):
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path))
    end = drive(FlowTiles(device="cpu"))[-1]
    assert isinstance(end, Failed) and "Glow on Playworld tiles" in end.report.title and "train" in end.report.hint


def test_masks_hide_what_they_say():
    from app.runners.flows import mask

    assert {name: int((mask(name) == 0).sum()) for name in ("left", "right", "top", "bottom", "middle")} == {
        "left": 128, "right": 128, "top": 128, "bottom": 128, "middle": 64,
    }  # fmt: skip
    assert torch.equal(mask("left") + mask("right"), torch.ones(1, 1, 16, 16)) and mask("top")[0, 0, 0].sum() == 0
