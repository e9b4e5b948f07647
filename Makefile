# Everything needed is set up on the way: a virtual environment in .venv, the dependencies in it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WORKERS ?= 4

.PHONY: run test check bench clean

run: $(READY)                 ## start the embedded sandbox, kill its engine, judge what happened
	$(BIN)/veloz-chaos run engine-crash

test: $(READY)                ## every test; a missing backend is a visible skip, or a failure with REQUIRE=toxiproxy
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -rs

check: $(READY)               ## the quick ones: style, types, layers, unit, property and docs tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(WORKERS) tests/unit tests/property tests/journals tests/docs

bench: $(READY)               ## the figures; see bench/README.md
	$(BIN)/python -m bench.all

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("veloz-chaos needs Python 3.11 or newer: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
