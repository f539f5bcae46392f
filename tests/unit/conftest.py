# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit tests are the same in every run: generated examples come from a fixed seed and nothing is remembered between runs."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("same", derandomize=True, deadline=None, max_examples=100, database=None)
hypothesis.settings.load_profile("same")
