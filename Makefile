# Everything a newcomer or CI runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
SCALE ?= 1

.PHONY: help setup demo up down test test-long check bench proto fmt lock

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Build the Python environment (seconds)

# uv comes with its hash from the lock; it then installs everything else.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dutyloop needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p build
	@test -x $(BIN)/uv || { awk '/^uv==/{on=1; print; next} on&&/^[^ ]/{exit} on&&/--hash/{print}' requirements.lock > build/uv.txt && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r build/uv.txt; }
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

demo: setup ## Run the main job on the embedded stack (SCALE=10 for a tenth)
	@$(BIN)/dutyloop demo --scale $(SCALE)

up: setup ## Start the embedded stack; DEMO=1 with the demo's city in it
	@$(BIN)/dutyloop up $(if $(DEMO),--demo --scale $(SCALE))

down: setup ## Stop the embedded stack
	@$(BIN)/dutyloop down

test: setup ## Run the tests
	@$(BIN)/pytest -m "not long" $(ARGS)

test-long: setup ## Run the tests that take minutes each
	@$(BIN)/pytest -m long $(ARGS)

check: setup ## Exactly what CI runs: format, lint, types, generated code, layering, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python protos/generate.py --check
	$(BIN)/lint-imports --config pyproject.toml
	@$(MAKE) --no-print-directory test

bench: setup ## Print the benchmark table and write build/bench.json
	@$(BIN)/python -m tests.bench

proto: setup ## Regenerate protos/gen
	@$(BIN)/python protos/generate.py

fmt: setup ## Format and sort imports
	@$(BIN)/ruff check --fix --select I . ; $(BIN)/ruff format .

lock: setup ## Resolve the dependencies again
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
		--python-version 3.11 --all-extras pyproject.toml -o requirements.lock
