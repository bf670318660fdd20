"""Training of the built-in CLIP: what the text tower must learn to read, and what stays as it is while the pictures learn."""

import random
from dataclasses import replace

import numpy as np
import torch

from models.fitting import FitConfig
from models.multimodal.clip import CLIP_CONFIGS, Clip, ClipConfig
from models.multimodal.clip_training import Reader, reading_loss, stated, swap_word, train_clip, train_words
from models.playworld.caption import caption
from models.playworld.labels import LABELS, Fact
from models.playworld.scene import sample_scene
from models.playworld.words import VOCAB_SIZE, encode


class Scenes:
    """A bank of scenes whose pictures are plain noise: what matters here are the captions."""

    def scene(self, row):
        return sample_scene(int(row))

    def rows(self, step, batch, seed):
        return np.arange(step * batch, (step + 1) * batch) % 64

    def images(self, rows):
        return np.random.default_rng(0).integers(0, 255, (len(rows), 128, 128, 3), dtype=np.uint8)


def small_clip() -> Clip:
    torch.manual_seed(0)
    config = CLIP_CONFIGS["playworld"].with_vocabulary(VOCAB_SIZE)
    text = replace(config.text, dim=48, n_layers=2, n_heads=2, ffn_dim=96)
    vision = replace(config.vision, dim=32, n_layers=1, n_heads=2, ffn_dim=64, patch_size=32)
    return Clip(ClipConfig(text=text, vision=vision, joint_dim=16))


def test_stated_names_the_class_of_every_question():
    said = dict(zip(LABELS, stated((Fact("sky", "night"), Fact("house", "present"), Fact("house", "colour", "red"))), strict=True))
    assert LABELS["sky"][said["sky"] - 1] == "night"
    assert LABELS["house.present"][said["house.present"] - 1] == "yes"
    assert LABELS["house.colour"][said["house.colour"] - 1] == "red"
    assert sum(value > 0 for value in said.values()) == 3


def test_the_reading_loss_is_that_of_its_definition():
    reader = Reader(small_clip().text)
    told = [caption(sample_scene(seed), random.Random(seed)) for seed in range(6)]
    ids, wanted = torch.tensor([encode(text) for text, _ in told]), torch.tensor([stated(facts) for _, facts in told])
    loss, metrics = reading_loss(reader, ids, wanted)
    by_hand = 0.0
    for logits in reader(ids):
        costs = [[-float(x[row].detach().log_softmax(0)[wanted[row, k]]) for k, x in enumerate(logits)] for row in range(6)]
        flat, told_flat = np.array(costs), wanted.numpy() > 0
        by_hand += flat[told_flat].mean() + flat[~told_flat].mean()
    assert abs(float(loss.detach()) - by_hand) < 1e-4
    assert set(metrics) == {"end", "mean"} and all(0 <= value <= 1 for value in metrics.values())


def test_reading_is_learned():
    reader = Reader(small_clip().text)
    config = FitConfig(steps=120, lr=4e-3, warmup=10, bf16=False)
    steps = list(train_words(reader, Scenes(), 16, config))
    late = steps[-5:]
    assert np.mean([step.metrics["end"] for step in late]) > 0.6 > 0.3 > np.mean([step.metrics["end"] for step in steps[:3]])


def test_the_text_tower_is_locked_while_the_picture_tower_learns():
    clip = small_clip()
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    list(train_clip(clip, Scenes(), 4, FitConfig(steps=2, lr=1e-3, warmup=1, bf16=False)))
    moved = {name for name, value in clip.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("text.") for name in moved)
    assert {"text_projection.weight", "vision_projection.weight", "logit_scale", "vision.class_token"} <= moved


def test_a_wrong_caption_differs_by_one_word():
    text = "a red house on the left, day sky, grass"
    for seed in range(20):
        wrong = swap_word(text, random.Random(seed))
        assert sum(a != b for a, b in zip(text.split(), wrong.split(), strict=True)) == 1
