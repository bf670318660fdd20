"""The image panel: prompt, drawn controls, and every step of the denoising they steer."""
