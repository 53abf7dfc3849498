"""Scalars of a TensorBoard event file, read without TensorBoard.

A file is a row of records: length (uint64), masked CRC-32C of the length, data, masked CRC-32C of
the data, little endian. The mask is ``rotate right by 15, plus 0xa282ead8``. The data are a
protocol-buffer ``Event``: step (field 2), summary (5); a summary's values (1) have a tag (1) and a
number, as ``simple_value`` (2) or as a tensor (8) of one float or double. Anything else is passed
over. (Formats: tensorflow/core/lib/io/record_writer.cc, util/event.proto, framework/summary.proto
and tensor.proto.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c  # zarr needs it, so it is there

from ghostpoint.errors import InputError

__all__ = ["event_scalars"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK = 0xA282EAD8


def event_scalars(path: Path) -> dict[str, dict[int, float]]:
    """Tag to step to value; a step written twice keeps the later value.

    Raises
    ------
    ValueError
        If a record is damaged (checksum, or no such data). A last record that is cut short, as a
        running training leaves it, ends the file.
    """
    found: dict[str, dict[int, float]] = {}
    for data in _records(path):
        try:
            step, summaries = 0, []
            for number, kind, value in _fields(data):
                if number == 2 and kind == _VARINT:
                    step = int(value) - (int(value) >> 63 << 64)  # int64
                elif number == 5 and kind == _BYTES:
                    summaries.append(_bytes(value))
            for summary in summaries:
                for number, _, value in _fields(summary):
                    if number == 1:
                        tag, scalar = _value(value)
                        if scalar is not None:
                            found.setdefault(tag, {})[step] = scalar
        except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
            raise InputError(f"path must be an event file, and {path} has a record that is no event: {error}") from None
    return found


def _records(path: Path) -> Iterator[bytes]:
    blob = path.read_bytes()
    at = 0
    while len(blob) - at >= 12:
        head = blob[at : at + 8]
        length, check = struct.unpack_from("<QI", blob, at)
        if check != _masked(head):
            raise InputError(f"path must be an event file, and {path} has a wrong checksum at byte {at}")
        end = at + 12 + length
        if end + 4 > len(blob):
            return
        data = blob[at + 12 : end]
        if struct.unpack_from("<I", blob, end)[0] != _masked(data):
            raise InputError(f"path must be an event file, and {path} has a wrong checksum at byte {at + 12}")
        yield data
        at = end + 4


def _masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of a message: an integer for varints, bytes for the rest."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise IndexError(f"wire type {kind}")
        if at + size > len(data):
            raise IndexError("a field is cut short")
        yield key >> 3, kind, data[at : at + size]
        at += size


def _value(data: int | bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, kind, value in _fields(_bytes(data)):
        if number == 1:
            tag = _bytes(value).decode()
        elif number == 2 and kind == _FIXED32:
            scalar = struct.unpack("<f", _bytes(value))[0]
        elif number == 8:
            scalar = _tensor(_bytes(value))
    return tag, scalar


def _tensor(data: bytes) -> float | None:
    """The number of a tensor that holds one float or double, else None."""
    formats = {1: "<f", 2: "<d"}  # DT_FLOAT, DT_DOUBLE
    dtype, payload = 0, b""
    for number, kind, value in _fields(data):
        if number == 1 and kind == _VARINT:
            dtype = int(value)
        elif number in (4, 5, 6):  # tensor_content, float_val, double_val
            payload += _bytes(value)
    form = formats.get(dtype)
    return struct.unpack(form, payload)[0] if form and len(payload) == struct.calcsize(form) else None


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where bytes should be")
    return value
