"""The catalog: every entry builds, is written and read back, and says in a sentence what is missing."""

import pytest
import torch

from models import catalog
from models.checkpoint import CheckpointError, save_sharded


@pytest.fixture(autouse=True)
def empty_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("key", [key for key, spec in catalog.SPECS.items() if isinstance(spec, catalog.ModelSpec)])
def test_every_model_comes_back_from_its_file(key):
    torch.manual_seed(0)
    spec = catalog.SPECS[key]
    assert not catalog.available(key)
    built = spec.build()
    save_sharded(built.state_dict(), spec.path)
    assert catalog.available(key)
    halves = sum(2 * p.numel() for p in built.parameters())
    assert halves < spec.bytes < halves + 100_000
    assert catalog.total_bytes() == spec.bytes
    model = catalog.load(key)
    for name, tensor in built.state_dict().items():
        loaded = model.state_dict()[name]
        assert torch.equal(loaded, tensor.half().float() if tensor.is_floating_point() else tensor), name
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert catalog.load(key, dtype=torch.bfloat16).state_dict().keys() == built.state_dict().keys()


def test_all_keys_of_issue_two_are_there():
    names = "vae clip unet control-canny control-pose joints facts".split()
    assert set(catalog.SPECS) >= {f"playworld/{name}" for name in names}
    assert all(key == spec.key for key, spec in catalog.SPECS.items())
    assert len({spec.file for spec in catalog.SPECS.values()}) == len(catalog.SPECS)


def test_dtype_is_the_one_asked_for():
    spec = catalog.SPECS["playworld/joints"]
    save_sharded(spec.build().state_dict(), spec.path)
    assert {p.dtype for p in catalog.load("playworld/joints", dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def test_missing_weights_are_told_with_the_folder(empty_weights):
    with pytest.raises(CheckpointError, match="Playworld UNet") as caught:
        catalog.load("playworld/unet")
    assert str(empty_weights) in str(caught.value) and caught.value.hint


def test_a_lost_shard_makes_a_model_unavailable():
    spec = catalog.SPECS["playworld/joints"]
    files = save_sharded(spec.build().state_dict(), spec.path, max_bytes=500_000)
    assert len(files) > 2 and catalog.available("playworld/joints")
    files[1].unlink()
    assert not catalog.available("playworld/joints")


def test_unknown_keys_are_told_with_the_known_ones():
    with pytest.raises(CheckpointError, match="sd99") as caught:
        catalog.load("sd99")
    assert "playworld/vae" in caught.value.hint


def test_clip_has_room_for_exactly_the_words_of_playworld():
    from models.playworld import words

    config = catalog.playworld_clip_config()
    assert config.text.vocab_size == words.VOCAB_SIZE
    ids = words.encode("a red house", max_len=config.text.max_len)
    assert max(ids) == config.text.eos_id and len(ids) == config.text.max_len
