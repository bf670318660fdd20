"""GGUF: what is read equals what the gguf package reads, and no file, however cut or twisted, does more than a sentence."""

import random
import struct

import gguf
import numpy as np
import pytest
import torch

from models.checkpoint import CheckpointError
from models.language.gguf import GgufFile, config_of
from models.language.keymaps import assemble, gguf_keymap
from models.language.llama import Llama
from models.nn.rope import RopeScaling
from tests.models.language.tiny import SIZES, gguf_shapes, write_gguf


def numbers(path) -> dict[str, torch.Tensor]:
    file = GgufFile(path)
    return {name: file.read(name) for name in file.names}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.gguf"
    return path, write_gguf(path)


def test_metadata_and_tensors_equal_the_gguf_package(tiny):
    path, written = tiny
    file, theirs = GgufFile(path), gguf.GGUFReader(path)
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            assert file.metadata[key] == field.contents(), key
    assert set(file.names) == {tensor.name for tensor in theirs.tensors} == set(gguf_shapes(268))
    for tensor in theirs.tensors:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        got = file.read(tensor.name)
        assert got.shape == tuple(reversed(tensor.shape.tolist())) == expected.shape == file.shape(tensor.name)
        assert np.array_equal(got.numpy(), expected) and np.array_equal(got.numpy(), written[tensor.name])


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "Q4_K", "Q6_K", "TQ1_0", "IQ4_NL"])
def test_every_kind_of_block_equals_the_gguf_package(tmp_path, kind):
    kind = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(1).integers(0, 60, (3, size * (512 // block)), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "one.gguf", "llama")
    writer.add_tensor("x", data if block > 1 or kind.name == "BF16" else data.view(np.float16), raw_dtype=kind)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        write()
    got = GgufFile(tmp_path / "one.gguf").read("x")
    assert got.dtype == torch.float32 and np.array_equal(got.numpy(), gguf.quants.dequantize(data, kind).reshape(3, 512), equal_nan=True)


def test_smollm2s_tensors_equal_the_gguf_package(smollm2_path):
    """The package's reader takes seconds for this file's vocabulary; bytes are cut out by hand, which `tiny` has shown to be right."""
    file, data = GgufFile(smollm2_path), np.memmap(smollm2_path, np.uint8)
    assert len(file.names) == 272
    for name in ("blk.0.attn_q.weight", "blk.17.ffn_down.weight", "blk.29.attn_norm.weight", "token_embd.weight"):
        info, (rows, *columns) = file.tensors[name], file.shape(name)
        kind = gguf.GGMLQuantizationType(info.kind)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        width = (columns[0] if columns else 1) // block * size
        blocks = data[info.offset : info.offset + rows * width].reshape(rows, width)
        expected = gguf.quants.dequantize(blocks if block > 1 else blocks.view(np.float32).reshape(-1), kind)
        assert np.array_equal(file.read(name).numpy(), expected)


def test_weights_of_the_net_are_the_files(tiny):
    """Fused matrices are the file's rows one below the other; GGUF's queries and keys have our order already."""
    path, written = tiny
    file = GgufFile(path)
    config = config_of(file)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Llama(config).named_parameters()}
    state = dict(assemble(shapes, file.names, file.read, gguf_keymap(config), "tiny", file.shape))
    expected = np.concatenate([written[f"blk.1.attn_{part}.weight"] for part in "qkv"])
    assert np.array_equal(state["blocks.1.qkv.weight"].numpy(), expected)
    expected = np.concatenate([written[f"blk.0.ffn_{part}.weight"] for part in ("gate", "up")])
    assert np.array_equal(state["blocks.0.gate_up.weight"].numpy(), expected)
    assert np.array_equal(state["tokens.weight"].numpy(), written["token_embd.weight"])


def test_config_is_read(tiny):
    config = config_of(GgufFile(tiny[0]))
    assert (config.dim, config.n_layers, config.n_heads, config.n_kv_heads, config.head_dim) == (64, 2, 4, 2, 16)
    assert (config.ffn_dim, config.vocab_size, config.max_len, config.tied) == (96, 268, 128, False)
    assert config.norm_eps == pytest.approx(1e-5) and config.rope_theta == 10_000 and config.rope_scaling is None


@pytest.mark.parametrize(("changes", "expected"), [
    ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, RopeScaling("linear", 4.0, 128)),
    ({"llama.rope.scale_linear": 2.0}, RopeScaling("linear", 2.0, 128)),
    ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0, "llama.rope.scaling.original_context_length": 32},
     RopeScaling("yarn", 4.0, 32)),
    ({"llama.rope.scaling.type": "none"}, None),
])  # fmt: skip
def test_stretched_positions_are_read(tmp_path, changes, expected):
    write_gguf(tmp_path / "x.gguf", changes=changes)
    assert config_of(GgufFile(tmp_path / "x.gguf")).rope_scaling == expected


def test_a_file_without_output_matrix_is_tied(tmp_path):
    write_gguf(tmp_path / "x.gguf", drop=("output.weight",))
    assert config_of(GgufFile(tmp_path / "x.gguf")).tied


@pytest.mark.parametrize(("changes", "words"), [
    ({"general.architecture": "qwen2"}, "'qwen2'"),
    ({"llama.expert_count": 8}, "mixture of 8 experts"),
    ({"llama.rope.scaling.type": "odd"}, "'odd'"),
    ({"llama.rope.dimension_count": 8}, r"rope\.dimension_count 8 beside heads of 16"),
    ({"llama.attention.head_count_kv": 3}, "4 query heads cannot share 3"),
    ({"llama.block_count": 2**31}, "impossible"),
    ({"llama.embedding_length": 64.5}, "no whole number"),
    ({"llama.context_length": "long"}, "context_length"),
    ({"llama.attention.head_count": 0}, "impossible"),
    ({"llama.rope.freq_base": float("inf")}, "impossible"),
    ({"llama.feed_forward_length": None}, "feed_forward_length"),
])  # fmt: skip
def test_an_impossible_model_is_one_sentence(tmp_path, changes, words):
    write_gguf(tmp_path / "bad.gguf", changes=changes)
    with pytest.raises(CheckpointError, match=words) as caught:
        config_of(GgufFile(tmp_path / "bad.gguf"))
    assert "bad.gguf" in caught.value.message


def test_every_cut_is_one_sentence(tiny):
    """A file cut anywhere is refused when it is opened or checked, never read as something else."""
    path, _ = tiny
    data = path.read_bytes()
    rng = random.Random(0)
    for length in [0, 1, 3, 4, 7, 8, 12, 23, 24, 25, *(rng.randrange(len(data)) for _ in range(150)), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError) as caught:
            GgufFile(path).check()
        assert caught.value.message.endswith(".") and "\n" not in caught.value.message, length


def test_no_flipped_byte_does_harm(tiny):
    """Damage in the header gives a sentence or another, still bounded, file; nothing else is raised and nothing hangs."""
    path, _ = tiny
    data = bytearray(path.read_bytes())
    header = data.index(b"blk.1.ffn_down")
    rng, refused = random.Random(1), 0
    for _ in range(400):
        at, value = rng.randrange(4, header + 60), rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        damaged = bytearray(data)
        damaged[at] = value
        path.write_bytes(damaged)
        try:
            file = GgufFile(path)
            file.check()
            config_of(file)
        except CheckpointError as error:
            refused += 1
            assert error.message.endswith(".") and "\n" not in error.message and len(error.message) < 400
    assert refused > 40


def raw(*parts: bytes | int) -> bytes:
    """A file made by hand; whole numbers are 8 bytes."""
    return b"GGUF" + struct.pack("<I", 3) + b"".join(part if isinstance(part, bytes) else struct.pack("<Q", part) for part in parts)


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


HUGE = 2**63 - 1
TWISTED = {
    "endless metadata": raw(0, HUGE),
    "endless tensors": raw(HUGE, 0),
    "endless key": raw(0, 1, text(b"k", HUGE)),
    "endless text": raw(0, 1, text(b"k"), struct.pack("<I", 8), text(b"v", HUGE)),
    "endless list": raw(0, 1, text(b"k"), struct.pack("<IIQ", 9, 0, HUGE)),
    "endless list of texts": raw(0, 1, text(b"k"), struct.pack("<IIQ", 9, 8, HUGE)),
    "lists in lists": raw(0, 1, text(b"k"), struct.pack("<IIQ", 9, 9, 1) * 50 + b"\0" * 99),
    "unknown kind": raw(0, 1, text(b"k"), struct.pack("<I", 77) + b"\0" * 20),
    "no UTF-8": raw(0, 1, text(b"\xff\xfe"), struct.pack("<IB", 0, 1)),
    "a key twice": raw(0, 2, *[text(b"k") + struct.pack("<IB", 0, 1)] * 2),
    "alignment 0": raw(0, 1, text(b"general.alignment"), struct.pack("<II", 4, 0)),
    "alignment 3": raw(0, 1, text(b"general.alignment"), struct.pack("<II", 4, 3)),
    "alignment as text": raw(0, 1, text(b"general.alignment"), struct.pack("<I", 8), text(b"32")),
    "many dimensions": raw(1, 0, text(b"t"), struct.pack("<I", 999) + b"\1" * 99),
    "a huge tensor": raw(1, 0, text(b"t"), struct.pack("<IQQIQ", 2, HUGE, HUGE, 0, 0) + b"\0" * 64),
    "an empty tensor": raw(1, 0, text(b"t"), struct.pack("<IQIQ", 1, 0, 0, 0) + b"\0" * 64),
    "a tensor beyond the end": raw(1, 0, text(b"t"), struct.pack("<IQIQ", 1, 4, 0, 2**40) + b"\0" * 64),
    "a tensor off its place": raw(1, 0, text(b"t"), struct.pack("<IQIQ", 1, 4, 0, 5) + b"\0" * 64),
    "an unknown number format": raw(1, 0, text(b"t"), struct.pack("<IQIQ", 1, 4, 999, 0) + b"\0" * 64),
    "broken blocks": raw(1, 0, text(b"t"), struct.pack("<IQIQ", 1, 31, 8, 0) + b"\0" * 64),
    "a tensor twice": raw(2, 0, *[text(b"t") + struct.pack("<IQIQ", 1, 4, 0, 0)] * 2, b"\0" * 64),
    "version 1": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "no GGUF": b"PK\x03\x04" + b"\0" * 99,
}


@pytest.mark.parametrize("name", TWISTED)
def test_a_twisted_file_is_one_sentence(tmp_path, name):
    path = tmp_path / "twisted.gguf"
    path.write_bytes(TWISTED[name])
    with pytest.raises(CheckpointError) as caught:
        GgufFile(path).check()
    assert "twisted.gguf" in caught.value.message and caught.value.message.endswith(".") and "\n" not in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*none\.gguf"):
        GgufFile(tmp_path / "none.gguf")


def test_sizes_of_the_tiny_model_are_what_its_tensors_have():
    assert gguf_shapes(268)["blk.0.attn_q.weight"] == (SIZES["llama.embedding_length"],) * 2
