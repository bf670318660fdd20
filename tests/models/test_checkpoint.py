"""Weights on disk: what is written is read, whatever does not fit is told, and nothing dangerous is opened."""

import json

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from models import checkpoint
from models.checkpoint import Checkpoint, CheckpointError, load_into, map_names, save_sharded


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.conv = nn.Conv2d(2, 3, 3)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Net()
    net.count.fill_(7)
    return net


def assert_halves(model: nn.Module, net: nn.Module) -> None:
    for name, tensor in net.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(model.state_dict()[name], expected), name


def test_one_file_there_and_back(net, tmp_path):
    files = save_sharded(net.state_dict(), tmp_path / "net", metadata={"what": "a test"})
    assert [file.name for file in files] == ["net.safetensors"]
    model = load_into(Net, tmp_path / "net", dtype=torch.float32)
    assert_halves(model, net)
    assert model.conv.weight.dtype == torch.float32 and model.count.dtype == torch.long
    assert not model.training
    assert Checkpoint(tmp_path / "net").metadata["what"] == "a test"


@pytest.mark.parametrize("entry", ["net", "net.safetensors.index.json", "net-00002-of-00003.safetensors"])
def test_shards_are_found_from_any_of_their_names(net, tmp_path, entry):
    files = save_sharded(net.state_dict(), tmp_path / "net", max_bytes=120)
    shards = [file for file in files if file.suffix == ".safetensors"]
    assert [file.name for file in shards] == [f"net-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert_halves(load_into(Net, tmp_path / entry, dtype=torch.float32), net)
    index = json.loads((tmp_path / "net.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(net.state_dict())
    assert index["metadata"]["total_size"] == sum(2 * p.numel() for p in net.parameters()) + 8


def test_a_list_of_files_is_read_as_one(net, tmp_path):
    state = net.state_dict()
    first = save_sharded({name: state[name] for name in list(state)[:4]}, tmp_path / "first")
    second = save_sharded({name: state[name] for name in list(state)[4:]}, tmp_path / "second")
    assert_halves(load_into(Net, [*first, *second], dtype=torch.float32), net)


def test_no_shard_exceeds_its_limit(tmp_path):
    state = {f"w{i}": torch.zeros(1000) for i in range(9)}
    files = save_sharded(state, tmp_path / "big", max_bytes=5000)
    sizes = [file.stat().st_size for file in files if file.suffix == ".safetensors"]
    assert len(sizes) == 5 and max(sizes) < 5000 + 1000  # and a header
    assert checkpoint.MAX_SHARD_BYTES < 20 * 2**20


def test_writing_again_leaves_nothing_of_the_old_layout(net, tmp_path):
    other = save_sharded({"a": torch.zeros(1)}, tmp_path / "net-ema")
    save_sharded(net.state_dict(), tmp_path / "net", max_bytes=120)
    save_sharded(net.state_dict(), tmp_path / "net")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net-ema.safetensors", "net.safetensors"]
    save_sharded(net.state_dict(), tmp_path / "net", max_bytes=120)
    assert not (tmp_path / "net.safetensors").exists()
    assert other[0].exists()


def test_channels_last_weights_are_written_in_plain_order(net, tmp_path):
    save_sharded(net.to(memory_format=torch.channels_last).state_dict(), tmp_path / "net")
    assert_halves(load_into(Net, tmp_path / "net", dtype=torch.float32), net)


def test_values_beyond_fp16_are_refused(net, tmp_path):
    net.conv.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(CheckpointError, match="conv.weight .*fp16"):
        save_sharded(net.state_dict(), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_progress_counts_to_the_end(net, tmp_path):
    save_sharded(net.state_dict(), tmp_path / "net")
    seen = []
    load_into(Net, tmp_path / "net", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 9) for i in range(1, 10)]


# --- names ---


def test_templates_carry_numbers_and_tails_and_the_longest_wins():
    keymap = {"block.{i}.part.{j}": "b.{j}.p.{i}", "block.{i}.part.{j}.gain": "g.{i}.{j}", "old": None}
    names = ["block.3.part.12.weight", "block.3.part.12.gain", "old.ids"]
    assert {ours: theirs for ours, (theirs, _) in map_names(names, keymap).items()} == {
        "b.12.p.3.weight": "block.3.part.12.weight",
        "g.3.12": "block.3.part.12.gain",
    }


def test_templates_match_whole_names_only():
    for name in ("norm10.weight", "xnorm1.weight", "norm1x", "layers.a.weight"):
        with pytest.raises(CheckpointError, match=name):
            map_names([name], {"norm1": "norm1", "layers.{i}": "layers.{i}"})


def test_two_names_for_one_weight_are_refused():
    with pytest.raises(CheckpointError, match="Both a.weight and b.weight are weights of c.weight"):
        map_names(["a.weight", "b.weight"], {"a": "c", "b": "c"})


def test_a_foreign_file_loads_through_its_table(net, tmp_path):
    theirs = {f"stack.{i}.{part}": tensor for i, layer in enumerate(net.layers)
              for part, tensor in layer.state_dict().items()}
    theirs |= {"filter.weight": net.conv.weight.detach().flatten(2), "filter.bias": net.conv.bias.detach(),
               "count": net.count, "position_ids": torch.arange(3)}
    save_file(theirs, tmp_path / "theirs.safetensors")
    keymap = {
        "stack.{i}": "layers.{i}", "filter.weight": ("conv.weight", lambda w: w.unflatten(2, (3, 3))),
        "filter.bias": "conv.bias", "count": "count", "position_ids": None,
    }
    model = load_into(Net, tmp_path / "theirs.safetensors", keymap)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), net.state_dict().values()))


# --- what does not fit ---


def broken(net, tmp_path, change) -> None:
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    change(state)
    save_file(state, tmp_path / "net.safetensors")


def test_missing_weights_are_named(net, tmp_path):
    broken(net, tmp_path, lambda state: state.pop("layers.1.bias"))
    with pytest.raises(CheckpointError, match=r"net.safetensors lacks layers\.1\.bias"):
        load_into(Net, tmp_path / "net")


def test_unexpected_weights_are_named(net, tmp_path):
    broken(net, tmp_path, lambda state: state.update(extra=torch.zeros(1)))
    with pytest.raises(CheckpointError, match="holds extra, which this model does not have"):
        load_into(Net, tmp_path / "net")


def test_wrong_shapes_are_told_with_both(net, tmp_path):
    broken(net, tmp_path, lambda state: state.update({"conv.bias": torch.zeros(5)}))
    with pytest.raises(CheckpointError, match=r"conv.bias .*\(5,\).*\(3,\)"):
        load_into(Net, tmp_path / "net")


def test_what_the_file_cannot_fill_is_told(net, tmp_path):
    class WithTable(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.zeros(3), persistent=False)

    save_sharded(net.state_dict(), tmp_path / "net")
    with pytest.raises(CheckpointError, match="table of WithTable"):
        load_into(WithTable, tmp_path / "net")


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".PT"])
def test_pickles_are_refused_unopened_with_a_way_out(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"  # does not even exist
    with pytest.raises(CheckpointError, match="pickle") as caught:
        load_into(Net, path)
    assert "save_file" in caught.value.hint


def test_a_pickle_in_disguise_is_refused(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="holds a pickle"):
        load_into(Net, tmp_path / "net")


def test_a_git_lfs_pointer_is_recognised(tmp_path):
    (tmp_path / "net.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="pointer") as caught:
        load_into(Net, tmp_path / "net")
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_damaged_files_are_told(net, tmp_path, keep):
    path = save_sharded(net.state_dict(), tmp_path / "net")[0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="net.safetensors is damaged or cut short"):
        load_into(Net, tmp_path / "net")


def test_missing_files_and_shards_are_told(net, tmp_path):
    with pytest.raises(CheckpointError, match="no weights at .*net"):
        load_into(Net, tmp_path / "net")
    with pytest.raises(CheckpointError, match="net.safetensors is missing"):
        load_into(Net, tmp_path / "net.safetensors")
    save_sharded(net.state_dict(), tmp_path / "net", max_bytes=120)
    (tmp_path / "net-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="net-00002-of-00003.safetensors is missing"):
        load_into(Net, tmp_path / "net")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": 3}'])
def test_damaged_indices_are_told(tmp_path, text):
    (tmp_path / "net.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match="net.safetensors.index.json is damaged"):
        load_into(Net, tmp_path / "net")


@pytest.mark.parametrize("target", ['"../secret.safetensors"', '"net.bin"', "3"])
def test_an_index_may_not_point_elsewhere(tmp_path, target):
    (tmp_path / "net.safetensors.index.json").write_text(f'{{"weight_map": {{"a": {target}}}}}')
    with pytest.raises(CheckpointError, match="no safetensors beside it"):
        load_into(Net, tmp_path / "net")


def test_a_tensor_that_stands_twice_is_told(net, tmp_path):
    one, two = (save_sharded(net.state_dict(), tmp_path / name)[0] for name in ("one", "two"))
    with pytest.raises(CheckpointError, match="stands twice in one.safetensors, two.safetensors"):
        load_into(Net, [one, two])


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path):
    """640 bytes of header are written as 80 02 00 ..., which are also the first bytes of a pickle."""
    path = tmp_path / "unlucky.safetensors"
    for length, start in ((640, b"\x80\x02"), (0x4B50, b"PK")):
        data = save({"x": torch.ones(2)}, metadata={"note": ""})
        room = length - int.from_bytes(data[:8], "little")
        path.write_bytes(save({"x": torch.ones(2)}, metadata={"note": "a" * room}))
        assert path.read_bytes()[:2] == start
        assert Checkpoint(path).read("x").tolist() == [1, 1]
