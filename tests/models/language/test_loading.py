"""Files and folders become models that answer alike; the cache, memory and every kind of damage."""

import json

import pytest
import safetensors.torch
import torch
import transformers

from models import catalog
from models.checkpoint import CheckpointError
from models.language import formats, loading
from models.language.chat_template import render
from models.language.loading import cache_folder, forget, load_language_model
from models.language.tokenizer import Tokenizer
from tests.models.language.tiny import write_gguf, write_tokenizer
from tests.models.parity import WHOLE, assert_close

CONTROL = ["<|im_start|>", "<|im_end|>"]
VOCAB = 268


@pytest.fixture(autouse=True)
def quick_choice(monkeypatch):
    monkeypatch.setattr(formats, "TRIAL_WEIGHTS", 2**16)


@pytest.fixture
def gguf_path(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


def write_folder(folder, tied: bool = False, dtype: torch.dtype = torch.float32, shards: bool = False) -> transformers.LlamaForCausalLM:
    """A folder as Hugging Face keeps them; transformers' net with the very numbers of the files."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, vocab_size=VOCAB,
        max_position_embeddings=128, tie_word_embeddings=tied, eos_token_id=1, initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.copy_(weight.to(dtype))
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items() if not (tied and name == "lm_head.weight")}
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["LlamaForCausalLM"]}), "utf-8")
    if shards:
        files = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(state)}
        for file in set(files.values()):
            safetensors.torch.save_file({name: state[name] for name in state if files[name] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}), "utf-8")
    else:
        safetensors.torch.save_file(state, folder / "model.safetensors")
    write_tokenizer(folder, CONTROL, eos_token="<|im_end|>", chat_template="{{ messages[0]['content'] }}")
    return model


def logits(language, n: int = 30) -> torch.Tensor:
    ids = torch.arange(n)[None] * 5 % VOCAB
    return language.model.head(language.model(ids))


@pytest.mark.parametrize(("tied", "shards"), [(False, False), (True, False), (False, True)])
def test_a_folder_gives_transformers_logits(tmp_path, tied, shards):
    theirs = write_folder(tmp_path, tied, shards=shards)
    language = load_language_model(tmp_path, format="fp32")
    assert_close(logits(language), theirs(torch.arange(30)[None] * 5 % VOCAB).logits, WHOLE)
    assert language.model.config.tied == tied and language.context == 128 and language.format == "fp32"
    assert language.tokenizer.stop_ids == {1} and render(language.template, [{"role": "user", "content": "x"}]) == "x"
    assert not any(weight.requires_grad for weight in language.model.parameters()) and not language.model.training


def test_a_folder_in_bf16_is_read(tmp_path):
    theirs = write_folder(tmp_path, dtype=torch.bfloat16)
    assert_close(logits(load_language_model(tmp_path, format="fp32")), theirs(torch.arange(30)[None] * 5 % VOCAB).logits, WHOLE)


def test_gguf_gives_what_transformers_gives_with_the_same_tensors(tmp_path):
    """The file's tensors, put into transformers' net with llama.cpp's order of query and key rows undone."""
    written = write_gguf(tmp_path / "tiny.gguf")
    theirs = write_folder(tmp_path)
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    state = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    state |= {f"model.layers.{i}.{hf}.weight": f"blk.{i}.{short}.weight" for i in range(2) for short, hf in names.items()}
    tensors = {theirs_name: torch.from_numpy(written[name]) for theirs_name, name in state.items()}
    for name in tensors:
        for part, heads in (("q_proj", 4), ("k_proj", 2)):
            if part in name:
                tensors[name] = tensors[name].reshape(heads, 8, 2, 64).swapaxes(1, 2).reshape(tensors[name].shape)
    theirs.load_state_dict(tensors, strict=True)
    theirs.config.rms_norm_eps = 1e-5
    for module in theirs.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1e-5
    language = load_language_model(tmp_path / "tiny.gguf", format="fp32")
    assert_close(logits(language), theirs(torch.arange(30)[None] * 5 % VOCAB).logits, WHOLE)
    assert language.name == "Tiny" and language.template.source.startswith("{% for")


@pytest.mark.parametrize("format", ["fp32", "bf16", None])
def test_the_second_start_reads_the_cache_and_gives_the_same(gguf_path, monkeypatch, format):
    first = load_language_model(gguf_path, format=format)
    assert len(list(cache_folder().glob("*.safetensors"))) == 1

    def forbidden(*_):
        raise AssertionError("expanded again")

    monkeypatch.setattr(loading.GgufFile, "read", forbidden)
    again = load_language_model(gguf_path, format=format)
    assert torch.equal(logits(first), logits(again)) and again.format == first.format


def test_another_file_under_the_same_name_is_not_taken_from_the_cache(gguf_path):
    first = load_language_model(gguf_path, format="fp32")
    write_gguf(gguf_path, quantised=False)
    assert not torch.equal(logits(first), logits(load_language_model(gguf_path, format="fp32")))


def test_a_damaged_cache_is_made_again(gguf_path):
    first = load_language_model(gguf_path, format="fp32")
    (kept,) = cache_folder().glob("*.safetensors")
    for damage in (b"", kept.read_bytes()[:-9], safetensors.torch.save({"tokens.weight": torch.zeros(2, 2)})):
        kept.write_bytes(damage)
        assert torch.equal(logits(load_language_model(gguf_path, format="fp32")), logits(first))


def test_the_cache_stays_small_and_can_be_left_out(gguf_path, tmp_path, monkeypatch):
    load_language_model(gguf_path, keep=False)
    assert not list(cache_folder().glob("*.safetensors"))
    for i in range(loading.CACHE_FILES + 2):
        write_gguf(tmp_path / f"{i}.gguf")
        load_language_model(tmp_path / f"{i}.gguf", format="fp32")
    assert len(list(cache_folder().glob("*.safetensors"))) == loading.CACHE_FILES
    forget(tmp_path / f"{i}.gguf")
    forget(tmp_path / "none.gguf")
    assert len(list(cache_folder().glob("*.safetensors"))) == loading.CACHE_FILES - 1
    monkeypatch.setattr(loading, "CACHE_BYTES", 1000)
    load_language_model(tmp_path / f"{i}.gguf", format="fp32")
    assert len(list(cache_folder().glob("*.safetensors"))) == loading.CACHE_FILES - 1


def test_a_disk_that_cannot_be_written_does_not_matter(gguf_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(loading, "save_file", full)
    assert load_language_model(gguf_path, format="fp32").format == "fp32"


def test_progress_counts_weights(gguf_path):
    seen = []
    load_language_model(gguf_path, progress=lambda done, total: seen.append((done, total)), format="fp32")
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_a_model_without_template_gets_a_plain_one(tmp_path):
    write_gguf(tmp_path / "x.gguf", changes={"tokenizer.chat_template": None})
    language = load_language_model(tmp_path / "x.gguf", format="fp32")
    assert not language.has_template and "hello" in render(language.template, [{"role": "user", "content": "hello"}])


def test_weights_beyond_fp16_are_loaded_in_fp32(tmp_path):
    write_folder(tmp_path)
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    state["model.norm.weight"][0] = 1e6
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_language_model(tmp_path).format == "fp32"
    with pytest.raises(CheckpointError, match="fp16 cannot hold"):
        load_language_model(tmp_path, format="fp16")


def test_memory_is_checked_before_anything_is_read(gguf_path, monkeypatch):
    monkeypatch.setattr(loading, "free_memory", lambda: 1000)
    monkeypatch.setattr(loading.GgufFile, "read", lambda *_: pytest.fail("read a tensor"))
    with pytest.raises(CheckpointError, match=r"needs 0\.0 GiB of memory in fp32, and 0\.0 GiB are free") as caught:
        load_language_model(gguf_path, format="fp32")
    assert caught.value.hint


def test_a_config_that_promises_terabytes_is_told_before_loading(tmp_path):
    write_folder(tmp_path)
    edit(tmp_path / "config.json", hidden_size=2**20, intermediate_size=2**22)
    with pytest.raises(CheckpointError, match="GiB of memory"):
        load_language_model(tmp_path)


def test_free_memory_is_told():
    assert loading.free_memory() is None or loading.free_memory() > 2**20


def edit(path, **changes) -> None:
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))


@pytest.mark.parametrize(("changes", "words"), [
    ({"model_type": "bert"}, "'bert'"), ({"architectures": ["GPT2LMHeadModel"]}, "LLaMA family"), ({"hidden_size": "big"}, "'big'"),
    ({"num_hidden_layers": ...}, "num_hidden_layers"), ({"num_attention_heads": 0}, "cannot be used"), ({"head_dim": 7}, "even"),
    ({"rope_parameters": {"rope_type": "odd"}}, "'odd'"), ({"rope_parameters": 7}, "not an object"),
    ({"rope_parameters": {"rope_type": "linear", "factor": float("nan")}}, "factor"), ({"attention_bias": True}, "attention_bias"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"), ({"num_hidden_layers": 3}, "lacks"), ({"num_hidden_layers": 1}, "holds"),
    ({"intermediate_size": 64}, "shape"), ({"vocab_size": 200}, "268 tokens, its embedding only 200"),
    ({"num_hidden_layers": 10**9}, "from 1 to"),
])  # fmt: skip
def test_a_config_that_does_not_fit_is_one_sentence(tmp_path, changes, words):
    write_folder(tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_language_model(tmp_path, format="fp32")
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff" * 40, b"[1, 2]", (2**62).to_bytes(8, "little") + b"{}"])
def test_a_damaged_folder_is_one_sentence(tmp_path, name, content):
    write_folder(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_language_model(tmp_path, format="fp32")
    assert name in caught.value.message and caught.value.message.endswith(".") and "\n" not in caught.value.message


def test_a_cut_gguf_is_refused_at_once(gguf_path):
    gguf_path.write_bytes(gguf_path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        load_language_model(gguf_path)


def test_missing_tensors_and_paths_are_named(tmp_path):
    write_gguf(tmp_path / "x.gguf", drop=("blk.1.ffn_up.weight",))
    with pytest.raises(CheckpointError, match=r"blocks\.1\.gate_up\.up"):
        load_language_model(tmp_path / "x.gguf")
    with pytest.raises(CheckpointError, match=r"none\.gguf"):
        load_language_model(tmp_path / "none.gguf")


def test_whole_numbers_are_no_weights(tmp_path):
    write_folder(tmp_path)
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    state["model.norm.weight"] = torch.ones(64, dtype=torch.int8)
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="whole numbers"):
        load_language_model(tmp_path, format="fp32")


# --- the catalog ---


def test_the_catalog_loads_by_path_and_by_format(gguf_path, monkeypatch, tmp_path):
    key = f"language:{gguf_path}"
    assert catalog.available(key) and catalog.spec(key).bytes == gguf_path.stat().st_size
    language = catalog.load(key)
    assert language.held_bytes > 0 and isinstance(language.tokenizer, Tokenizer)
    assert catalog.load(f"{key}@fp32").format == "fp32" and catalog.load(f"{key}@bf16").format == "bf16"
    monkeypatch.setenv("GLASSBOX_MODELS", str(tmp_path / "shelf"))
    assert not catalog.available("smollm2")
    with pytest.raises(CheckpointError, match="SmolLM2") as caught:
        catalog.load("smollm2")
    assert "models fetch smollm2" in caught.value.hint
    with pytest.raises(CheckpointError, match="no model named"):
        catalog.spec("language:relative.gguf")
    with pytest.raises(CheckpointError, match="no model named"):
        catalog.spec("playworld/vae@fp32")


def test_the_zoo_counts_packed_weights(gguf_path):
    from app.worker.backend import TorchBackend

    language = load_language_model(gguf_path)
    assert TorchBackend(device="cpu").size(language) == language.held_bytes > sum(p.nbytes for p in language.model.norm_out.parameters())
