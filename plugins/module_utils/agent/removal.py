# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking files out of directories that a tenant could write, as root.

The tenant may have left symbolic links, hard links to the files, fifos, a million files, or directories nested deeper than a path can name.
So everything goes by directory file descriptors and never follows a link; directories are moved up into one flat, root-only place
instead of being descended into, which needs one descriptor and no recursion whatever the depth.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import time
from pathlib import Path
from typing import Optional, Union

_NOT_REGULAR = "it is not a regular file"
_counter = itertools.count()


def discard(directory: Path, trash: Path) -> None:
    """Move a directory out of sight at once, whatever is in it; `trash` is on the same file system and root's."""
    while True:
        trash.mkdir(mode=0o700, exist_ok=True)
        try:
            os.rename(directory, trash / _unique())
        except FileNotFoundError:
            # The trash itself goes when another epilog has emptied it.
            if os.path.lexists(directory) and not trash.exists():
                continue
        return


def empty(trash: Path, seconds: float) -> bool:
    """Delete what was discarded, for at most `seconds`; True when nothing is left, and then `trash` itself is gone as well.

    What cannot be deleted holds nothing else up.
    """
    until = time.monotonic() + seconds
    stuck: set[str] = set()
    try:
        top = os.open(trash, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        while True:
            names = [name for name in os.listdir(top) if name not in stuck]
            if not names:
                break
            for name in names:
                try:
                    in_time = _delete_flat(top, name, until)
                except OSError:
                    stuck.add(name)
                    in_time = time.monotonic() < until
                if not in_time:
                    return False
    finally:
        os.close(top)
    if stuck:
        return False
    with contextlib.suppress(OSError):
        trash.rmdir()
    return True


def _delete_flat(top: int, name: str, until: float) -> bool:
    """Delete an entry of `top`; the directories in it become entries of `top`.  False when the time is over.

    OSError, after all else in it was deleted, when something in it cannot be.
    """
    try:
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=top)
    except FileNotFoundError:
        return True
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=top)
        return time.monotonic() < until
    failure: Optional[OSError] = None
    try:
        with os.scandir(handle) as entries:
            for entry in entries:
                if time.monotonic() >= until:
                    return False
                try:
                    if entry.is_dir(follow_symlinks=False):
                        os.rename(entry.name, _unique(), src_dir_fd=handle, dst_dir_fd=top)
                    else:
                        os.unlink(entry.name, dir_fd=handle)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    failure = error
        if failure is not None:
            raise failure
        with contextlib.suppress(OSError):
            # Not empty when a process that still holds the directory has just written into it: the next round takes that.
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(handle)
    return time.monotonic() < until


def take_file(directory: Path, name: str, uid: int, target: Path) -> str:
    """Move a tenant's file to `target` (same file system) and make it root's.

    Returns "" when it was moved and nobody else can reach it any more, ``missing`` when there is no such file, else why it must not
    be trusted: a regular file was moved nevertheless, anything else was left where it is.  Raises OSError when that cannot be told.
    """
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return "missing"
    try:
        try:
            handle = _open(name, parent)
        except FileNotFoundError:
            return "missing"
        if handle is None:
            return _NOT_REGULAR
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                return _NOT_REGULAR
            os.rename(name, target, src_dir_fd=parent)
            moved = os.lstat(target)
            if (moved.st_dev, moved.st_ino) != (before.st_dev, before.st_ino):
                return "it was exchanged while it was taken"
            if before.st_uid != uid:
                return f"it belongs to uid {before.st_uid}, not to the job's user"
            return _make_roots(handle)
        finally:
            os.close(handle)
    finally:
        os.close(parent)


def check_taken(target: Path, uid: int) -> str:
    """For a file that `take_file` had moved when it was killed: do the rest; "" or why it must not be trusted.

    Raises OSError when that cannot be told.
    """
    handle = _open(target)
    if handle is None:
        return _NOT_REGULAR
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (uid, 0):
            return f"it is not a regular file of the job's user, but of uid {found.st_uid}"
        return _make_roots(handle) if found.st_uid or found.st_nlink == 1 else f"it has {found.st_nlink} names"
    finally:
        os.close(handle)


def _open(path: Union[str, Path], parent: Optional[int] = None) -> Optional[int]:
    """None for a link or a socket; any other failure says nothing about what is there, and is raised."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise


def _make_roots(handle: int) -> str:
    os.fchown(handle, 0, 0)
    os.fchmod(handle, 0o600)
    links = os.fstat(handle).st_nlink
    return "" if links == 1 else f"it has {links} names, so its user can still write it"


def _unique() -> str:
    return f"{os.getpid()}-{time.monotonic_ns():x}-{next(_counter)}"
