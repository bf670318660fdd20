"""Playworld: a procedural picture world with exact captions, facts, joints, edges, boxes and masks.

`sample_scene(seed, split)` chooses what a picture shows; every other function here is a pure function of that scene.
Read `scene.py` first, then `render.py`, `caption.py` and `splits.py`.
"""
