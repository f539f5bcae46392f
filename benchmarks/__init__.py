# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection costs beside what it could cost at best; `make bench` writes docs/benchmarks.md."""
