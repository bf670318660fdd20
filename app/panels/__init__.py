"""Panels: one folder a family, one file a system; each is loaded on its first show (`app.registry`)."""
