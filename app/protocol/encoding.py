"""Jobs and payloads as JSON-able dicts and back, for presets, PNG chunks and result files.

A payload becomes a dict with its class name under `$type`; a picture is a base64 PNG. Reading trusts nothing:
unknown keys are dropped with a warning, wrong values raise a UserError, sizes are bounded before unpacking.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import struct
import types
import typing
import zlib
from typing import Any

import numpy as np

from app.protocol import payloads
from app.protocol.errors import UserError
from app.protocol.job import J, Job, field_types

MAX_PIXELS = 64_000_000
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PAYLOADS = {
    cls.__name__: cls
    for cls in (
        payloads.Image, payloads.Points, payloads.Curve, payloads.Matrix, payloads.Tokens, payloads.Boxes,
        payloads.Person, payloads.Pose,
    )
}  # fmt: skip


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode uint8 (H, W, 3) as a PNG (8-bit RGB, no filter)."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter number, 0 = none
    rows[:, 1:] = pixels.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_pixels(data: bytes) -> np.ndarray:
    """Decode a PNG written by `png_bytes`; raise UserError for anything else."""
    damaged = UserError("A stored picture is damaged.", hint="Load the picture again.")
    try:
        if data[:8] != PNG_SIGNATURE or data[12:16] != b"IHDR":
            raise damaged
        width, height, *kind = struct.unpack(">IIBBBBB", data[16:29])
        if kind != [8, 2, 0, 0, 0] or not 0 < width * height <= MAX_PIXELS:
            raise damaged
        size = height * (1 + 3 * width)
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(_image_data(data), size)
    except (struct.error, zlib.error) as error:
        raise damaged from error
    if len(raw) != size:
        raise damaged
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + 3 * width)
    if rows[:, 0].any():
        raise damaged
    return np.ascontiguousarray(rows[:, 1:]).reshape(height, width, 3)


def _image_data(data: bytes) -> bytes:
    parts, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            parts.append(data[place + 8 : place + 8 + length])
        place += 12 + length
    return b"".join(parts)


def encode(value: Any) -> Any:
    """Turn a field value into what `json` can write."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return {"$type": "array", "dtype": str(value.dtype), "shape": list(value.shape), "data": _base64(value.tobytes())}
    if isinstance(value, bytes):
        return {"$type": "bytes", "data": _base64(value)}
    if isinstance(value, payloads.Image):
        words = {"label": value.label, "decoder": value.decoder, "note": value.note}
        return {"$type": "Image", "png": _base64(png_bytes(value.pixels)), **words}
    if dataclasses.is_dataclass(value):
        tag = {"$type": type(value).__name__} if type(value).__name__ in PAYLOADS else {}
        return tag | {item.name: encode(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def job_to_dict(job: Job) -> dict[str, Any]:
    """All fields of a job as JSON-able values, in order of the fields."""
    return {item.name: encode(getattr(job, item.name)) for item in dataclasses.fields(job)}


def job_from_dict(cls: type[J], values: dict[str, Any]) -> tuple[J, list[str]]:
    """Make a job from `job_to_dict`'s output; return it with warnings about keys that were ignored."""
    warnings: list[str] = []
    return _make(cls, values, warnings), warnings


def _make(cls: type, values: Any, warnings: list[str]) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"The settings of {cls.__name__} are not a table of names and values.")
    hints = field_types(cls)
    unknown = [str(key) for key in values if key not in hints and key != "$type"]
    if unknown:
        warnings.append(f"{cls.__name__} does not know {', '.join(sorted(unknown))[:200]}; ignored.")
    given = {name: _decode(hint, values[name], warnings) for name, hint in hints.items() if name in values}
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"The settings of {cls.__name__} are not valid: {error}.") from error


def _decode(hint: Any, value: Any, warnings: list[str]) -> Any:
    if isinstance(value, dict) and "$type" in value:
        return _decode_tagged(value, warnings)
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and value is not None:
        arms = [arm for arm in arms if arm is not type(None)]
        return _decode(arms[0], value, warnings) if len(arms) == 1 else value
    if origin is tuple and isinstance(value, list):
        kinds = [arms[0]] * len(value) if len(arms) == 2 and arms[1] is Ellipsis else arms
        return tuple(_decode(kind, item, warnings) for kind, item in zip(kinds, value, strict=False))
    if dataclasses.is_dataclass(hint) and value is not None:
        return _make(hint, value, warnings)
    return value


def _decode_tagged(value: dict[str, Any], warnings: list[str]) -> Any:
    kind = value["$type"]
    if kind == "array":
        return _array(value)
    if kind == "bytes":
        return _unbase64(value.get("data"))
    if kind == "Image":
        words = {name: str(value.get(name, "")) for name in ("label", "decoder", "note")}
        return payloads.Image(png_pixels(_unbase64(value.get("png"))), **words)
    if not isinstance(kind, str) or kind not in PAYLOADS:
        raise UserError(f"A stored value is of the unknown kind {str(kind)[:40]!r}.")
    return _make(PAYLOADS[kind], value, warnings)


def _array(value: dict[str, Any]) -> np.ndarray:
    try:
        dtype, shape = np.dtype(value["dtype"]), tuple(int(n) for n in value["shape"])
        if dtype.kind not in "biuf":
            raise UserError("A stored table of numbers has a kind that is not allowed.")
        return np.frombuffer(_unbase64(value["data"]), dtype).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("A stored table of numbers is damaged.") from error


def _unbase64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise UserError("A stored picture or table is damaged.", hint="Load it again.") from error


def summary(job: Job) -> dict[str, Any]:
    """All fields of a job for people and reports: pictures and arrays become their size and SHA-256."""
    return {item.name: _summarise(getattr(job, item.name)) for item in dataclasses.fields(job)}


def _summarise(value: Any) -> Any:
    if isinstance(value, payloads.Image):
        return {"width": value.width, "height": value.height, "label": value.label, "sha256": value.sha256}
    if isinstance(value, payloads.Payload):
        return {"kind": type(value).__name__, "sha256": value.fingerprint}
    if isinstance(value, bytes):
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "sha256": hashlib.sha256(value.tobytes()).hexdigest()}
    if dataclasses.is_dataclass(value):
        return {item.name: _summarise(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_summarise(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _summarise(item) for key, item in value.items()}
    return encode(value)
