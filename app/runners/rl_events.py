"""TensorBoard event files, written by hand: a few dozen lines in the place of a dependency.

A file is a row of records: length (uint64), masked CRC-32C of it, data, masked CRC-32C of that (TensorFlow's `record_writer.cc`). The data
is a protocol buffer `Event`: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary; a summary holds values (1) of tag (1
string) and simple_value (2 float).
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterable, Sequence

from app.protocol.rl import RlRow

POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
VERSION = b"brain.Event:2"


def event_file(*series: Sequence[RlRow], begun: float | None = None) -> tuple[str, bytes]:
    """Name and content of an event file with every finite metric; x is environment steps. `begun` is when the run began, in seconds."""
    rows = sorted((row for one in series for row in one), key=lambda row: row.timesteps)
    last = rows[-1].seconds if rows else 0.0
    begun = time.time() - last if begun is None else begun
    events = [_double(1, begun) + _bytes(3, VERSION)]
    for row in rows:
        values = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in row.metrics if math.isfinite(value))
        events.append(_double(1, begun + row.seconds) + _varint(2 << 3) + _varint(row.timesteps) + _bytes(5, values))
    return f"events.out.tfevents.{int(begun)}.glassbox", b"".join(map(_record, events))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def _table() -> Iterable[int]:
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
        yield byte


TABLE = tuple(_table())


def masked_crc(data: bytes) -> int:
    """CRC-32C, turned and shifted so that a checksum of checksums is none."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# --- protocol buffer fields ---


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", _within(value))


def _within(value: float) -> float:
    """Too large for float32 becomes the largest there is."""
    return max(-3.4e38, min(3.4e38, value))
