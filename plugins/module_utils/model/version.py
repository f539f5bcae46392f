# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release of these files: the submitting side writes it into a job's spec, the agent on the hypervisor compares it with its own."""

from __future__ import annotations

# galaxy.yml has the same; a test holds them together.
VERSION = "0.1.0"
