# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest ISO 9660 image that Linux mounts: a few files in one directory.  Pure.

Written here because the tools put the time into the image, and because they differ between distributions: equal files give equal bytes,
and no host needs a package for it.  Names are given in lower case and stored in upper case, which Linux shows in lower case again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SECTOR = 2048
_DESCRIPTOR, _TERMINATOR, _PATHS_LITTLE, _PATHS_BIG, _ROOT, _FIRST_FILE = 16, 17, 18, 19, 20, 21
_PATH_TABLE_SIZE = 10
# A date of zeros means that none is given.
_NO_DATE = b"0" * 16 + b"\0"
_NO_RECORD_DATE = bytes(7)


def image(label: str, files: Mapping[str, bytes]) -> bytes:
    """An image with this volume label.

    Parameters
    ----------
    label : at most 32 ASCII characters
    files : name (lower case, at most 30 ASCII characters) -> content; not more names than fit into one sector

    Raises ValueError when a name or the label does not fit.
    """
    if len(label) > 32 or any(len(name) > 30 or not name.isascii() or name != name.lower() or "/" in name for name in files):
        raise ValueError("a name does not fit into the image")
    stored = sorted((f"{name.upper()};1".encode("ascii"), content) for name, content in files.items())
    sector, records, data = _FIRST_FILE, [_record(b"\0", _ROOT, SECTOR, True), _record(b"\1", _ROOT, SECTOR, True)], []
    for name, content in stored:
        records.append(_record(name, sector, len(content), False))
        data.append(_padded(content))
        sector += len(data[-1]) // SECTOR
    root = b"".join(records)
    if len(root) > SECTOR:
        raise ValueError("too many files for the image")
    parts = [
        bytes(SECTOR * _DESCRIPTOR),
        _padded(_volume(label, sector)),
        _padded(b"\xffCD001\x01"),
        _padded(struct.pack("<BBIH2s", 1, 0, _ROOT, 1, b"\0")),
        _padded(struct.pack(">BBIH2s", 1, 0, _ROOT, 1, b"\0")),
        _padded(root),
        *data,
    ]
    return b"".join(parts)


def _volume(label: str, sectors: int) -> bytes:
    return b"".join(
        [
            b"\x01CD001\x01\x00",
            b" " * 32,
            label.encode("ascii").ljust(32),
            bytes(8),
            _both32(sectors),
            bytes(32),
            _both16(1) + _both16(1) + _both16(SECTOR),
            _both32(_PATH_TABLE_SIZE),
            struct.pack("<II", _PATHS_LITTLE, 0),
            struct.pack(">II", _PATHS_BIG, 0),
            _record(b"\0", _ROOT, SECTOR, True),
            b" " * (4 * 128 + 3 * 37),
            _NO_DATE * 4,
            b"\x01\x00",
        ]
    )


def _record(name: bytes, sector: int, size: int, directory: bool) -> bytes:
    body = _both32(sector) + _both32(size) + _NO_RECORD_DATE + bytes([2 if directory else 0, 0, 0]) + _both16(1) + bytes([len(name)]) + name
    body += b"\0" * (len(body) % 2)
    return bytes([len(body) + 2, 0]) + body


def _both16(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _both32(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % SECTOR)
