# Every target sets itself up in .venv, from a fresh clone.
#
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
#
# takes torch from that index (here: its CPU build, which spares several GB of CUDA packages on
# Linux); without it torch comes from where pip takes everything. On Linux the extra "dev" includes
# Ray (80 MB), for the test of a cluster; elsewhere that test is skipped.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=

# A virtual environment of Windows has its programs in another folder.
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/.ready

.PHONY: help demo test test-slow coverage lint bench fuzz audit clean
.DEFAULT_GOAL := help

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST))

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install -q -c constraints.txt --no-deps --index-url $(TORCH_INDEX) torch)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## Embed and restore the sample photos and the sample clip, into demo/.
	$(BIN)/python examples/demo.py

# One process a core, each with one thread: the networks of the tests are small.
PYTEST := $(BIN)/python -m pytest -n auto

test: $(READY) ## Run the tests but the slow ones.
	$(PYTEST) -m "not slow"

test-slow: $(READY) ## Run the slow tests: bundled models, examples, benchmarks.
	$(PYTEST) -m slow

coverage: $(READY) ## Run all tests and show which lines they reach.
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

lint: $(READY) ## Check style and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY) ## Measure quality and speed of the bundled models on the sample media.
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/survival.py --limit 1
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/end_to_end.py --repeat 1
	$(BIN)/python benchmarks/effort.py

fuzz: $(READY) ## Feed mutated files to every reader and command, for MINUTES=1.
	$(BIN)/python benchmarks/fuzz.py --minutes $(or $(MINUTES),1)

audit: $(READY) ## Look up known vulnerabilities of the versions in constraints.txt.
	$(BIN)/python -m pip install -q pip-audit
	$(BIN)/python -m pip_audit --strict --disable-pip --no-deps -r constraints.txt

clean: ## Remove .venv, demo/ and all caches.
	rm -rf $(VENV) demo build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache fuzz-faults
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
