"""Normalizing flows on pictures of 16 pixels: Glow and NICE learning, drawing, crossing over, filling in, and seen layer by layer."""
