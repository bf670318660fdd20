"""Tests of Glassbox; helpers are imported as `tests.<folder>.<module>`."""
