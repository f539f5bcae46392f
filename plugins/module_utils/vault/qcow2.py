# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a qcow2 header without trusting it.

qemu-img opens whatever a header points to, as root; so a file that points anywhere is refused before qemu-img sees it.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from ..model.errors import VcError

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQI")
_EXTERNAL_DATA = 1 << 2
_EXTENSION_DATA_FILE = 0x44415441


def is_qcow2(stream: BinaryIO) -> bool:
    """Whether the file begins as qcow2 does."""
    return _beginning(stream)[:4] == MAGIC


def virtual_size(stream: BinaryIO, source: str) -> int:
    """The size of the disk inside, in bytes.

    Parameters
    ----------
    source : what the file is called in a refusal

    Raises VcError ``invalid`` unless it is a self-contained, unencrypted qcow2 (version 2 or 3).
    """
    tried = "importing it as qcow2"
    head = _beginning(stream)
    if len(head) < 72 or head[:4] != MAGIC:
        raise VcError("invalid", source, tried, "it is not a qcow2 file", "give its real format (format: raw)")
    _magic, version, backing_offset, _backing_size, _cluster_bits, size, crypt = _HEADER.unpack_from(head)
    if version not in (2, 3):
        raise VcError("invalid", source, tried, f"it is qcow2 version {version}", "convert it with qemu-img convert -O qcow2")
    flat = "make it self-contained: qemu-img convert -f qcow2 -O qcow2 OLD NEW"
    if backing_offset:
        raise VcError("invalid", source, tried, "it has a backing file", flat)
    if crypt:
        raise VcError("invalid", source, tried, "it is encrypted", "convert it to a plain one")
    header_length = 72
    if version == 3:
        if len(head) < 104:
            raise VcError("invalid", source, tried, "its header is cut short", "get the file again")
        features, header_length = struct.unpack_from(">Q", head, 72)[0], struct.unpack_from(">I", head, 100)[0]
        if features & _EXTERNAL_DATA:
            raise VcError("invalid", source, tried, "it keeps its data in another file", flat)
    _refuse_extensions(source, head, header_length, tried, flat)
    if not size:
        raise VcError("invalid", source, tried, "the disk inside has no size", "get the file again")
    return int(size)


def _beginning(stream: BinaryIO) -> bytes:
    return os.pread(stream.fileno(), 65536, 0)


def _refuse_extensions(source: str, head: bytes, place: int, tried: str, remedy: str) -> None:
    while place + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, place)
        if kind == 0:
            return
        if kind == _EXTENSION_DATA_FILE:
            raise VcError("invalid", source, tried, "its header names another file", remedy)
        place += 8 + (length + 7) // 8 * 8
