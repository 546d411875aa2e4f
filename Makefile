# `make demo` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := runs/demo
FAILURE := runs/uc_failure

.PHONY: demo test slow bench lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   both experiments of the paper, in small, in two minutes"
	@echo "make test   the tests and the linter"
	@echo "make slow   the tests that take minutes"
	@echo "make bench  speed, as ratios against PyTorch and numpy (installs PyTorch)"
	@echo "make clean  remove .venv and caches; runs stay"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[bench]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.bounds_vs_samples --preset=demo --out=$(DEMO) \
	  $(if $(wildcard $(DEMO)/config.json),--resume)
	$(BIN)/python -m experiments.uc_failure --preset=demo --out=$(FAILURE) \
	  $(if $(wildcard $(FAILURE)/config.json),--resume)

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

bench: $(VENV)/.installed-bench
	$(BIN)/python -m experiments.benchmark

clean:
	rm -rf $(VENV) .jax_cache .pytest_cache .ruff_cache .hypothesis
