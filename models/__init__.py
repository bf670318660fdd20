"""The generative models, as plain torch modules and generators: no window, no threads, no app."""
