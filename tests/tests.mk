# Test targets; included by the Makefile at the top, which owns `venv` and the lab.
PYTEST = .cache/venv/bin/python -m pytest

.PHONY: test test-slow lint molecule sanity sanity-newest docs-site test-debian13 test-cgroup test-fresh test-fresh-emulated bench proofs unit

# One pytest run, so that one line at the end says how it went: one process has the lab, which comes up once and stays up; the other
# has the rest, and gives way.
test:
	@$(LAB) ready
	$(PYTEST) --numprocesses=2 --durations=10 --ignore=tests/lab/slow tests/lab tests/static tests/unit

# Proofs on the same lab that wait for minutes.
test-slow: | venv
	VC_FAULT_ROUNDS=8 $(PYTEST) --durations=5 tests/lab/test_faults.py tests/lab/slow

lint: | venv
	$(PYTEST) -q tests/static/test_lint.py

sanity: | venv
	$(PYTEST) -q tests/static/test_sanity.py

# The same with the newest ansible-core, on a Python that it takes (3.12 or newer).
sanity-newest: | venv
	$(PYTEST) -q tests/static/sanity_newest.py

docs-site: | venv
	.cache/venv/bin/python -m tests.static.docs_site

# The side of Slurm and the hypervisors on Debian 13: one more emulated host, with its own Slurm.
test-debian13: | venv
	$(PYTEST) --durations=5 tests/debian13

# Whole machines under an emulating QEMU, with guests in them: slow. Needs the packages qemu-system-x86 and qemu-utils on this machine.
test-cgroup: | venv
	nice $(PYTEST) -v --durations=8 tests/guest/test_cgroup.py

# README's commands on a machine with nothing but Debian 12, which is a container. Needs the package slirp4netns on this machine.
test-fresh: | venv
	$(PYTEST) -s -v --durations=8 tests/guest/test_fresh.py

# The same in a machine with a kernel of its own, under an emulator; hours for the demo, most of a day for the tests (ONLY=demo without).
test-fresh-emulated: | venv
	nice $(PYTEST) -s -v --durations=8 --emulated -k "$(ONLY)" tests/guest/test_fresh.py

# Root; brings its own daemons, in namespaces, and the lab's host head.  Some minutes on a machine that does nothing else.
bench: | venv
	PYTHONPATH=.cache/collections:.:molecule/lab .cache/venv/bin/python -m benchmarks $(ONLY)

# What the tests prove of each line of README's status table.
proofs: | venv
	.cache/venv/bin/python -m tests.unit.proofs

# The scenarios in molecule/, on hosts that are brought up for them and taken away again, those of a demo included.
molecule: | venv
	PATH="$(CURDIR)/.cache/venv/bin:$$PATH" molecule test --all

unit: | venv
	$(PYTEST) -q tests/unit
