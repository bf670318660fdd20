"""Reusable views: they know payloads and Qt, never jobs, models or torch."""
