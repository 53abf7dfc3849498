"""The file of a finished shard: arrays whose first axis is the network, every block of which has a
checksum.

Layout: a line that names the format; the length of the header, 8 bytes; the header, JSON; its
BLAKE2b digest, 16 bytes; then the arrays, each from a multiple of 64 bytes on, uncompressed and
little-endian. The header has the shard's key, what it computes, and for each array dtype, shape,
names of axes, place, and the digest of every block of rows. So a few networks can be read without
the rest, and nothing is read that is not checked. Equal content has equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.system import flush_folder

__all__ = ["Damaged", "Header", "Labelled", "check", "read_header", "read_rows", "write_durably", "write_shard"]

MAGIC = b"ghostpoint-shard-1\n"
ALIGNMENT = 64
#: bytes of a block that has a digest of its own, unless one row is more
BLOCK = 1 << 20
DIGEST = 16
#: an array and the names of its axes, the first of which is "network" but for coordinates such as
#: the epochs
Labelled = tuple[tuple[str, ...], NDArray[Any]]


class Damaged(Exception):
    """A file is not the finished shard that its name says; the text says why."""


@dataclass(frozen=True)
class Header:
    """What the header of a file says: ``arrays`` has dtype, shape, dims, offset, rows per block and
    digests by name. ``gaps`` are the first byte and the end of each stretch between arrays, which
    is zero.
    """

    path: Path
    key: str
    computes: dict[str, Any]
    arrays: dict[str, dict[str, Any]]
    size: int
    gaps: list[tuple[int, int]]


def write_shard(
    path: Path, temporary: Path, key: str, computes: Mapping[str, Any], arrays: Mapping[str, Labelled]
) -> None:
    """Put a finished shard at ``path`` at once and for good, by way of the folder ``temporary``
    beside it.
    """
    listed = {
        name: (dims, np.ascontiguousarray(values, values.dtype.newbyteorder("<")))
        for name, (dims, values) in sorted(arrays.items(), key=lambda item: (item[1][1].nbytes, item[0]))
    }
    entries: dict[str, Any] = {}
    offset = 0
    for name, (dims, values) in listed.items():
        rows = max(1, BLOCK // max(1, values[:1].nbytes))
        blocks = [values[start : start + rows] for start in range(0, len(values), rows)]
        entries[name] = {
            "dtype": values.dtype.str, "shape": list(values.shape), "dims": list(dims), "offset": offset, "rows": rows,
            "digests": [_digest(block.data.cast("B") if block.size else b"").hex() for block in blocks],
        }  # fmt: skip
        offset += -(-values.nbytes // ALIGNMENT) * ALIGNMENT
    head = json.dumps(
        {"key": key, "computes": dict(computes), "arrays": entries, "data": offset}, sort_keys=True
    ).encode()
    parts: list[Any] = [MAGIC, struct.pack("<Q", len(head)), head, _digest(head)]
    start = sum(map(len, parts))
    parts.append(bytes(-start % ALIGNMENT))
    for _, values in listed.values():
        parts += [values.data.cast("B") if values.size else b"", bytes(-values.nbytes % ALIGNMENT)]
    write_durably(path, temporary / f"{key}-{secrets.token_hex(8)}", parts)


def write_durably(path: Path, temporary: Path, parts: list[Any], *, fresh: bool = False) -> None:
    """Write ``parts`` to ``path`` so that it is there whole or not at all, power loss included.

    Temporary name, flush, fsync, rename, fsync of the folder. With ``fresh`` a file that is there
    already is a ``FileExistsError``.
    """
    try:
        with open(temporary, "xb") as file:
            for one in parts:
                file.write(one)
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            os.link(temporary, path)
            temporary.unlink()
        else:
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def read_header(path: Path, key: str) -> Header:
    """The header of the shard ``key``, checked, and whether the file is as long as it says.

    Raises
    ------
    Damaged
        For any file that is not this shard in full length; also one that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(len(MAGIC) + 8)
            if not size:
                raise Damaged("it is empty")
            if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 8:
                raise Damaged("it is no shard of this format")
            (length,) = struct.unpack("<Q", start[len(MAGIC) :])
            if len(start) + length + DIGEST > size:
                raise Damaged("it is truncated")
            head, digest = file.read(length), file.read(DIGEST)
    except OSError as error:
        raise Damaged(f"it cannot be read ({error.strerror or error})") from None
    if _digest(head) != digest:
        raise Damaged("the checksum of its header is wrong")
    fields = json.loads(head)
    if fields["key"] != key:
        raise Damaged(f"it holds another shard, {fields['key']}")
    begin = -(-(len(start) + length + DIGEST) // ALIGNMENT) * ALIGNMENT
    if size != begin + fields["data"]:
        raise Damaged(f"it is {'truncated' if size < begin + fields['data'] else 'too long'}")
    gaps = [(len(start) + length + DIGEST, begin)]
    for entry in fields["arrays"].values():
        entry["offset"] += begin
        end = entry["offset"] + np.dtype(entry["dtype"]).itemsize * math.prod(entry["shape"])
        gaps.append((end, -(-end // ALIGNMENT) * ALIGNMENT))
    return Header(path, key, fields["computes"], fields["arrays"], size, gaps)


def check(path: Path, key: str) -> Header:
    """The header, after every byte of the arrays was compared with its checksum, and every other
    one with zero; else :class:`Damaged`.
    """
    header = read_header(path, key)
    for name, entry in header.arrays.items():
        read_rows(header, name, range(0, entry["shape"][0], entry["rows"]))
    with open(path, "rb") as file:
        for first, end in header.gaps:
            file.seek(first)
            if any(file.read(end - first)):
                raise Damaged("bytes between its arrays are not zero")
    return header


def read_rows(header: Header, name: str, rows: Any = None) -> NDArray[Any]:
    """Rows of one array (all by default), from blocks whose checksums are right; else
    :class:`Damaged`.
    """
    entry = header.arrays[name]
    dtype, shape, per = np.dtype(entry["dtype"]), tuple(entry["shape"]), entry["rows"]
    wanted = np.arange(shape[0]) if rows is None else np.asarray(rows, np.int64)
    found = np.empty((len(wanted), *shape[1:]), dtype)
    width = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    try:
        with open(header.path, "rb") as file:
            for block in np.unique(wanted // per):
                first, last = block * per, min((block + 1) * per, shape[0])
                file.seek(entry["offset"] + int(first) * width)
                data = file.read(int(last - first) * width)
                if _digest(data).hex() != entry["digests"][block]:
                    raise Damaged(f"the checksum of {name} is wrong")
                here = wanted // per == block
                values = np.frombuffer(data, dtype).reshape(last - first, *shape[1:])
                found[here] = values[wanted[here] - first]
    except OSError as error:
        raise Damaged(f"it cannot be read ({error.strerror or error})") from None
    return found


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST).digest()
