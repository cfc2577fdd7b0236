# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo lab notebook docs pictures lint test check explore test-browser test-floor bench lock clean

PYTHON ?= python3
VENV := .venv
FLOOR := .venv-floor
LOCK := .venv-lock
NOTEBOOKS := notebooks/quickstart.ipynb notebooks/randomness.ipynb
INSTALL := -m pip install --quiet --disable-pip-version-check

# Modules are compiled once, not in each of the kernels that demo, tests and benchmarks start.
unexport PYTHONDONTWRITEBYTECODE

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

$(VENV)/.docs: $(VENV)/.notebooks
	@echo "Installing what the documentation needs into $(VENV)"
	$(VENV)/bin/python $(INSTALL) --constraint constraints.txt --editable '.[docs]'
	@touch $@

$(FLOOR)/.test: pyproject.toml constraints-floor.txt
	@echo "Installing the oldest supported versions into $(FLOOR)"
	$(PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/python $(INSTALL) --constraint constraints-floor.txt --editable '.[test]'
	@touch $@

# The browser itself comes from the system: Debian's package where there is none.
$(VENV)/.browser: $(VENV)/.test
	@echo "Installing what the browser tests need"
	$(VENV)/bin/python $(INSTALL) --constraint constraints.txt --editable '.[browser]'
	@test -n "$$CHROMIUM" || command -v chromium chromium-browser google-chrome >/dev/null || \
	  { sudo=$$(command -v sudo || true); $$sudo apt-get update -qq && $$sudo apt-get install -y -qq chromium; } || \
	  { echo "Install Chromium, or set CHROMIUM to the path of a browser of its kind." >&2; exit 1; }
	@touch $@

demo: $(VENV)/.notebooks  ## Run the quickstart notebook twice in fresh kernels and compare, cell by cell
	$(VENV)/bin/repro-magic verify notebooks/quickstart.ipynb

lab: $(VENV)/.notebooks  ## Open the quickstart notebook in JupyterLab
	$(VENV)/bin/jupyter lab notebooks/quickstart.ipynb

# How a kernel cuts what is printed into messages, and the names of widgets, are chance; so is what the clock says.
notebook: $(VENV)/.notebooks  ## Run the notebooks, store their outputs, and see that they are what a run gives
	$(VENV)/bin/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
	  --ExecutePreprocessor.store_widget_state=False $(NOTEBOOKS)
	$(VENV)/bin/jupyter nbconvert --coalesce-streams --inplace $(NOTEBOOKS)
	$(VENV)/bin/repro-magic verify --recorded $(NOTEBOOKS)

# Warnings are errors. The first pass of a page needs a kernel, so the notebooks' packages are there, too.
docs: $(VENV)/.docs  ## Build the documentation site into docs/_build/html; the tutorial runs in the build
	$(VENV)/bin/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

pictures: $(VENV)/.browser  ## Renew docs/images from real cells in JupyterLab, light and dark; look at them
	$(VENV)/bin/python -m pytest tests/browser/pictures.py

lint: $(VENV)/.test  ## Lint and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# Two kernels that train side by side shall share the cores, not fight for them.
test check explore test-browser test-floor: export OMP_WAIT_POLICY = PASSIVE

test: lint  ## Lint, types and all tests on the newest versions
	$(VENV)/bin/python -m pytest --numprocesses 2 -m 'not browser'

check: lint  ## The fast part of it: no real kernels
	$(VENV)/bin/python -m pytest --numprocesses 2 -m 'not kernel and not browser'

explore: $(VENV)/.test  ## The fast tests with new random examples; a failure prints how to repeat it
	$(VENV)/bin/python -m pytest --numprocesses 2 -m 'not kernel and not browser' --hypothesis-profile explore

test-browser: $(VENV)/.browser  ## The panel in JupyterLab and Notebook 7, in Chromium
	$(VENV)/bin/python -m pytest --numprocesses 2 -m browser tests

test-floor: $(FLOOR)/.test  ## All tests but those in a browser, on the oldest supported versions
	$(FLOOR)/bin/python -m pytest --numprocesses 2 -m 'not browser'

bench: $(VENV)/.test  ## What the extension costs, as ratios in one run
	$(VENV)/bin/python benchmarks/bench.py
	$(VENV)/bin/python benchmarks/watching.py
	$(VENV)/bin/python benchmarks/ledger.py
	$(VENV)/bin/python benchmarks/proof.py
	$(VENV)/bin/python benchmarks/verifying.py

# What the tests, linters and the documentation run with, resolved anew. What users install with the package stays free.
lock:  ## Renew the pinned versions of the development tools in constraints.txt
	rm -rf $(LOCK) && $(PYTHON) -m venv $(LOCK)
	grep '^torch==' constraints.txt > $(LOCK)/torch.txt
	$(LOCK)/bin/python $(INSTALL) --constraint $(LOCK)/torch.txt --editable '.[browser,docs]'
	$(LOCK)/bin/python .ci/lock.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(FLOOR) $(LOCK) docs/_build docs/jupyter_execute .mypy_cache .pytest_cache .ruff_cache .hypothesis
