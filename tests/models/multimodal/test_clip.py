"""CLIP against transformers', layer by layer and whole with its loss, and what must hold without a reference."""

import math

import pytest
import torch

from models.multimodal.clip import (
    CLIP_CONFIGS,
    Block,
    Clip,
    ClipConfig,
    ClipText,
    ClipTextConfig,
    ClipVision,
    ClipVisionConfig,
    contrastive_loss,
    similarity,
)
from models.multimodal.keymaps import CLIP, CLIP_TEXT, CLIP_VISION
from tests.models.parity import LAYER, WHOLE, assert_close, assert_equal_gradients, copy_weights, fill, fill_alive, normal


def tiny(activation: str = "quick_gelu") -> ClipConfig:
    return ClipConfig(
        text=ClipTextConfig(
            vocab_size=40, max_len=12, dim=24, n_layers=2, n_heads=3, ffn_dim=48, activation=activation, eos_id=39
        ),
        vision=ClipVisionConfig(
            image_size=24, patch_size=8, dim=32, n_layers=2, n_heads=4, ffn_dim=64, activation=activation
        ),
        joint_dim=16,
    )


def their_configs(config: ClipConfig):
    transformers = pytest.importorskip("transformers")
    text, vision = config.text, config.vision
    shared = {"attn_implementation": "eager"}
    their_text = transformers.CLIPTextConfig(
        vocab_size=text.vocab_size, hidden_size=text.dim, intermediate_size=text.ffn_dim,
        num_hidden_layers=text.n_layers, num_attention_heads=text.n_heads, max_position_embeddings=text.max_len,
        hidden_act=text.activation, eos_token_id=text.eos_id, bos_token_id=text.vocab_size - 2, pad_token_id=1,
        **shared,
    )
    their_vision = transformers.CLIPVisionConfig(
        hidden_size=vision.dim, intermediate_size=vision.ffn_dim, num_hidden_layers=vision.n_layers,
        num_attention_heads=vision.n_heads, image_size=vision.image_size, patch_size=vision.patch_size,
        hidden_act=vision.activation, **shared,
    )
    return their_text, their_vision


def captions(config: ClipTextConfig, lengths=(3, 7, 11)) -> torch.Tensor:
    """Rows of start, words, end, padded with end as Stable Diffusion does."""
    ids = torch.full((len(lengths), config.max_len), config.eos_id)
    generator = torch.Generator().manual_seed(4)
    for row, length in zip(ids, lengths):
        row[0] = config.vocab_size - 2
        row[1:length] = torch.randint(0, config.vocab_size - 2, (length - 1,), generator=generator)
    return ids


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_block_equals_transformers(activation):
    modeling = pytest.importorskip("transformers.models.clip.modeling_clip")
    config = tiny(activation)
    theirs = fill(modeling.CLIPEncoderLayer(their_configs(config)[1]))
    ours = Block(32, 4, 64, activation)
    copy_weights(theirs, ours, CLIP_VISION, "encoder.layers.0.", "blocks.0.")
    x = normal(2, 5, 32)
    assert_close(ours(x, causal=False), theirs(x, attention_mask=None), LAYER)


def test_text_tower_equals_transformers_with_gradients():
    transformers = pytest.importorskip("transformers")
    config = tiny()
    theirs, ours = fill_alive(transformers.CLIPTextModel(their_configs(config)[0])), ClipText(config.text)
    copy_weights(theirs, ours, CLIP_TEXT)
    ids = captions(config.text)
    assert_equal_gradients(theirs, ours, lambda: theirs(ids).last_hidden_state, lambda: ours(ids), CLIP_TEXT)
    assert_close(ours.pooled(ours(ids), ids), theirs(ids).pooler_output, WHOLE)


def test_image_tower_equals_transformers_with_gradients():
    transformers = pytest.importorskip("transformers")
    config = tiny()
    theirs, ours = fill_alive(transformers.CLIPVisionModel(their_configs(config)[1])), ClipVision(config.vision)
    copy_weights(theirs, ours, CLIP_VISION)
    x = normal(2, 3, 24, 24)
    assert_close(ours(x), theirs(x).last_hidden_state, WHOLE)
    assert_equal_gradients(theirs, ours, lambda: theirs(x).pooler_output, lambda: ours.pooled(ours(x)), CLIP_VISION)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_whole_equals_transformers_with_loss_and_gradients(activation):
    transformers = pytest.importorskip("transformers")
    config = tiny(activation)
    text, vision = their_configs(config)
    theirs = fill_alive(
        transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
        )
    )
    ours = Clip(config)
    copy_weights(theirs, ours, CLIP)
    x, ids = normal(3, 3, 24, 24), captions(config.text)
    output = theirs(ids, x, return_loss=True)
    assert_close(ours.encode_image(x), output.image_embeds, WHOLE)
    assert_close(ours.encode_text(ids), output.text_embeds, WHOLE)
    assert_close(ours(x, ids), output.logits_per_image, WHOLE)
    assert abs(ours.loss(x, ids) - output.loss) < LAYER
    assert_equal_gradients(
        theirs, ours, lambda: theirs(ids, x, return_loss=True).loss[None], lambda: ours.loss(x, ids)[None], CLIP
    )


def test_sd15_text_tower_equals_transformers():
    """Their own initial weights, as a trained tower starts; outputs are of order 1 after the final norm."""
    transformers = pytest.importorskip("transformers")
    config = CLIP_CONFIGS["sd15"]
    torch.manual_seed(0)
    theirs = transformers.CLIPTextModel(their_configs(config)[0]).eval()
    with torch.device("meta"):
        ours = ClipText(config.text)
    copy_weights(theirs, ours, CLIP_TEXT)
    ids = captions(config.text, (2, 30, 76))
    with torch.no_grad():
        assert_close(ours(ids), theirs(ids).last_hidden_state, WHOLE)


def test_sd15_text_parameter_count():
    with torch.device("meta"):
        text = ClipText(CLIP_CONFIGS["sd15"].text)
    assert sum(p.numel() for p in text.parameters()) == 123_060_480


def test_files_with_and_without_the_tower_prefix_and_position_ids_load():
    config = tiny()
    ours, again = ClipText(config.text), ClipText(config.text)
    transformers = pytest.importorskip("transformers")
    theirs = fill(transformers.CLIPTextModel(their_configs(config)[0]))
    plain = {name.removeprefix("text_model."): tensor for name, tensor in theirs.state_dict().items()}

    class File(torch.nn.Module):
        def __init__(self, state):
            super().__init__()
            self.state = state

        def state_dict(self):
            return self.state

    copy_weights(File(plain), ours, CLIP_TEXT)
    old = {f"text_model.{name}": tensor for name, tensor in plain.items()}
    old["text_model.embeddings.position_ids"] = torch.arange(12)[None]
    copy_weights(File(old), again, CLIP_TEXT)
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), again.state_dict().values()))


def test_words_do_not_see_the_future():
    config = tiny()
    text = fill_alive(ClipText(config.text))
    ids = captions(config.text, (11,))
    other = ids.clone()
    other[0, 6] = (ids[0, 6] + 1) % 38
    before, after = text(ids)[0], text(other)[0]
    assert torch.equal(before[:6], after[:6])
    assert (before[6:] - after[6:]).abs().amax(dim=-1).min() > 1e-5


def test_caption_is_read_at_the_first_end_token():
    config = tiny()
    text, ids = ClipText(config.text), captions(config.text)
    hidden = torch.arange(12.0).expand(3, 12)[..., None] * torch.ones(24)
    assert text.pooled(hidden, ids)[:, 0].tolist() == [3.0, 7.0, 11.0]


def test_end_token_need_not_be_the_largest_id():
    config = ClipTextConfig(
        vocab_size=40, max_len=5, dim=24, n_layers=1, n_heads=3, ffn_dim=48, activation="gelu", eos_id=2
    )
    hidden = torch.arange(5.0)[None, :, None] * torch.ones(24)
    assert ClipText(config).pooled(hidden, torch.tensor([[1, 30, 31, 2, 2]]))[0, 0] == 3


def test_loss_of_equal_features_is_the_log_of_the_batch():
    features = torch.nn.functional.normalize(normal(1, 16), dim=-1).expand(7, 16)
    loss = contrastive_loss(similarity(features, features, torch.tensor(0.0)))
    assert loss.item() == pytest.approx(math.log(7), abs=1e-6)


def test_loss_does_not_depend_on_the_order_of_pairs():
    images, texts = (torch.nn.functional.normalize(normal(6, 16, seed=s), dim=-1) for s in (1, 2))
    scale, order = torch.tensor(2.0), torch.tensor([3, 0, 5, 1, 4, 2])
    loss = contrastive_loss(similarity(images, texts, scale))
    same = contrastive_loss(similarity(images[order], texts[order], scale))
    other = contrastive_loss(similarity(images[order], texts, scale))
    assert same.item() == pytest.approx(loss.item(), abs=1e-6)
    assert abs(other.item() - loss.item()) > 1e-3


def test_loss_treats_pictures_and_captions_alike():
    images, texts = (torch.nn.functional.normalize(normal(6, 16, seed=s), dim=-1) for s in (1, 2))
    there = contrastive_loss(similarity(images, texts, torch.tensor(2.0)))
    back = contrastive_loss(similarity(texts, images, torch.tensor(2.0)))
    assert there.item() == pytest.approx(back.item(), abs=1e-6)


def test_temperature_is_clamped_at_100():
    features = torch.nn.functional.normalize(normal(3, 16), dim=-1)
    logits = similarity(features, features, torch.tensor(20.0))
    assert logits.diagonal().tolist() == pytest.approx([100.0] * 3, abs=1e-3)


def test_a_few_steps_match_pairs():
    config = tiny()
    torch.manual_seed(0)
    clip = Clip(config)
    x, ids = normal(3, 3, 24, 24), captions(config.text)
    optimizer = torch.optim.AdamW(clip.parameters(), lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = clip.loss(x, ids)
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    assert clip(x, ids).argmax(dim=1).tolist() == [0, 1, 2]


def test_trains_under_bf16_autocast():
    config = tiny()
    clip = fill_alive(Clip(config))
    with torch.autocast("cpu", torch.bfloat16):
        loss = clip.loss(normal(3, 3, 24, 24), captions(config.text))
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in clip.parameters())


def test_vocabulary_can_be_changed():
    config = CLIP_CONFIGS["playworld"].with_vocabulary(300)
    assert (config.text.vocab_size, config.text.eos_id) == (300, 299)
    assert config.vision == CLIP_CONFIGS["playworld"].vision


def test_wrong_sizes_are_told():
    clip = Clip(tiny())
    with pytest.raises(ValueError, match="13 tokens.*12"):
        clip.text(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match="24 x 24 pixels, not 32 x 16"):
        clip.vision(torch.zeros(1, 3, 16, 32))
    with pytest.raises(ValueError, match="30.*7"):
        ClipVisionConfig(30, 7, 32, 1, 4, 64, "gelu")
    with pytest.raises(ValueError, match="relu"):
        Block(32, 4, 64, "relu")
