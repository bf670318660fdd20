"""The attention lab: one q, k, v under many attentions, FlashAttention tile by tile, why scores are scaled, and training side by side."""
