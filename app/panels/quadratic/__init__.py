"""Minimising a quadratic: six descents on one landscape, step by step, with what theory promises beside what happens."""
