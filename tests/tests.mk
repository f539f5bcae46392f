# Test targets; included by the Makefile at the top, which owns `venv` and the lab.
PYTEST = .cache/venv/bin/python -m pytest

.PHONY: test lint sanity sanity-newest docs-site test-debian13 unit

# One pytest run, quick parts first, so that one line at the end says how it went; the lab comes up once and stays up.
test: | venv
	$(PYTEST) --durations=10 tests/static tests/unit tests/lab

lint: | venv
	$(PYTEST) -q tests/static/test_lint.py

sanity: | venv
	$(PYTEST) -q tests/static/test_sanity.py

# The same with the newest ansible-core, on a Python that it takes (3.12 or newer).
sanity-newest: | venv
	$(PYTEST) -q tests/static/sanity_newest.py

docs-site: | venv
	.cache/venv/bin/python -m tests.static.docs_site

# The hypervisors' side on Debian 13, with its own Slurm: one more emulated host, beside those of the demo or without them.
test-debian13: | venv
	$(PYTEST) --durations=5 tests/debian13

unit: | venv
	$(PYTEST) -q tests/unit
