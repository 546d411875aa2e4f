# `make demo` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# What the tests find installed: `make test EXTRAS=test,frameworks,parquet,bench` skips none.
EXTRAS ?= test
comma := ,
TESTED := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
DEMO := runs/demo
FAILURE := runs/uc_failure

CARD := runs/card
BEYOND := runs/beyond
LIBRARY := runs/library
CERTIFICATES := runs/certificates

.PHONY: demo card beyond certificates test check slow bench device-check library lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   both experiments of the paper, in small, and a report card, in three minutes"
	@echo "make card   the report card: every bound in every trial, from the table that comes with it"
	@echo "make beyond the tools beyond uniform convergence, side by side on the spheres, in six minutes"
	@echo "make test   the tests and the linter"
	@echo "make check  the linter and the quick half of the tests (tests/quick.py says which)"
	@echo "make slow   the tests that take minutes"
	@echo "make bench  speed, as ratios against PyTorch and numpy (installs PyTorch)"
	@echo "make device-check  is an accelerator right, and how fast? (JAX=cuda13 or tpu installs for one)"
	@echo "make library DATA=DIR  the README's table of all bounds on MNIST (DIR: its files)"
	@echo "make certificates DATA=DIR FASHION=DIR  every preset of certify, side by side: hours"
	@echo "make clean  remove .venv and caches; runs stay"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(TESTED): $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[bench]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.bounds_vs_samples --preset=demo --out=$(DEMO) \
	  $(if $(wildcard $(DEMO)/config.json),--resume)
	$(BIN)/python -m experiments.uc_failure --preset=demo --out=$(FAILURE) \
	  $(if $(wildcard $(FAILURE)/config.json),--resume)
	$(BIN)/python -m experiments.report_card --out=$(CARD) \
	  $(if $(wildcard $(CARD)/config.json),--resume)

card: $(VENV)/.installed
	$(BIN)/python -m experiments.report_card --out=$(CARD) \
	  $(if $(wildcard $(CARD)/config.json),--resume)

beyond: $(VENV)/.installed
	$(BIN)/python -m experiments.beyond_uc --preset=demo --out=$(BEYOND) \
	  $(if $(wildcard $(BEYOND)/config.json),--resume)

test: $(TESTED) lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(TESTED) lint
	$(BIN)/python -m pytest -n 2 --dist worksteal --quick

slow: $(TESTED)
	XLA_FLAGS= JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -m 'slow or rounding'

lint: $(TESTED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

bench: $(VENV)/.installed-bench
	$(BIN)/python -m experiments.tools.benchmark

device-check: $(VENV)/.installed
	$(if $(JAX),$(PIP) install -c constraints.txt 'jax[$(JAX)]')
	$(BIN)/python -m experiments.tools.device_check --out=runs/device_check.json

# One network, all bounds; then those that are trained for theirs: stochastic, drawn, of picked examples, of few bits.
library: $(VENV)/.installed
	$(BIN)/python -m experiments.bounds_vs_samples --problem=mnist $(if $(DATA),--data_dir=$(DATA)) \
	  --width=128 --depth=1 --sizes=8192 --seeds=1 --bounds=gradient_noise_epoch1 \
	  --out=$(LIBRARY)/network $(if $(wildcard $(LIBRARY)/network/config.json),--resume)
	$(BIN)/python -m experiments.evaluate \
	  --weights=$(LIBRARY)/network/weights/m8192_seed0_draw0.safetensors --out=$(LIBRARY)/bounds \
	  $(if $(wildcard $(LIBRARY)/bounds/config.json),--resume)
	$(BIN)/python -m experiments.certify --preset=perez_ortiz $(if $(DATA),--data_dir=$(DATA)) \
	  --out=$(LIBRARY)/posterior $(if $(wildcard $(LIBRARY)/posterior/config.json),--resume)
	$(BIN)/python -m experiments.certify --preset=single_draw $(if $(DATA),--data_dir=$(DATA)) \
	  --out=$(LIBRARY)/drawn $(if $(wildcard $(LIBRARY)/drawn/config.json),--resume)
	$(BIN)/python -m experiments.certify --problem=mnist --route=pick_to_learn --architecture=strided_cnn \
	  --width=16 --depth=3 --budget=900 --picks=45 --order=first --epochs=9 --batch_size=50 --shift=2 \
	  --learning_rate=0.05 --tried=4 $(if $(DATA),--data_dir=$(DATA)) --out=$(LIBRARY)/picked $(if $(wildcard $(LIBRARY)/picked/config.json),--resume)
	$(BIN)/python -m experiments.certify --preset=lotfi $(if $(DATA),--data_dir=$(DATA)) \
	  --out=$(LIBRARY)/subspace $(if $(wildcard $(LIBRARY)/subspace/config.json),--resume)
	$(BIN)/python -m experiments.certify --preset=quantised_scattering $(if $(DATA),--data_dir=$(DATA)) \
	  --out=$(LIBRARY)/quantised $(if $(wildcard $(LIBRARY)/quantised/config.json),--resume)
	$(BIN)/python -m experiments.tools.bounds_table \
	  --folders=$(LIBRARY)/bounds,$(LIBRARY)/network,$(LIBRARY)/posterior,$(LIBRARY)/drawn,$(LIBRARY)/picked,$(LIBRARY)/subspace,$(LIBRARY)/quantised

certificates: $(VENV)/.installed
	$(BIN)/python -m experiments.tools.certificates --out=$(CERTIFICATES) \
	  --readme=experiments/README.md --figure=experiments/gallery/certificates.png \
	  --rows=experiments/gallery/certificates.json \
	  $(if $(DATA),--data_dir=$(DATA)) $(if $(FASHION),--fashion_dir=$(FASHION))

clean:
	rm -rf $(VENV) .jax_cache .pytest_cache .ruff_cache .hypothesis
