# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every refusal has to be: coded, about something, one bounded ASCII line, and with a way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError


def refused(code: str, call: Callable[..., Any], *args: Any, **keywords: Any) -> VcError:
    """Call and return the error, having checked its form."""
    with pytest.raises(VcError) as caught:
        call(*args, **keywords)
    error = caught.value
    assert error.code == code, str(error)
    assert error.item
    assert error.tried
    assert error.remedy
    text = str(error)
    assert text.isascii(), text
    assert text.isprintable(), ascii(text)
    assert len(text) < 700, text
    return error
