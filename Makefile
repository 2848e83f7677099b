# Spyhole's developer verbs. `make help` lists them; each sets up what it needs the first time.

PYTHON ?= python3
# Every interpreter has an environment of its own: python3 → .venv, python3.12 → .venv-3.12
VENV := .venv$(patsubst %,-%,$(patsubst python%,%,$(filter-out python3,$(notdir $(PYTHON)))))
READY := $(VENV)/.ready

BENCH_FLAGS ?=
DEMO_FLAGS ?=
FUZZ_RUNS ?= 40000
FUZZ_FLAGS ?=
SOAK_FLAGS ?=
TEST_FLAGS ?=

# What `make test` does a little of, besides tests/e2e/worn_down.
HEAVY := $(addprefix tests/e2e/test_,bytes_arrive.py every_hello.py limits.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all worn-down outside check fmt fuzz soak bench bench-quick clean

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12  use another interpreter, in an environment of its own"
	@echo "  DEMO_FLAGS=--once  flags for 'spyhole demo';  TEST_FLAGS='-k relay'  flags for pytest;  BENCH_FLAGS='--peers spyhole,haproxy'"

setup: $(READY)  ## make the environment (the others do it by themselves)

$(READY): pyproject.toml scripts/setup
	@scripts/setup $(PYTHON) $(VENV)
	@touch $@

demo: $(READY)  ## start the proxy with throwaway certificates and backends, and show what it does
	@$(VENV)/bin/spyhole demo $(DEMO_FLAGS)

test: $(READY)  ## run the tests (as root it first installs the peers that they talk to)
	@scripts/install-test-peers
	@$(VENV)/bin/python -m pytest $(TEST_FLAGS)

test-all:  ## run the tests under every supported Python that is found
	@scripts/test-all $(TEST_FLAGS)

worn-down: $(READY)  ## the tests of a proxy under attack, and the heavy ones, at full scale, with figures (some minutes)
	@scripts/install-test-peers
	@FULL_SCALE=1 $(VENV)/bin/python -m pytest tests/e2e/worn_down $(HEAVY) $(TEST_FLAGS)

outside: $(READY)  ## sslyze, testssl.sh, slowhttptest, h2load, wrk, and tlsfuzzer if TLSFUZZER=DIR, against Spyhole
	@scripts/install-test-peers
	@scripts/install-outside-suites $(PYTHON) .venv-outside
	@FULL_SCALE=1 $(VENV)/bin/python -m pytest tests/outside tests/e2e/test_malformed_handshakes.py $(TEST_FLAGS)

check: $(READY)  ## ruff, mypy --strict, import-linter
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy examples
	$(VENV)/bin/mypy bench
	$(VENV)/bin/mypy fuzz soak
	$(VENV)/bin/lint-imports

fmt: $(READY)  ## format, and mend what ruff can mend by itself
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix

fuzz: $(VENV)/.ready-fuzz  ## fuzz what reads a peer's bytes, FUZZ_RUNS executions a target (some two minutes)
	@PYTHONPATH=tests $(VENV)/bin/python -m fuzz --runs $(FUZZ_RUNS) $(FUZZ_FLAGS)

$(VENV)/.ready-fuzz: $(READY)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action ignore --editable '.[fuzz]'
	@touch $@

soak: $(READY)  ## wear a proxy down for minutes (SOAK_FLAGS='--seconds 600'), and check that nothing is left
	@PYTHONPATH=tests $(VENV)/bin/python -m soak $(SOAK_FLAGS)

bench: $(READY)  ## measure Spyhole and other proxies, in about half an hour (as root it first installs them)
	@scripts/install-bench-peers $(PYTHON) bench/build/peers
	@$(VENV)/bin/python -m bench $(BENCH_FLAGS)

bench-quick: $(READY)  ## the same in about three minutes
	@scripts/install-bench-peers $(PYTHON) bench/build/peers
	@$(VENV)/bin/python -m bench --quick $(BENCH_FLAGS)

clean:  ## remove the environments, caches and builds
	rm -rf .venv .venv-* build dist bench/build fuzz/build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
