# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo lab notebook lint test check test-floor bench clean

PYTHON ?= python3
VENV := .venv
FLOOR := .venv-floor
INSTALL := -m pip install --quiet --disable-pip-version-check

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# A stamp for each set of packages: a second call installs nothing.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.notebooks: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing repro-magic and what its notebooks need into $(VENV) (a few minutes the first time)"
	$(VENV)/bin/python $(INSTALL) --constraint constraints.txt --editable '.[notebooks]'
	@touch $@

$(VENV)/.test: $(VENV)/.notebooks
	@echo "Installing what the tests need into $(VENV)"
	$(VENV)/bin/python $(INSTALL) --constraint constraints.txt --editable '.[test]'
	@touch $@

$(FLOOR)/.test: pyproject.toml constraints-floor.txt
	@echo "Installing the oldest supported versions into $(FLOOR)"
	$(PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/python $(INSTALL) --constraint constraints-floor.txt --editable '.[test]'
	@touch $@

demo: $(VENV)/.notebooks  ## Run the quickstart notebook twice in fresh kernels and compare, cell by cell
	$(VENV)/bin/python notebooks/run_twice.py notebooks/quickstart.ipynb

lab: $(VENV)/.notebooks  ## Open the quickstart notebook in JupyterLab
	$(VENV)/bin/jupyter lab notebooks/quickstart.ipynb

notebook: $(VENV)/.notebooks  ## Run the quickstart notebook and store its outputs
	$(VENV)/bin/python notebooks/run_twice.py --store notebooks/quickstart.ipynb

lint: $(VENV)/.test  ## Lint and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

test: lint  ## Lint, types and all tests on the newest versions
	$(VENV)/bin/python -m pytest --numprocesses 2

check: lint  ## The fast part of it: no real kernels
	$(VENV)/bin/python -m pytest --numprocesses 2 -m 'not kernel'

test-floor: $(FLOOR)/.test  ## All tests on the oldest supported versions
	$(FLOOR)/bin/python -m pytest --numprocesses 2

bench: $(VENV)/.test  ## What the extension costs, as ratios in one run
	$(VENV)/bin/python benchmarks/bench.py
	$(VENV)/bin/python benchmarks/watching.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(FLOOR) .mypy_cache .pytest_cache .ruff_cache .hypothesis
