"""Jobs: frozen dataclasses that completely determine a run, and `knob`, which documents a field once.

The form in the window, the options of the command line, the range check and the tooltip all come from the
same `knob`. Two equal jobs give equal results (a seed of -1 asks for a random one).
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from dataclasses import MISSING, Field, dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

from app.protocol.errors import UserError

METADATA_KEY = "knob"
J = TypeVar("J", bound="Job")


@dataclass(frozen=True, kw_only=True)
class Knob:
    """How a field is shown, explained and checked."""

    lo: float | None = None
    hi: float | None = None
    step: float | None = None
    unit: str = ""
    title: str = ""
    help: str = ""
    live: bool = False
    """May change during a run."""
    widget: str = ""
    multiline: bool = False
    top: bool = False
    """Belongs to the few fields shown first."""
    advanced: bool = False
    """Hidden until asked for."""


def knob(default: Any = MISSING, *, factory: Any = MISSING, **words: Any) -> Any:
    """A dataclass field with a `Knob`: `steps: int = knob(20, lo=1, hi=150, help="…")`."""
    return field(default=default, default_factory=factory, metadata={METADATA_KEY: Knob(**words)})


@cache
def knobs(cls: type) -> dict[str, Knob]:
    """The knobs of a dataclass by field name, titles filled in; fields without one get a plain knob."""
    return {item.name: _titled(item) for item in dataclasses.fields(cls)}


def _titled(item: Field) -> Knob:
    own = item.metadata.get(METADATA_KEY, Knob())
    if own.title:
        return own
    return dataclasses.replace(own, title=item.name.replace("_", " ").capitalize())


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The resolved type hint of each field, in order."""
    hints = typing.get_type_hints(cls)
    return {item.name: hints[item.name] for item in dataclasses.fields(cls)}


def check_knobs(value: Any) -> None:
    """Check each field of a dataclass instance against its type and range; raise UserError with a sentence."""
    words = knobs(type(value))
    for name, hint in field_types(type(value)).items():
        _check(words[name], hint, getattr(value, name))


def _check(words: Knob, hint: Any, value: Any) -> None:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        arms = typing.get_args(hint)
        if value is None and type(None) in arms:
            return
        arms = [arm for arm in arms if arm is not type(None)]
        if len(arms) == 1:
            _check(words, arms[0], value)
        return
    if origin is Literal:
        _check_choice(words, typing.get_args(hint), value)
    elif origin is tuple:
        _check_tuple(words, typing.get_args(hint), value)
    elif hint in (int, float):
        _check_number(words, hint, value)
    elif isinstance(hint, type) and not isinstance(value, hint):
        raise UserError(f"{words.title} must be {_a(hint)}, not {_short(value)}.")


def _check_choice(words: Knob, choices: tuple[Any, ...], value: Any) -> None:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise UserError(f"{words.title} cannot be {_short(value)}.", hint=f"Choose one of: {', '.join(map(str, choices))}.")


def _check_tuple(words: Knob, arms: tuple[Any, ...], value: Any) -> None:
    if not isinstance(value, tuple):
        raise UserError(f"{words.title} must be a tuple, not {_short(value)}.")
    if len(arms) == 2 and arms[1] is Ellipsis:
        if arms[0] is int and set(map(type, value)) == {int}:
            value = min(value), max(value)  # of thousands of tokens these two tell as much as all
        arms = (arms[0],) * len(value)
    if len(arms) != len(value):
        raise UserError(f"{words.title} needs {len(arms)} values, but {len(value)} were given.")
    for arm, item in zip(arms, value, strict=True):
        _check(words, arm, item)


def _check_number(words: Knob, kind: type, value: Any) -> None:
    allowed = int if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise UserError(f"{words.title} must be {_a(kind)}, not {_short(value)}.")
    if not math.isfinite(value):
        raise UserError(f"{words.title} is not a finite number.", hint=_range_hint(words))
    if (words.lo is not None and value < words.lo) or (words.hi is not None and value > words.hi):
        raise UserError(f"{words.title} is {value}, which is out of range.", hint=_range_hint(words))


def _range_hint(words: Knob) -> str:
    unit = f" {words.unit}" if words.unit else ""
    if words.lo is not None and words.hi is not None:
        return f"Choose a value from {words.lo} to {words.hi}{unit}."
    if words.lo is not None:
        return f"Choose a value of at least {words.lo}{unit}."
    if words.hi is not None:
        return f"Choose a value of at most {words.hi}{unit}."
    return "Choose a finite number."


def _a(kind: type) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(kind, f"of the kind {kind.__name__}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def kebab(class_name: str) -> str:
    """Txt2Img -> txt2img, TrainVae -> train-vae, EvaluateTxt2Img -> evaluate-txt2img."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name).lower()


@dataclass(frozen=True, kw_only=True)
class Job:
    """Base of all jobs. A job class may define `cli_field(name, text)` to read a field from the command line."""

    name: ClassVar[str] = "job"
    grad: ClassVar[bool] = False
    """The worker enables gradients for this job."""
    interactive: ClassVar[bool] = True
    """Goes before long jobs such as training."""

    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto", title="Device", advanced=True, help="Where to compute; auto takes the best there is."
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = kebab(cls.__name__)

    def __post_init__(self) -> None:
        check_knobs(self)


def live_fields(cls: type[Job]) -> tuple[str, ...]:
    """Names of the fields that may change during a run."""
    return tuple(name for name, words in knobs(cls).items() if words.live)


def tuned(job: J, newer: J) -> J:
    """The job with the live fields of a newer one; UserError if they do not fit together."""
    if type(job) is not type(newer):
        raise TypeError(f"cannot tune {type(job).__name__} with {type(newer).__name__}")
    return dataclasses.replace(job, **{name: getattr(newer, name) for name in live_fields(type(job))})


def job_to_dict(job: Job) -> dict[str, Any]:
    """All fields of a job as JSON-able values; see `app.protocol.encoding`."""
    from app.protocol import encoding

    return encoding.job_to_dict(job)


def job_from_dict(cls: type[J], values: dict[str, Any]) -> tuple[J, list[str]]:
    """The job and a list of warnings about ignored keys; see `app.protocol.encoding`."""
    from app.protocol import encoding

    return encoding.job_from_dict(cls, values)
