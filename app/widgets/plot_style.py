"""How plots of pyqtgraph look: ground, axes with names, few ticks in small type, a faint grid."""

from __future__ import annotations

import pyqtgraph as pg

from app import theme


def style_axes(plot: pg.PlotWidget, words: tuple[str, str], *, named: bool = True) -> None:
    """Give a plot the colours of the theme in use and its axes their names (below, left)."""
    tokens = theme.tokens()
    plot.setBackground(tokens.surface)
    for side, name in zip(("bottom", "left"), words, strict=True):
        axis = plot.getAxis(side)
        axis.setPen(pg.mkPen(tokens.line))
        axis.setTextPen(pg.mkPen(tokens.muted))
        axis.setStyle(tickFont=theme.font(theme.LEAST), tickLength=-4, maxTickLevel=0)
        if named:
            axis.setLabel(name, color=tokens.muted, **{"font-size": f"{theme.SMALL}px"})
        axis.setSIPrefixEnableRanges(())  # pyqtgraph goes on scaling small numbers by 1000 if it is only told to stop
        axis.enableAutoSIPrefix(False)
    plot.showGrid(x=True, y=True, alpha=0.12)
