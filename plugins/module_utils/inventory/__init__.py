# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's inventory: asks the vault, Slurm and frontend hosts, and makes hosts and groups of what they say."""
