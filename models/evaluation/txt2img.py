"""Figures for text-to-picture models: does the picture show what the words, the edges and the skeleton asked for?

PSNR in dB of 8-bit pictures. Edges: precision and recall of edge pixels within a tolerance in pixels, after the boundary benchmark of
Martin et al. (2004), with every pixel matched to its nearest. Joints: PCK@a (Yang and Ramanan, 2013), the share of joints within
a times the larger side of the person's own box. Facts: the share of a caption's statements that a classifier finds in the picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise ratio of two uint8 pictures of equal shape, in dB."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


@dataclass(frozen=True)
class EdgeScores:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def edge_scores(found: np.ndarray, wanted: np.ndarray, tolerance: float = 2.0) -> EdgeScores:
    """How well the edge map `found` agrees with `wanted`, both uint8 (H, W), within `tolerance` pixels.

    An empty map has precision 1 (it claims nothing) and, if nothing was wanted, recall 1.
    """
    near_wanted, near_found = _distance(wanted) <= tolerance, _distance(found) <= tolerance
    claimed, asked = found > 0, wanted > 0
    precision = float(near_wanted[claimed].mean()) if claimed.any() else 1.0
    recall = float(near_found[asked].mean()) if asked.any() else 1.0
    return EdgeScores(precision, recall)


def _distance(edges: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest edge pixel; infinite where there is none."""
    if not edges.any():
        return np.full(edges.shape, np.inf)
    return cv2.distanceTransform((edges == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def correct_joints(found: np.ndarray, wanted: np.ndarray, share: float = 0.1) -> tuple[int, int]:
    """Joints (P, 18, 3) of `found` within `share` of the person's size of `wanted`: (how many, of how many visible).

    People are compared in order; both lists run from left to right.
    """
    right = total = 0
    for person, truth in zip(found, wanted, strict=False):
        seen = truth[:, 2] > 0
        size = np.ptp(truth[seen, :2], axis=0).max()
        distance = np.linalg.norm(person[seen, :2] - truth[seen, :2], axis=1)
        right += int((distance <= share * size).sum())
        total += int(seen.sum())
    return right, total


def stated_facts(answers: dict[str, Tensor], facts: Iterable, row: int) -> list[bool]:
    """For each stated fact whether the classifier's answers for picture `row` confirm it.

    What is said about a thing or a person counts only if that thing, or that many people, are seen at all.
    """
    said = {name: int(logits[row].argmax()) for name, logits in answers.items()}
    return [said[fact.head] == fact.index and _there(fact.subject, said) for fact in facts]


def _there(subject: str, said: dict[str, int]) -> bool:
    if subject.startswith("person"):
        return said["people.count"] > int(subject.removeprefix("person"))
    return said.get(f"{subject}.present", 1) == 1
