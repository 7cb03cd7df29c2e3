# Each verb makes what it needs; a machine needs nothing but Python 3.11 or later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off
PORT ?= 8080

.DEFAULT_GOAL := help
.PHONY: help run demo test browser lint bench docs clean

help:  ## Show the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# The Python is looked at before anything is made: a wrong one would leave an environment that does not work.
$(VENV)/made: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no $(PYTHON). Name a Python 3.11 or later: PYTHON=python3.12 make $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1), and smartmob needs Python 3.11 or later." \
			"Name one: PYTHON=python3.12 make $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "1/2  Making an environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "2/2  Installing smartmob and what it needs: some 30 packages, 60 MB to fetch"
	@$(PIP) --editable '.[server]'
	@touch $@

$(VENV)/made-%: $(VENV)/made
	@echo "Installing what '$*' needs"
	@$(PIP) --editable '.[$*]'
	@touch $@

run: $(VENV)/made  ## Run the service on 127.0.0.1:8080 until CTRL-C
	$(BIN)/smartmob serve --port $(PORT)

demo: $(VENV)/made  ## Show the service with examples, until CTRL-C
	$(BIN)/smartmob demo

# Ten at a time on two cores: most tests wait for children, databases and sockets.
test: $(VENV)/made-tests $(VENV)/made-docs browser  ## Run all tests
	$(BIN)/python -m pytest --numprocesses 10 --dist worksteal $(ARGS)

# The pages are tested in Debian's Chromium, in its shell without windows where there is one: it takes half the processor
# time. Where neither is there and can be installed, those tests fail and say so.
browser:
	@command -v chromium-headless-shell >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
		{ apt-get update --quiet && apt-get install --quiet --yes chromium-headless-shell; } || \
		command -v chromium >/dev/null || apt-get install --quiet --yes chromium

lint: $(VENV)/made-lint  ## Check format, style, types, imports and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell smartmob tests docs benchmarks examples README.md CONTRIBUTING.md THREAT_MODEL.md SECURITY.md CHANGES.md CHANGES

bench: $(VENV)/made-bench  ## Measure against the physical limit and against peers
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/made-docs browser  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --nitpicky --keep-going -b html docs docs/_build/html

clean:  ## Remove what the other verbs made
	rm -rf $(VENV) .cache .tox build dist docs/_build *.egg-info
