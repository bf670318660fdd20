"""The worker: one background thread that owns the device and steps the generators of all runs in turn.

Free of Qt and of any knowledge of a model family. Read `loop.py` first, then `context.py`, `zoo.py`.
"""
