# Everything a newcomer or CI runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
SCALE ?= 1
# As the command line chooses: Chinese unless the terminal is English.
WORDS = $(if $(filter en% EN%,$(firstword $(DUTYLOOP_LOCALE) $(LC_ALL) $(LANG))),2,3)

.PHONY: help setup demo up down test test-long check bench proto fmt lock

help: ## List the targets | 列出各目标
	@awk -F':.*## | [|] ' -v words=$(WORDS) '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$words}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Build the Python environment (seconds) | 建立 Python 环境（数秒）

# uv comes with its hash from the lock; it then installs everything else.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dutyloop needs Python 3.11 or newer / 需要 Python 3.11 或更高版本")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p build
	@test -x $(BIN)/uv || { awk '/^uv==/{on=1; print; next} on&&/^[^ ]/{exit} on&&/--hash/{print}' requirements.lock > build/uv.txt && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r build/uv.txt; }
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

demo: setup ## Run the main job on the embedded stack (SCALE=10 for a tenth) | 在嵌入式系统上运行完整演示（SCALE=10 为十分之一）
	@$(BIN)/dutyloop demo --scale $(SCALE)

up: setup ## Start the embedded stack; DEMO=1 with the demo's city in it | 启动嵌入式系统；DEMO=1 时放入演示城市
	@$(BIN)/dutyloop up $(if $(DEMO),--demo --scale $(SCALE))

down: setup ## Stop the embedded stack | 停止嵌入式系统
	@$(BIN)/dutyloop down

test: setup ## Run the tests | 运行测试
	@$(BIN)/pytest -m "not long" $(ARGS)

test-long: setup ## Run the tests that take minutes each | 运行每项需数分钟的测试
	@$(BIN)/pytest -m long $(ARGS)

check: setup ## Exactly what CI runs: format, lint, types, generated code, layering, tests | 与 CI 相同：格式、检查、类型、生成代码、分层、测试
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python protos/generate.py --check
	$(BIN)/lint-imports --config pyproject.toml
	@$(MAKE) --no-print-directory test

bench: setup ## Print the benchmark table and write build/bench.json | 输出性能表并写入 build/bench.json
	@$(BIN)/python -m tests.bench

proto: setup ## Regenerate protos/gen | 重新生成 protos/gen
	@$(BIN)/python protos/generate.py

fmt: setup ## Format and sort imports | 格式化并整理导入
	@$(BIN)/ruff check --fix --select I . ; $(BIN)/ruff format .

lock: setup ## Resolve the dependencies again | 重新解析依赖
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
		--python-version 3.11 --all-extras pyproject.toml -o requirements.lock
