"""The edge map of a picture: OpenCV's Canny, as the canny ControlNets use it."""

import cv2
import numpy as np


def edges(image: np.ndarray, low: float = 100, high: float = 200) -> np.ndarray:
    """White lines on black, uint8 (H, W), of a uint8 picture (H, W, 3): Canny on its grey values."""
    return cv2.Canny(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), low, high)
