"""Models of pictures and words together: CLIP first."""
