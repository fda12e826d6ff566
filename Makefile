# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	&& echo $$p && break; done)
ifeq ($(PYTHON),)
$(error Python 3.10, 3.11 or 3.12 is needed: install one, or name it with PYTHON=...)
endif
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := locks/python-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
PIP := -m pip --quiet --disable-pip-version-check
ROOMS := support configs model training fhe eval
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-all coverage checks lint typecheck imports tree docs docs-check \
	transcripts lock clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

install: $(READY)  ## make .venv and install the locked versions

$(READY): $(LOCK) pyproject.toml
	@echo "Installing into $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install --require-hashes -r $(LOCK)
	$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $(READY)

demo: $(READY)  ## compose songs, train, compile, identify noisy clips under real FHE
	$(BIN)/hushtune demo

test: checks  ## linters, types, import contracts, and all tests but the slow ones
	$(PYTEST) -m "not slow"

test-slow: $(READY)  ## only the slow tests
	$(PYTEST) -m slow

test-all: test test-slow  ## everything

coverage: $(READY)  ## which lines all tests run, in worker and server processes, too
	$(PYTEST) --cov --cov-report=term --cov-report=html:build/coverage/html

checks: lint typecheck imports  ## what needs no test run

lint: $(READY)  ## ruff: mistakes and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

typecheck: $(READY) tree  ## mypy, strict
	cd build/tree && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p hushtune

imports: $(READY) tree  ## which room may import which
	cd build/tree && ../../$(BIN)/lint-imports --no-logo --no-cache ../../pyproject.toml

tree:  # the package as it is installed: rooms within hushtune
	@rm -rf build/tree && mkdir -p build/tree/hushtune
	@ln -s $(addprefix ../../../,$(ROOMS) $(filter-out %__pycache__,$(wildcard hushtune/*))) build/tree/hushtune/

docs: $(READY)  ## build the docs site into build/docs; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

docs-check: $(READY)  ## which generated parts of README and docs are stale, and how to renew them
	$(BIN)/python docs/check.py

transcripts: $(READY)  ## run demo and tutorial anew, and write what they print and draw into README and docs
	$(BIN)/python docs/run_demo.py
	$(BIN)/python docs/run_tutorial.py

lock:  ## resolve the dependencies anew for this Python (minutes; PYTHON=python3.10 for another)
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python $(PIP) install --prefer-binary --dry-run --ignore-installed \
		--report build/lock.json ".[dev]" setuptools==75.3.0 wheel
	$(PYTHON) locks/write.py build/lock.json > build/lock.txt
	mv build/lock.txt $(LOCK)

clean:  ## remove .venv, runs and build leftovers
	rm -rf $(VENV) runs build dist *.egg-info
