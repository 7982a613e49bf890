# Two commands do all the set-up on a fresh machine: `make vq2d` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready

.PHONY: setup weights vq2d test lint types evidence clean

setup: $(READY)

# torch and torchvision come as a matching pair; sam2 and fast-slic cannot be built in isolation.
$(READY): pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip "setuptools>=77" wheel
	$(PIP) "torch==2.14.1" "torchvision==0.29.1"
	$(PIP) --editable ".[dev]"
	SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation --no-deps "sam2==1.1.0"
	$(PIP) cython numpy
	$(PIP) --no-build-isolation --no-deps --no-cache-dir "fast-slic==0.4.0" \
		|| echo "fast-slic could not be built (a C compiler is needed); scikit-image's SLIC stands in"
	touch $@

weights: $(READY)
	$(BIN)/python pipelines/fetch_weights.py embedded

vq2d: weights
	$(BIN)/python pipelines/run_vq2d.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint weights
	$(BIN)/python -m pytest -m "not gpu and not slow"

# Figures of the README that take longer than a test; needs ../shared/data and quiet cores.
DATA ?= ../shared/data
evidence: weights
	$(BIN)/python pipelines/run_compute.py --out runs/evidence/compute.json
	$(BIN)/python pipelines/run_reid.py --data $(DATA) --sets davis_dev synvq_dev \
		--out runs/evidence/reid.json
	for set in realvq_dev synvq_dev; do \
		$(BIN)/python pipelines/run_vq2d.py --data $(DATA)/$$set --preset embedded --true-seeds \
			--out runs/evidence/$$set || exit 1; \
	done
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache build *.egg-info
