# `make demo` and `make test` set up everything they need: a virtual environment in .venv, the packages, the run.

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Tests run in two processes, each file in one of them; PYTEST_ARGS='-n 0 -x --pdb' is one process and a debugger.
PYTEST_ARGS ?=

# The first interpreter that runs and is new enough; override with `make PYTHON=/path/to/python3.12 demo`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# On Linux without an NVIDIA driver the CPU build of torch saves a download of several GB.
CPU_TORCH := $(shell [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null && \
	sed -n 's/^ *"\(torch>=[^"]*\)".*/\1/p' pyproject.toml)

.PHONY: help demo test lint format clean

help:
	@echo "make demo    set up and imagine futures of the pushing table (offline once installed)"
	@echo "make test    set up and run every check: ruff, mypy, import contracts, pytest"
	@echo "make lint    the checks without pytest          make format   let ruff rewrite the code"
	@echo "make clean   remove the virtual environment and every cache"

demo: $(VENV)/installed
	$(BIN)/ivideo demo --overwrite

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11 or newer found; install one or say make PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV); the first time takes a minute or more"
ifneq ($(CPU_TORCH),)
	@$(PIP) install --no-deps --retries 1 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$(CPU_TORCH)" || \
		echo "no CPU build of torch within reach; the package index decides which build comes"
endif
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --editable '.[dev]'
	$(PIP) install --no-deps "taming-transformers>=0.0.1" # without its requirements, which break a CPU torch
	@touch $@
