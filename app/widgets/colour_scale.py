"""Numbers as colours: viridis from 0 for magnitudes, a diverging map about 0 for signed values, linear or logarithmic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from app import theme

DECADES = 4
"""A logarithmic scale runs over so many powers of ten below its top; what is smaller has the lowest colour."""


@dataclass(frozen=True)
class ColourScale:
    """From 0 (or -top, if signed) to `top`; a linear scale of one sign may begin at another `bottom`."""

    top: float = 1.0
    log: bool = False
    signed: bool = False
    bottom: float = 0.0

    @classmethod
    def spanning(cls, values: np.ndarray, *, signed: bool = False) -> ColourScale:
        """From the least to the largest finite value; if `signed`, about 0."""
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        if signed:
            return cls(max(abs(low), abs(high)) or 1.0, signed=True)
        return cls(high if high > low else low + (abs(low) * 1e-3 or 1.0), bottom=low)

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Place on the scale, 0 to 1 (nan stays nan); a signed scale has 0 at 0.5."""
        if self.bottom:
            return np.clip((values - self.bottom) / (self.top - self.bottom), 0, 1)
        share = np.abs(values) / (self.top or 1.0)
        if self.log:
            with np.errstate(divide="ignore"):
                share = 1 + np.log10(share) / DECADES
        share = np.clip(share, 0, 1)
        return 0.5 + np.sign(values) * share / 2 if self.signed else share

    def picture(self, values: np.ndarray, hidden: np.ndarray | None = None) -> QImage:
        """float (H, W) -> a picture of H x W pixels; nan and `hidden` cells stay transparent."""
        clear = np.isnan(values) if hidden is None else hidden | np.isnan(values)
        levels = np.nan_to_num(self.shares(values) * 255).astype(np.uint8)
        pixels = colours(self.signed, theme.tokens().name)[levels]
        pixels[clear] = 0
        return _image(pixels)

    def ends(self) -> tuple[str, str]:
        """The numbers at both ends."""
        if self.signed:  # both ends stand under one short bar
            top = f"{self.top:.2g}" if self.top < 10 else figure(self.top)
            return f"−{top}", top
        least = f"≤{self.top / 10**DECADES:.0e}".replace("e-0", "e-")
        return least if self.log else figure(self.bottom), figure(self.top)

    def words(self, what: str = "colours") -> str:
        """The scale in words: for captions."""
        low, high = self.ends()
        return f"{what} {low} to {high}, {'logarithmic' if self.log else 'linear'}"

    def paint_bar(self, painter: QPainter, place: QRectF) -> None:
        """The colours from low to high."""
        painter.drawImage(place, _image(colours(self.signed, theme.tokens().name)[None, :].copy()))


@cache
def colours(signed: bool, _theme: str) -> np.ndarray:
    """256 opaque colours as 0xAARRGGBB, uint32 (256,)."""
    table = theme.lookup_table("diverging" if signed else "viridis").astype(np.uint32)
    return (0xFF << 24) | (table[:, 0] << 16) | (table[:, 1] << 8) | table[:, 2]


def figure(value: float) -> str:
    """A weight, three figures; large ones in full, with a true minus."""
    if value == 0:
        return "0"
    size = abs(value)
    shape = ".3f" if 0.001 <= size < 10 else ".3g" if 10 <= size < 1000 else ",.0f" if 1000 <= size < 1e6 else ".1e"
    text = f"{value:{shape}}"
    return text.replace("-", "−") if value < 0 else text


def _image(pixels: np.ndarray) -> QImage:
    height, width = pixels.shape
    pixels = np.ascontiguousarray(pixels, np.uint32)
    return QImage(pixels.data, width, height, width * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()
