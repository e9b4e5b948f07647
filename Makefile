# Everything needed is set up on the way: a virtual environment in .venv, the dependencies in it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WORKERS ?= 2
#: What starts no whole stack, and so may run side by side; the others measure, and want the machine for themselves.
QUICK  := tests/unit tests/property tests/journals tests/docs

#: What hurts single processes, containers and pods; the last of these files starts a whole stack of them.
TARGETS := tests/conformance tests/proxy tests/catch tests/wire tests/docker tests/kubernetes
PODS   := tests/kubernetes/test_sandbox_stack.py

#: What starts whole stacks of processes; the last of these compares what was measured with what was so, by milliseconds.
STACKS := tests/sandbox tests/engine
EXACT  := tests/sandbox/test_failures.py tests/engine/test_killed.py

#: For the tests that start containers: the engine that they may use, if there is one.
ENGINE  = DOCKER_HOST=$$($(BIN)/python -m tests.infra.docker)
#: The same for the cluster.
CLUSTER = VELOZ_CHAOS_TEST_KUBECONFIG=$$($(BIN)/python -m tests.infra.cluster)

.PHONY: run test experiments slow lint check bench clean

run: $(READY)                 ## start the embedded sandbox, kill its engine, judge what happened
	$(BIN)/veloz-chaos run engine-crash

test: $(READY)                ## every test, whatever fails; a missing backend is a visible skip, or a failure with REQUIRE=toxiproxy
	@failed=0; set -x; \
	$(BIN)/python -m pytest -n $(WORKERS) -rs $(QUICK) || failed=1; \
	$(ENGINE) $(BIN)/python -m pytest -n 3 --dist loadgroup -rs -m "not kubernetes" $(TARGETS) || failed=1; \
	$(ENGINE) $(CLUSTER) $(BIN)/python -m pytest -n 3 --dist loadgroup -rs -m kubernetes $(TARGETS) --ignore $(PODS) || failed=1; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs $(STACKS) $(addprefix --ignore ,$(EXACT)) || failed=1; \
	$(ENGINE) $(CLUSTER) $(BIN)/python -m pytest -n 1 -rs $(EXACT) tests/experiments $(PODS) || failed=1; \
	exit $$failed

experiments: $(READY)         ## every experiment on every platform, with every flaw; hours, and wants the machine for itself
	EVERY=1 $(ENGINE) $(CLUSTER) $(BIN)/python -m pytest -n 0 -rs tests/experiments

slow: $(READY)                ## what needs another kernel: netem, control groups of version 2; minutes, under QEMU
	$(BIN)/python -m pytest -n 0 -rs tests/slow

lint: $(READY)                ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint                   ## the quick ones: style, types, layers, unit, property and docs tests
	$(BIN)/python -m pytest -n $(WORKERS) $(QUICK)

bench: $(READY)               ## the figures; see bench/README.md
	$(BIN)/python -m bench.all

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("veloz-chaos needs Python 3.11 or newer: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
