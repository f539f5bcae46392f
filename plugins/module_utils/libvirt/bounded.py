# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of libvirt that end.  libvirt has no timeout of its own, and a call into a daemon that hangs cannot be interrupted."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..model.errors import VcError

_Method = TypeVar("_Method", bound=Callable[..., Any])


def bounded(seconds: float) -> Callable[[_Method], _Method]:
    """For a method: VcError ``timeout`` when it takes longer.  What it began goes on in a thread that does not keep the process alive."""

    def decorate(method: _Method) -> _Method:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            ended: list[tuple[Any, Any]] = []

            def work() -> None:
                try:
                    ended.append((method(*args, **kwargs), None))
                except BaseException as error:  # raised again where it was called
                    ended.append((None, error))

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(seconds)
            if not ended:
                item = args[1] if len(args) > 1 and isinstance(args[1], str) else "libvirt"
                tried, remedy = f"asking libvirt ({method.__name__.strip('_')})", "see `systemctl status libvirtd`; restart it if it hangs"
                raise VcError("timeout", item, tried, f"no answer within {seconds:g} s", remedy)
            result, error = ended[0]
            if error is not None:
                raise error
            return result

        return cast(_Method, call)

    return decorate
