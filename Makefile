# Two commands matter: `make run` and `make check`. Both build .venv from hash-locked requirements first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The lock is complete: pip must neither resolve nor look for anything newer.
LOCKED := install --require-hashes --no-deps -r
PYTEST_WORKERS ?= 2
# Measurements of the whole service, which have targets of their own.
BENCH_WHOLE := tests/bench/bench_peers.py tests/bench/bench_idle.py

.PHONY: run check long fuzz bench bench-peers bench-idle test lint format types layers protos docs lock clean help

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=… chooses one)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python requirements/run.txt pyproject.toml
	@echo "setting up $(VENV) (locked, with hashes)"
	@$(PIP) $(LOCKED) requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "adding the development tools (locked, with hashes)"
	@$(PIP) $(LOCKED) requirements/dev.txt
	@touch $@

run: $(VENV)/.run ## embedded API + service + demo feed in one process; ARGS="--duration 10"
	@$(BIN)/websocketmanager dev $(ARGS)

check: $(VENV)/.dev ## format, lint, types, layers, generated files, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python tools/generate.py --check
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(ARGS)

long: $(VENV)/.dev ## the long proofs: 200 connections and 20 kills, a 30 s outage, random streams
	@WEBSOCKETMANAGER_LONG_TESTS=1 $(BIN)/python -m pytest tests/system -m long $(ARGS)
	@WEBSOCKETMANAGER_LONG_TESTS=1 $(BIN)/python -m pytest tests/adapters/test_websocket_differential.py

fuzz: $(VENV)/.dev ## templates and patterns under random damage, 60 s each
	@FUZZ_SECONDS=60 $(BIN)/python -m pytest -n 2 tests/domain/test_template.py tests/domain/test_pattern.py -k fuzzed $(ARGS)

# Go is needed for the other end of the feeds, and for the peer.
bench: $(VENV)/.dev ## what our own paths cost; ARGS for the last: the service under every load
	@for each in guard $(patsubst tests/bench/%.py,%,$(filter-out $(BENCH_WHOLE),$(wildcard tests/bench/bench_*.py))); \
	 do echo "$$each"; $(BIN)/python -m tests.bench.$$each || exit 1; done
	@$(BIN)/python -m tests.bench.bench_peers --variants 'driver*' 'client*' --rounds 3 --wide-rounds 1 --json build/bench/service.json $(ARGS)

bench-peers: $(VENV)/.dev ## beside benthos and a plain script; ARGS="--docs" renews docs/performance.md
	@$(BIN)/python -m tests.bench.bench_peers $(ARGS)

bench-idle: $(VENV)/.dev ## 1,000 and 10,000 idle connections: memory, CPU, recovery; ARGS="--docs"
	@$(BIN)/python -m tests.bench.bench_idle $(ARGS)

test: $(VENV)/.dev ## tests only; ARGS="-k name"
	@$(BIN)/python -m pytest $(ARGS)

format: $(VENV)/.dev ## rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

protos docs: $(VENV)/.dev ## regenerate _proto/ and docs/lifecycle.md
	@$(BIN)/python tools/generate.py

lock: ## renew requirements/*.txt (needs uv on the PATH)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml requirements/run.in -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml requirements/run.in requirements/dev.in -c requirements/run.txt -o requirements/dev.txt

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
