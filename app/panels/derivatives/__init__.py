"""Partial and directional derivatives of a typed function: contours, surface, slice, turn, and the secant that becomes a tangent."""
