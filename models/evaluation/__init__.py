"""Measuring what the models do, with judges of their own."""
