"""Diffusion models: the Stable Diffusion networks, noise schedules, samplers and guidance."""
