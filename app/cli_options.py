"""Command line options made from a job's fields: `--cfg-scale 5 --control kind=canny,image=map.png`.

Every field is an option in kebab-case; a tuple field may be given several times, also in the singular. A job
class may define `cli_field(name, text)`, which returns the value of one occurrence or NotImplemented.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from app.protocol.errors import UserError
from app.protocol.job import Job, Knob, field_types, knobs
from app.protocol.payloads import Image


def option_names(cls: type[Job]) -> dict[str, str]:
    """Option -> field name, for instance `--control` -> `controls`."""
    names = {}
    for name, hint in field_types(cls).items():
        option = "--" + name.replace("_", "-")
        names[option] = name
        if typing.get_origin(hint) is tuple and option.endswith("s"):
            names[option.removesuffix("s")] = name
        if hint is bool:
            names["--no-" + name.replace("_", "-")] = name
    return names


def make_job(cls: type[Job], tokens: Sequence[str]) -> Job:
    """The job that the options describe; UserError with a sentence for anything that does not fit."""
    options, hints = option_names(cls), field_types(cls)
    values: dict[str, Any] = {}
    waiting = list(tokens)
    while waiting:
        token = waiting.pop(0)
        option, equals, text = token.partition("=")
        if option not in options:
            raise _unknown(cls, token, options)
        name = options[option]
        if hints[name] is bool and not equals:
            values[name] = not option.startswith("--no-") or name.startswith("no_")
            continue
        if not equals:
            if not waiting:
                raise UserError(f"The option {option} needs a value.", hint=describe(hints[name], knobs(cls)[name]))
            text = waiting.pop(0)
        value = _convert(cls, name, hints[name], option, text)
        if _any_length(hints[name]):
            value = (*values.get(name, ()), *(value if isinstance(value, tuple) else (value,)))
        values[name] = value
    return cls(**values)


def _any_length(hint: Any) -> bool:
    arms = typing.get_args(hint)
    return typing.get_origin(hint) is tuple and len(arms) == 2 and arms[1] is Ellipsis


def _unknown(cls: type[Job], token: str, options: dict[str, str]) -> UserError:
    if not token.startswith("--"):
        return UserError(f"{token[:60]!r} is not an option.", hint="Options begin with two dashes; quote texts with spaces.")
    close = difflib.get_close_matches(token.partition("=")[0], options, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"`python main.py run {cls.name} --help` lists the options."
    return UserError(f"{cls.name} has no option {token.partition('=')[0][:60]}.", hint=hint)


def _convert(cls: type[Job], name: str, hint: Any, option: str, text: str) -> Any:
    hook = getattr(cls, "cli_field", None)
    value = hook(name, text) if hook is not None else NotImplemented
    return value if value is not NotImplemented else _read(hint, option, text)


def _read(hint: Any, option: str, text: str) -> Any:
    """Text to a value of the hinted type; ranges are checked by the job itself."""
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none":
            return None
        return _read(next(arm for arm in arms if arm is not type(None)), option, text)
    if origin is Literal:
        return _choose(arms, option, text)
    if origin is tuple:
        return _read_tuple(arms, option, text)
    if hint is bool:
        return _choose_word({"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}, option, text)
    if hint is Image:
        from app.runners.pictures import read_picture_file  # here, since it brings the picture libraries along

        return read_picture_file(text).image
    if hint in (int, float):
        return _number(hint, option, text)
    if hint is str:
        return text
    raise UserError(f"{option} cannot be given on the command line.")


def _number(kind: type, option: str, text: str) -> int | float:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UserError(f"{option} must be {what}, not {text[:60]!r}.") from None


def _choose(choices: tuple[Any, ...], option: str, text: str) -> Any:
    return _choose_word({str(choice): choice for choice in choices}, option, text)


def _choose_word(words: dict[str, Any], option: str, text: str) -> Any:
    if text not in words:
        raise UserError(f"{option} cannot be {text[:60]!r}.", hint=f"Choose one of: {', '.join(words)}.")
    return words[text]


def _read_tuple(arms: tuple[Any, ...], option: str, text: str) -> Any:
    """Numbers separated by commas, one item of another tuple of any length, or all items of one of fixed length."""
    parts = text.split(",")
    if len(arms) == 2 and arms[1] is Ellipsis:
        if arms[0] not in (int, float):
            return _read(arms[0], option, text)
        arms = (arms[0],) * len(parts)
    if len(parts) != len(arms):
        raise UserError(f"{option} needs {len(arms)} values separated by commas, not {text[:60]!r}.")
    return tuple(_read(arm, option, part.strip()) for arm, part in zip(arms, parts, strict=True))


def describe(hint: Any, words: Knob) -> str:
    """Kind and range of a field in a few words."""
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    kind = {int: "whole number", float: "number", str: "text", bool: "on or off"}.get(hint, "")
    if not kind:
        kind = "may be repeated" if typing.get_origin(hint) is tuple else "file"
    low, high = words.lo, words.hi
    span = f" {low} to {high}" if low is not None and high is not None else ""
    return kind + span + (f" {words.unit}" if words.unit else "")
