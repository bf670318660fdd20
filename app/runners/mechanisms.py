"""Mechanisms of the attention lab by name: "window:width=64,sinks=4" as the table of attentions knows it."""

from __future__ import annotations

from app.jobs.attention_lab import read
from app.protocol.attention_lab import Settings, Value
from app.protocol.errors import UserError
from models.attention.table import Kind, Knob, kind


def choices(mechanisms: tuple[str, ...]) -> dict[str, tuple[str, dict[str, Value]]]:
    """Written mechanisms as {as written: (name, settings)}, checked against the table; a name may come twice with other settings."""
    if not mechanisms:
        raise UserError("No mechanism is chosen.", hint="Choose at least one.")
    return {words: _choice(words) for words in mechanisms}


def _choice(words: str) -> tuple[str, dict[str, Value]]:
    name, given = read(words)
    entry = kind(name)
    knobs = {knob.name: knob for knob in entry.knobs}
    settings = {knob: _value(entry, knobs[knob], text) if knob in knobs else text for knob, text in given.items()}
    entry.settings(settings)  # says what does not exist or is out of range
    return name, settings


def _value(entry: Kind, knob: Knob, text: str) -> Value:
    if isinstance(knob.default, bool):
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in known:
            raise UserError(f"{entry.title}: {knob.name} is true or false, not {text[:40]}.")
        return known[text.lower()]
    try:
        return type(knob.default)(text)
    except ValueError:
        raise UserError(f"{entry.title}: {knob.name} is a number, not {text[:40]}.") from None


def as_settings(settings: dict[str, Value]) -> Settings:
    """Knobs for the window."""
    return tuple(settings.items())
