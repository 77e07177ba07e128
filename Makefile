# Everything happens in .venv, made from requirements.lock: `make demo` and `make test` need Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# models and caches stay inside the checkout unless PREFDATA_HOME says otherwise
export PREFDATA_HOME ?= $(CURDIR)/.prefdata
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1
# a run starts many processes: without compiled files each compiles its libraries again, half of all their time
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint format docs audits bench bench-training peers peers-lock lock clean

demo: $(VENV)/ready ## run the sample recipe: raw log -> KTO data -> trained adapter -> report
	$(BIN)/prefdata run recipes/support_kto.yaml --out runs/demo --threads 2

test: $(VENV)/ready ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/ready ## what takes minutes: kill tests, the whole demo data
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: $(VENV)/ready ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

DATA ?= ../shared/data

docs: $(VENV)/ready ## make docs/formats.md again, from the code and the real sets in DATA
	$(BIN)/python scripts/formats_page.py --data $(DATA)

audits: $(VENV)/ready ## audit the real sets in DATA: a report each in runs/audits; docs/audits tells what was found
	@test -d $(DATA) || { echo "audits: no folder $(DATA); name it: make audits DATA=..." >&2; exit 2; }
	$(BIN)/python scripts/audits.py $(DATA) --out runs/audits

bench: $(VENV)/ready ## the comparisons, each prints its table; the real data is looked for in DATA
	@test -d $(DATA) || { echo "bench: no folder $(DATA); name it: make bench DATA=..." >&2; exit 2; }
	$(BIN)/python benchmarks/startup.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/signals.py $(DATA)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/near_duplicates.py $(DATA)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/toxicity.py --data $(DATA)
	@test -d runs/demo || echo "kto is left out: no runs/demo, which make demo makes"
	test ! -d runs/demo || $(BIN)/python benchmarks/kto.py runs/demo

bench-training: $(VENV)/ready ## training beside plain TRL, and what each method learns from real rows; two hours
	@test -d ../shared/data || { echo "bench-training: real rows are read from ../shared/data, which is not there" >&2; exit 2; }
	$(BIN)/prefdata model pull smollm2-135m
	$(BIN)/python benchmarks/training_equal.py
	$(BIN)/python benchmarks/training.py
	for method in sft dpo kto reward grpo; do $(BIN)/python benchmarks/learning.py $$method || exit 1; done
	$(BIN)/python benchmarks/memory.py --measure

PEERS := swift llamafactory axolotl verl

peers: $(VENV)/ready $(PEERS:%=.peers/%/ready) ## load our exports with each trainer's own dataset code (TRL's is in .venv); 21 GB
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/peers/compare.py --write docs/peers.md

.peers/%/ready: benchmarks/peers/%.txt | $(VENV)/uv
	test -x .peers/$*/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .peers/$*
	VIRTUAL_ENV=.peers/$* $(BIN)/uv pip sync --quiet $<
	touch $@

peers-lock: $(VENV)/uv ## pin the peers' environments again, without addresses
	for peer in $(PEERS); do $(BIN)/uv pip compile benchmarks/peers/$$peer.in --universal --python-version 3.11 \
		--no-annotate --no-header --quiet -o benchmarks/peers/$$peer.txt; done

$(VENV)/uv: Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	touch $@

$(VENV)/ready: $(VENV)/uv requirements.lock pyproject.toml
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

lock: $(VENV)/uv ## pin every dependency again, with hashes and without addresses
	$(BIN)/uv pip compile pyproject.toml --extra all --extra qlora --group dev --universal --generate-hashes \
		--no-annotate --no-header --quiet -o requirements.lock

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
