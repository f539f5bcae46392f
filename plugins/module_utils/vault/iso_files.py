# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation media as plain files, the same in every store: ``isos/<name>/{medium.iso,meta.json}``."""

from __future__ import annotations

from pathlib import Path

from ..model.errors import VcError
from . import durable, source_file
from .making import Making
from .store import Fingerprint, Iso, Isos


class IsoFiles:
    """The ISOs under `path`; see ``store.Store`` for what each method promises."""

    def __init__(self, path: Path, making: Making) -> None:
        self._path = path
        self._making = making

    def read(self) -> Isos:
        found: dict[str, Iso] = {}
        for name in durable.names(self._path):
            path = self._path / name / "meta.json"
            data = durable.read_json(path)
            if data is None:
                continue
            try:
                found[name] = Iso(name, int(data["size"]), str(data["sha256"]), Fingerprint.from_dict(data["fingerprint"]))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise durable.malformed(path, error) from None
        return found

    def take(self, name: str, source: str, sha256: str) -> Iso:
        with source_file.open_unfollowed(source) as stream, self._making.directory(self._path / name, name) as directory:
            before = source_file.fingerprint_of(stream, source)
            found = source_file.copy_hashing(stream, directory / "medium.iso")
            if source_file.fingerprint_of(stream, source) != before:
                raise source_file.changed_meanwhile(name, source)
            if sha256 and found != sha256:
                detail = f"it has sha256 {found}, {sha256} was promised"
                raise VcError("invalid", name, f"importing {source}", detail, "get the file again, or correct the checksum")
            iso = Iso(name, before.size, found, before)
            durable.write_json(directory / "meta.json", {key: value for key, value in iso.to_dict().items() if key != "name"})
        return iso

    def remove(self, iso: Iso) -> None:
        self._making.discard(self._path / iso.name)
