"""The A1111 `parameters` text: the common tongue in which pictures carry their settings.

Three parts by lines: the prompt (possibly several lines), `Negative prompt: ...` (left out when empty,
possibly several lines), and one last line of `Key: value` pairs joined by ", ". A value that holds a comma,
a newline or a colon is written as a JSON string; a key equal to its value stands alone; a control is one
quoted value under `ControlNet 0`, `ControlNet 1`, ... Standard library only; knows no job.

Limits of the format itself: outer white space is lost, and a prompt line that begins with
"Negative prompt:" cannot be told from the negative prompt. Our own chunk has neither limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Longer texts and lines are nobody's settings; refusing them keeps hostile files cheap.
MAX_TEXT = 1_000_000
MAX_LAST_LINE = 65_536
_NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*(\w[\w \-/]{1,80}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"^(\d{1,6})x(\d{1,6})$")
_SCHEDULE_WORDS = ("Karras", "Exponential", "Polyexponential", "SGM Uniform")
_OLD_CONTROL = re.compile(r"^ControlNet(?: (\d+))? (\w[\w \-/]*)$")

#: The fields of a control in the order sd-webui-controlnet writes them.
CONTROL_FIELDS = (
    "Module",
    "Model",
    "Weight",
    "Resize Mode",
    "Processor Res",
    "Threshold A",
    "Threshold B",
    "Guidance Start",
    "Guidance End",
    "Pixel Perfect",
    "Control Mode",
)
_CONTROL_ALIASES = {"preprocessor": "Module", "enabled": "Enabled", **{name.lower(): name for name in CONTROL_FIELDS}}


class InfotextError(ValueError):
    """The text is too long to be somebody's settings; the message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """Settings as text pairs: `fields` in order, `controls` as one dict of CONTROL_FIELDS a control."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    controls: tuple[dict[str, str], ...] = field(default=())

    def get(self, key: str, default: str = "") -> str:
        """The value of a field; the last one wins, as in every reader."""
        return dict(self.fields).get(key, default)


def quote(value: object) -> str:
    """The value as it stands after `Key: `."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',\n:"') or not text else text


def unquote(text: str) -> str:
    """Undo `quote`; text that is no JSON string is returned as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def write(info: Infotext) -> str:
    """The `parameters` text. `Version` goes last, behind the controls, where A1111 has it."""
    lines = [info.prompt.strip()] if info.prompt.strip() else [""]
    if info.negative_prompt.strip():
        lines.append(f"{_NEGATIVE} {info.negative_prompt.strip()}")
    tail = ("RNG", "Version")
    pairs = [pair for pair in info.fields if pair[0] not in tail]
    pairs += [(f"ControlNet {n}", _write_control(control)) for n, control in enumerate(info.controls)]
    pairs += [pair for pair in info.fields if pair[0] in tail]
    lines.append(", ".join(key if key == value else f"{key}: {quote(value)}" for key, value in pairs))
    return "\n".join(lines)


def _write_control(control: dict[str, str]) -> str:
    """One control as `Module: canny, ...`; a field may hold neither comma nor colon."""
    clean = {key: re.sub(r"[,:\s]+", " ", str(control[key])).strip() for key in CONTROL_FIELDS if key in control}
    return ", ".join(f"{key}: {value}" for key, value in clean.items())


def read(text: str) -> Infotext:
    """Parse `parameters` text, old or new. Raises `InfotextError` for texts beyond reason."""
    if len(text) > MAX_TEXT:
        raise InfotextError(f"The settings text has {len(text):,} characters; {MAX_TEXT:,} is the most that is read.")
    lines = text.replace("\r\n", "\n").strip("\n ").split("\n")
    last = lines[-1].strip()
    pairs = _PAIR.findall(last) if len(last) <= MAX_LAST_LINE else []
    if len(pairs) >= 3:
        lines = lines[:-1]
    else:
        pairs = []
    prompt, negative = _split_prompts(lines)
    fields, controls = _sort_pairs((key.strip(), unquote(value.strip())) for key, value in pairs)
    return Infotext(prompt=prompt, negative_prompt=negative, fields=fields, controls=controls)


def _split_prompts(lines: list[str]) -> tuple[str, str]:
    """Prompt and negative prompt; everything from the first `Negative prompt:` on belongs to the latter."""
    for n, line in enumerate(lines):
        if line.strip().startswith(_NEGATIVE):
            rest = [line.strip()[len(_NEGATIVE) :], *lines[n + 1 :]]
            return "\n".join(lines[:n]).strip(), "\n".join(rest).strip()
    return "\n".join(lines).strip(), ""


def _sort_pairs(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], tuple[dict[str, str], ...]]:
    """Part the control pairs (new: one quoted value; old: one pair a field) from the others."""
    fields: list[tuple[str, str]] = []
    controls: dict[int, dict[str, str]] = {}
    for key, value in pairs:
        if re.fullmatch(r"ControlNet(?: \d{1,3})?", key):
            controls.setdefault(_number(key), {}).update(read_control(value))
        elif old := _OLD_CONTROL.match(key):
            name = _CONTROL_ALIASES.get(old[2].lower())
            if name:
                controls.setdefault(int((old[1] or "0")[:3]), {})[name] = value
        else:
            fields.append((key, value))
    return tuple(fields), tuple(controls[n] for n in sorted(controls))


def _number(key: str) -> int:
    return int(key.split()[1]) if " " in key else 0


def read_control(text: str) -> dict[str, str]:
    """The fields of one `ControlNet N` value; reads the older `starting/ending: (0, 1)` form as well."""
    found: dict[str, str] = {}
    for key, value in re.findall(r"\s*([A-Za-z][\w /]{0,40}):\s*(\([^)]{0,200}\)|[^,]*)(?:,|$)", text):
        key, value = key.strip().lower(), value.strip()
        inner = [part.strip() for part in value.strip("()").split(",")]
        if key == "starting/ending" and len(inner) == 2:
            found["Guidance Start"], found["Guidance End"] = inner
        elif key == "preprocessor params" and len(inner) == 3:
            found["Processor Res"], found["Threshold A"], found["Threshold B"] = inner
        elif name := _CONTROL_ALIASES.get(key):
            found[name] = value
    return found


def split_sampler(name: str, schedule: str = "") -> tuple[str, str]:
    """Part a fused name: "DPM++ 2M Karras" is the sampler "DPM++ 2M" on the schedule "Karras"."""
    name = name.strip()
    for word in _SCHEDULE_WORDS:
        if name.lower().endswith(" " + word.lower()):
            return name[: -len(word)].strip(), schedule or word
    return name, schedule


def read_size(text: str) -> tuple[int, int] | None:
    """Width and height from "512x768", or None."""
    match = _SIZE.match(text.strip())
    return (int(match[1]), int(match[2])) if match else None
