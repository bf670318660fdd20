"""Recipes inside PNG files: our own chunk with everything, and the A1111 text everybody else can read.

A picture we write carries two texts. `parameters` is the A1111 line (see `app.protocol.infotext`).
`glassbox` is the whole job as JSON, control maps (PNG, base64) and poses included, so that dropping the
file on the window restores the run to the last pixel. Reading trusts nothing: chunks are walked by hand
with bounds on size and decompression, and whatever is wrong comes back as one sentence.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass, field

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from app.jobs.diffusion import (
    AUTOMATIC_SCHEDULE,
    CONTROL_MODE_TITLES,
    MAX_SEED,
    RESIZE_MODE_TITLES,
    SAMPLER_TITLES,
    SCHEDULE_TITLES,
    Control,
    Txt2Img,
)
from app.protocol import infotext
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.payloads import Image
from app.protocol.sizes import size_words

SIGNATURE = b"\x89PNG\r\n\x1a\n"
OUR_KEY = "glassbox"
A1111_KEY = "parameters"
VERSION = "glassbox 0.1"
FORMAT = 1
CUT_OFF = "The file is cut off before its end."
MAX_INFLATED = 16 * 2**20
MAX_TEXT_BYTES = 96 * 2**20
#: Schedule types in A1111's words; ours and theirs differ for the spacing of SD 1.5 itself.
_A1111_SCHEDULES = SCHEDULE_TITLES | {"ddpm": "DDIM"}
_READ_SCHEDULES = {title.lower(): key for key, title in _A1111_SCHEDULES.items()} | {
    "ddpm": "ddpm",
    "normal": "linspace",
    "simple": "sgm_uniform",
}
#: Where the job lives is not part of how the picture was made.
_NOT_IN_RECIPE = ("gallery", "device")
_FOREIGN = {
    "workflow": ("comfyui", "ComfyUI"),
    "prompt": ("comfyui", "ComfyUI"),
    "invokeai_metadata": ("invokeai", "InvokeAI"),
    "sd-metadata": ("invokeai", "InvokeAI"),
    "fooocus_scheme": ("fooocus", "Fooocus"),
}


@dataclass(frozen=True, kw_only=True)
class PngTexts:
    """The text chunks of a PNG by keyword, and a sentence for each that could not be read."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a picture says about its making: `source`, one sentence, and the job where there is one."""

    source: str
    sentence: str
    job: Txt2Img | None = None
    notes: tuple[str, ...] = ()


# --- writing -------------------------------------------------------------------------------------------


def png_bytes(image: Image, job: Txt2Img | None = None) -> bytes:
    """The picture as PNG; with a job, both recipe texts are inside. Pixels are stored losslessly."""
    info = PngInfo()
    if job is not None:
        info.add_text(A1111_KEY, infotext_text(job))
        # Not compressed: Pillow-based readers refuse a compressed text that inflates beyond 1 MiB.
        info.add_itxt(OUR_KEY, json.dumps(recipe_of(job), ensure_ascii=False, allow_nan=False))
    buffer = io.BytesIO()
    PIL.Image.fromarray(image.pixels).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def recipe_of(job: Txt2Img) -> dict[str, object]:
    """The content of our chunk: a version and the job without what belongs to this machine."""
    fields = {key: value for key, value in job_to_dict(job).items() if key not in _NOT_IN_RECIPE}
    return {"format": FORMAT, "program": VERSION, "job": fields}


def infotext_text(job: Txt2Img) -> str:
    """The A1111 `parameters` text of a job."""
    return infotext.write(infotext_of(job))


def infotext_of(job: Txt2Img) -> infotext.Infotext:
    """The job in A1111's words and order of keys."""
    pairs = [
        ("Steps", str(job.steps)),
        ("Sampler", SAMPLER_TITLES[job.sampler]),
        ("Schedule type", _A1111_SCHEDULES[job.schedule]),
        ("CFG scale", f"{job.cfg_scale:g}"),
        ("Seed", str(job.seed)),
        ("Size", f"{job.width}x{job.height}"),
        ("Model", job.model),
    ]
    if job.sampler == "ddim" and job.eta:
        pairs.append(("Eta DDIM", f"{job.eta:g}"))
    pairs += [("RNG", "CPU"), ("Version", VERSION)]
    controls = tuple(_control_fields(control, job.model) for control in job.control if control.enabled)
    return infotext.Infotext(
        prompt=job.prompt, negative_prompt=job.negative_prompt, fields=tuple(pairs), controls=controls
    )


def _control_fields(control: Control, model: str) -> dict[str, str]:
    """One control; Module is none because the map is kept as it was used, with no detector before it."""
    return {
        "Module": "none",
        "Model": f"{model}-control-{control.kind}",
        "Weight": str(float(control.weight)),
        "Resize Mode": RESIZE_MODE_TITLES[control.resize_mode],
        "Guidance Start": str(float(control.start)),
        "Guidance End": str(float(control.end)),
        "Pixel Perfect": "False",
        "Control Mode": CONTROL_MODE_TITLES[control.mode],
    }


# --- reading -------------------------------------------------------------------------------------------


def read_texts(data: bytes) -> PngTexts:
    """Walk the chunks of a PNG and collect its texts, bounded in size, never raising for bad files."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    position, total = len(SIGNATURE), 0
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        if len(body) < length or len(checksum) < 4:
            problems.append(CUT_OFF)
            break
        if kind == b"IEND":
            break
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            total += length
            if total > MAX_TEXT_BYTES:
                problems.append("The file holds more text than any recipe needs; the rest of it was not read.")
                break
            if zlib.crc32(kind + body) != int.from_bytes(checksum, "big"):
                problems.append("A text chunk is damaged (its checksum is wrong).")
            else:
                _read_text(kind, body, texts, problems)
        position += 12 + length
    else:
        problems.append(CUT_OFF)
    return PngTexts(texts=texts, problems=tuple(dict.fromkeys(problems)))


def _read_text(kind: bytes, body: bytes, texts: dict[str, str], problems: list[str]) -> None:
    """One tEXt, zTXt or iTXt chunk."""
    keyword, _, rest = body.partition(b"\0")
    name = keyword[:79].decode("latin-1")
    try:
        if kind == b"tEXt":
            texts[name] = rest.decode("latin-1")
        elif kind == b"zTXt":
            texts[name] = inflate(rest[1:]).decode("latin-1")
        else:
            compressed = rest[:1] == b"\1"
            rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            texts[name] = (inflate(rest) if compressed else rest).decode("utf-8")
    except UserError as error:
        problems.append(str(error))
    except UnicodeDecodeError:
        problems.append(f"The text {name!r} is not valid UTF-8.")


def inflate(data: bytes) -> bytes:
    """Decompress with an upper bound, so that a zip bomb costs nothing."""
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(data, MAX_INFLATED)
    except zlib.error:
        raise UserError("A compressed text of the file is damaged.") from None
    if stream.unconsumed_tail:
        raise UserError(f"A compressed text of the file unpacks to more than {size_words(MAX_INFLATED)}; it was refused.")
    if not stream.eof:
        raise UserError("A compressed text of the file is cut off.")
    return result


def without_texts(data: bytes) -> bytes:
    """The same PNG without text chunks: what is handed to a decoder when only pixels are wanted."""
    kept = [data[: len(SIGNATURE)]]
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(data[position : position + 12 + length])
        position += 12 + length
    return b"".join(kept)


def read_recipe(data: bytes) -> Recipe:
    """What the bytes of a picture say about their making; hostile or broken texts end in a sentence."""
    found = read_texts(data) if data.startswith(SIGNATURE) else PngTexts(texts=_exif_text(data))
    texts, notes = found.texts, list(found.problems)
    if OUR_KEY in texts:
        try:
            job, warnings = job_from_recipe(texts[OUR_KEY])
        except UserError as error:
            notes.append(f"Our own recipe could not be read: {error}")
        else:
            return Recipe(
                source="glassbox", sentence="Everything was restored.", job=job, notes=tuple(notes + warnings)
            )
    foreign = next((_FOREIGN[key] for key in _FOREIGN if key in texts), None)
    if A1111_KEY in texts and not (foreign and foreign[0] == "fooocus" and texts[A1111_KEY].lstrip().startswith("{")):
        return _recipe_from_a1111(texts[A1111_KEY], notes)
    if foreign:
        sentence = f"The picture was made with {foreign[1]}, whose settings Glassbox does not read."
        return Recipe(source=foreign[0], sentence=sentence, notes=tuple(notes))
    sentence = notes[0] if notes else "The file holds no settings."
    return Recipe(source="none", sentence=sentence, notes=tuple(notes))


def _recipe_from_a1111(text: str, notes: list[str]) -> Recipe:
    try:
        info = infotext.read(text)
    except infotext.InfotextError as error:
        return Recipe(source="none", sentence=str(error), notes=tuple(notes))
    job, more = job_from_infotext(info)
    sentence = "The settings were read from the A1111 text."
    if job.control:
        sentence += " It does not hold the control maps: draw or load them."
    return Recipe(source="a1111", sentence=sentence, job=job, notes=tuple(notes + more))


def job_from_recipe(text: str) -> tuple[Txt2Img, list[str]]:
    """The job in our own chunk. Raises UserError with one sentence for anything that is not one."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError("the text is not valid JSON.") from None
    if not isinstance(data, dict) or not isinstance(data.get("job"), dict):
        raise UserError("the text is not a recipe of this program.")
    fields = {key: value for key, value in data["job"].items() if key not in _NOT_IN_RECIPE}
    job, warnings = job_from_dict(Txt2Img, fields)
    if data.get("format") != FORMAT:
        warnings = [*warnings, f"The recipe has format {str(data.get('format'))[:20]}, this program writes {FORMAT}."]
    return job, list(warnings)


def _exif_text(data: bytes) -> dict[str, str]:
    """The A1111 text of a JPEG or WebP, which stands in the EXIF field UserComment (0x9286)."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            comment = picture.getexif().get_ifd(0x8769).get(0x9286)
    except (OSError, ValueError, SyntaxError, TypeError, struct.error, PIL.Image.DecompressionBombError):
        return {}
    if not isinstance(comment, bytes) or len(comment) > infotext.MAX_TEXT:
        return {}
    if comment.startswith(b"UNICODE\0"):
        return {A1111_KEY: comment[8:].decode("utf-16-be", "replace")}
    return {A1111_KEY: comment.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")}


# --- A1111 text -> job ---------------------------------------------------------------------------------


def job_from_infotext(info: infotext.Infotext) -> tuple[Txt2Img, list[str]]:
    """The nearest job to foreign settings, with a note for everything that had to be bent."""
    notes: list[str] = []
    default = Txt2Img()
    sampler, schedule = _sampler_of(info, notes)
    width, height = infotext.read_size(info.get("Size")) or (default.width, default.height)
    return Txt2Img(
        prompt=info.prompt,
        negative_prompt=info.negative_prompt,
        sampler=sampler,
        schedule=schedule,
        steps=round(_bounded(info, "Steps", 1, 150, default.steps, notes)),
        cfg_scale=_bounded(info, "CFG scale", 1.0, 30.0, default.cfg_scale, notes),
        seed=round(_bounded(info, "Seed", -1, MAX_SEED, default.seed, notes)),
        eta=_bounded(info, "Eta DDIM", 0.0, 1.0, default.eta, notes),
        width=_side(width, "width", notes),
        height=_side(height, "height", notes),
        control=tuple(filter(None, (_control_of(control, notes) for control in info.controls))),
    ), notes


def _bounded(info: infotext.Infotext, key: str, low: float, high: float, default: float, notes: list[str]) -> float:
    """A number of the text, held to its range; NaN and words give the default."""
    text = info.get(key)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        notes.append(f"{key} is {text[:40]!r}, which is no number; {default:g} is used.")
        return default
    bounded = min(high, max(low, value))
    if bounded != value:
        notes.append(f"{key} is {text[:40]}; the nearest possible, {bounded:g}, is used.")
    return bounded


def _side(value: int, name: str, notes: list[str]) -> int:
    bounded = min(1024, max(64, round(value / 8) * 8))
    if bounded != value:
        notes.append(f"The {name} is {value}; the nearest possible, {bounded}, is used.")
    return bounded


def _sampler_of(info: infotext.Infotext, notes: list[str]) -> tuple[str, str]:
    """Our ids of the sampler and the schedule, fused names parted."""
    default = Txt2Img()
    name, schedule = infotext.split_sampler(info.get("Sampler"), info.get("Schedule type"))
    samplers = {title.lower(): key for key, title in SAMPLER_TITLES.items()}
    sampler_id = samplers.get(name.lower(), default.sampler)
    if name and name.lower() not in samplers:
        notes.append(f"The sampler {name[:40]!r} is not here; {SAMPLER_TITLES[sampler_id]} is used.")
    schedule_id = _READ_SCHEDULES.get(schedule.lower(), "automatic")
    if schedule and schedule.lower() not in _READ_SCHEDULES:
        used = SCHEDULE_TITLES[AUTOMATIC_SCHEDULE[sampler_id]]
        notes.append(f"The schedule {schedule[:40]!r} is not here; {used} is used.")
    return sampler_id, schedule_id


def _control_of(fields: dict[str, str], notes: list[str]) -> Control | None:
    """A control without its map, or None with a note."""
    model = f"{fields.get('Model', '')} {fields.get('Module', '')}".lower()
    kind = "canny" if "canny" in model else "pose" if "pose" in model else None
    if kind is None:
        notes.append(f"A control with the model {fields.get('Model', '?')[:60]!r} was left out: it is neither canny nor pose.")
        return None
    info = infotext.Infotext(fields=tuple(fields.items()))
    start = _bounded(info, "Guidance Start", 0.0, 1.0, 0.0, notes)
    modes = {title.lower(): key for key, title in CONTROL_MODE_TITLES.items()}
    resizes = {title.lower(): key for key, title in RESIZE_MODE_TITLES.items()}
    return Control(
        kind=kind,
        enabled=fields.get("Enabled", "True") != "False",
        weight=_bounded(info, "Weight", 0.0, 2.0, 1.0, notes),
        start=start,
        end=max(start, _bounded(info, "Guidance End", 0.0, 1.0, 1.0, notes)),
        mode=modes.get(fields.get("Control Mode", "").lower(), "balanced"),
        resize_mode=resizes.get(fields.get("Resize Mode", "").lower(), "crop"),
        source="file",
    )
