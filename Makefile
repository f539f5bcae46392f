# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
LAB = molecule/lab/lab

.PHONY: demo demo-down distclean lab venv

# Brings the lab and a virtual cluster up; says first what it does to this machine, and asks unless YES=1.
demo:
	@YES="$(YES)" $(LAB) demo

demo-down:
	@$(LAB) demo-down

# The caches as well.
distclean:
	@$(LAB) distclean

# The emulated hosts only.
lab:
	@$(LAB) up

venv:
	@$(LAB) venv

include tests/tests.mk
