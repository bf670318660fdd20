"""Normalizing flows: invertible networks with an exact likelihood, on the plane and on small pictures.

Reading order: `chain.py` (what a flow is), `coupling.py` (RealNVP, Glow), `nice.py`, `cnf.py`; then `tiles.py` (pictures: bits per
dimension, samples, inpainting) and `training.py`.
"""
