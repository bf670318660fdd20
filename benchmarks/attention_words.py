"""Does CLIP's word-to-patch similarity find things? On Playworld scenes whose things are known: how often a patch on the named thing beats
one beside it (the area under the ROC curve; 0.5 is chance), for the patches' own values in the last layer (what the Attention panel shows)
and for their last states.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
import report
import torch
from torch.nn.functional import normalize

from models import catalog
from models.playworld.caption import caption
from models.playworld.render import boxes, render
from models.playworld.scene import Scene, sample_scene
from models.playworld.words import encode, split_words

LEAST_COVERED, LEAST_ON, LEAST_BESIDE = 0.3, 3, 10


def covered(box: tuple[int, int, int, int], side: int, patch: int) -> np.ndarray:
    """Whether each patch lies on a box by a third or so, (side, side)."""
    x0, y0, x1, y1 = box
    at = np.arange(side) * patch
    across = np.clip(np.minimum(x1, at + patch) - np.maximum(x0, at), 0, None)
    down = np.clip(np.minimum(y1, at + patch) - np.maximum(y0, at), 0, None)
    return down[:, None] * across[None] > LEAST_COVERED * patch**2


@torch.no_grad()
def similarities(clip: torch.nn.Module, scene: Scene, text: str) -> dict[str, np.ndarray]:
    """Cosines (T, P) by what stands for a patch."""
    vision = clip.vision
    pixels = torch.from_numpy(render(scene, vision.config.image_size).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    words = normalize(clip.text_projection(clip.text(torch.tensor([encode(text)]))[0]), dim=-1)
    ways = {"own values in the last layer": vision.patch_values(pixels)[0], "last states": vision.norm_out(vision(pixels)[0, 1:])}
    return {name: (words @ normalize(clip.vision_projection(states), dim=-1).T).numpy() for name, states in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=150)
    options = parser.parse_args()
    clip = catalog.load("playworld/clip", torch.device("cpu"), torch.float32)
    side, patch = clip.vision.config.image_size // clip.vision.config.patch_size, clip.vision.config.patch_size
    shares: dict[str, list[float]] = {}
    for seed in range(options.scenes):
        scene = sample_scene(seed, "held-out")
        text, _ = caption(scene, random.Random(seed))
        found = similarities(clip, scene, text)
        for name, *box in boxes(scene, side * patch):
            on = covered(tuple(box), side, patch).ravel()
            if name not in split_words(text) or on.sum() < LEAST_ON or (~on).sum() < LEAST_BESIDE:
                continue
            for way, cosines in found.items():
                row = cosines[1 + split_words(text).index(name)]
                shares.setdefault(way, []).append(float((row[on][:, None] > row[~on][None]).mean()))
    report.heading(f"Word to patch, Playworld CLIP, {options.scenes} held-out scenes", torch.get_num_threads())
    for way, values in shares.items():
        print(f"{way:<30} mean {np.mean(values):.3f}, standard error {np.std(values) / len(values) ** 0.5:.3f} (n {len(values)} words)")


if __name__ == "__main__":
    main()
