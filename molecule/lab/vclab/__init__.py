# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated lab: systemd-nspawn hosts on one root file system, in network namespaces."""
