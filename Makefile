# Everything one does here, from a machine that has only python3 (3.11 or later) and make.
#
#   make bench       run the quickstart plan; prints the table and where the report lies
#   make test        the whole test suite, without benchmarks and soak tests
#   make check       formatting, lint, types, layers
#   make benchmark   what things cost, as ratios to floors measured in the same run
#   make notebooks   execute the notebooks on recorded data
#   make soak        tests that take long, and the invariants of routing over thousands of cases
#   make cassettes  write cassettes/pool anew, byte for byte the same
#   make setup       the virtual environment (every target above makes it when needed)
#   make lock        pin the newest allowed dependencies anew; needs uv
#   make clean       remove the environment and all caches
#
# PYTHON=python3.12 make test   uses another interpreter for a new environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV = $(firstword $(wildcard $(BIN)/uv) uv)

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: bench test check benchmark notebooks soak cassettes setup lock clean
.DEFAULT_GOAL := bench

bench: $(READY)
	@$(BIN)/clawbench run configs/quickstart.toml

test: $(READY)
	@$(BIN)/pytest

check: $(READY)
	@$(BIN)/ruff format --check --quiet --output-format concise . || { echo "Some files are not formatted: run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@echo "formatting, lint, types and layers are in order"

benchmark: $(READY)
	@$(BIN)/pytest tests/benchmarks --benchmark-only --benchmark-columns=median,ops --benchmark-sort=name

notebooks: $(READY)
	@$(BIN)/pytest tests/test_notebooks.py

soak: $(READY)
	@HYPOTHESIS_PROFILE=soak $(BIN)/pytest -m "soak or invariant"

cassettes: $(READY)
	@$(BIN)/clawbench emulate configs/emulator.toml --record cassettes/pool

setup: $(READY)

# The lock file is complete, so nothing is resolved (--no-deps): an older pip would look at releases newer than the pins for
# what is asked for with extras, and stop. `pip check` says afterwards that nothing is missing.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "clawbench needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Name another one: make PYTHON=python3.12"; exit 1; }
	@echo "installing what requirements.lock pins into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip check > $(VENV)/pip-check.log || { cat $(VENV)/pip-check.log; exit 1; }
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

# Pins for every platform and every supported Python, with hashes; names no index, so any mirror serves.
lock:
	@env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(UV) pip compile --quiet --no-config --universal --python-version 3.11 \
	    --upgrade --generate-hashes --only-binary :all: --all-extras \
	    --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml -o requirements.lock

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
