# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of its own: what an admin does by hand. Writes a partition file, signals OpenSM, looks at the ports until all have the key.

Arguments: the collection's reader of pkey tables, partition file, text to put there, pid of OpenSM, GUID to ask from, key, file of GUIDs.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

SECONDS = 120


def main(reader: str, file: str, text: str, pid: str, port: str, key: str, guids: str) -> int:
    spec = importlib.util.spec_from_file_location("query", reader)
    assert spec is not None
    assert spec.loader is not None
    query = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(query)
    fabric = query.Fabric(port)
    Path(file).write_text(Path(text).read_text(encoding="utf-8"), encoding="utf-8")
    os.kill(int(pid), signal.SIGHUP)
    lacking = Path(guids).read_text(encoding="utf-8").split()
    places = {guid: fabric.find(guid) for guid in lacking}
    until = time.monotonic() + SECONDS
    while lacking and time.monotonic() < until:
        tables = {guid: fabric.table(places[guid]) for guid in lacking}
        lacking = [guid for guid, table in tables.items() if table is None or key not in table[1]]
        time.sleep(0.02)
    print(f"{len(lacking)} ports lack the key")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
