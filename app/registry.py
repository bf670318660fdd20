"""The panels of the program: one row each. A panel's module is imported when it is first shown."""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class PanelSpec:
    """A panel: where it stands in the side bar, and the class to load as "module:Class"."""

    id: str
    title: str
    family: str
    icon: str
    target: str
    tip: str = ""
    drops: tuple[str, ...] = ()
    """Endings of files that are brought here when they are dropped on a panel that has no use for them."""

    def load(self) -> type:
        """Import the module and return the class."""
        module, name = self.target.split(":")
        return getattr(importlib.import_module(module), name)


PANELS: tuple[PanelSpec, ...] = (
    PanelSpec(
        "image", "Image", "Diffusion", "image", "app.panels.image.panel:ImagePanel",
        "Prompt, edge map and pose: watch a picture form step by step",
        (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".json"),
    ),
    PanelSpec(
        "plane", "Plane", "Diffusion", "wind", "app.panels.plane.panel:PlanePanel",
        "Noise becomes data in two dimensions: diffusion, flow matching and normalizing flows side by side",
    ),
    PanelSpec(
        "tiles", "Tiles", "Diffusion", "gallery", "app.panels.tiles.panel:TilesPanel",
        "Glow and NICE on small pictures: samples, temperature, ways between pictures, filling in, layer by layer",
    ),
    PanelSpec(
        "chat", "Chat", "Language", "chat", "app.panels.chat.panel:ChatPanel",
        "Talk with a language model, and see every speculative round",
        (".gguf", ".safetensors"),
    ),
    PanelSpec(
        "attention", "Attention", "Language", "target", "app.panels.attention.panel:AttentionPanel",
        "What every head of every layer looks at, on texts and pictures",
    ),
    PanelSpec(
        "routing", "Routing", "Language", "branch", "app.panels.routing.panel:RoutingPanel",
        "Mixtures of experts: which expert each token visits, why, and what changes without it",
    ),
    PanelSpec(
        "attention_lab", "Lab", "Language", "sliders", "app.panels.attention_lab.panel:AttentionLabPanel",
        "One q, k, v under many attentions, FlashAttention tile by tile, and training side by side",
    ),
    PanelSpec(
        "rl", "RL", "Agents", "chart", "app.panels.rl.panel:RlPanel",
        "Train agents and watch them learn: living agent, curves, lamps, and every policy of the past",
    ),
    PanelSpec(
        "quadratic", "Descent", "Maths", "down", "app.panels.quadratic.panel:QuadraticPanel",
        "Minimising a quadratic: steepest descent, momentum, conjugate gradients and Newton on one landscape",
    ),
    PanelSpec(
        "derivatives", "Slopes", "Maths", "rotate", "app.panels.derivatives.panel:DerivativesPanel",
        "Partial and directional derivatives, gradient and tangent plane of a function you type",
    ),
)  # fmt: skip
