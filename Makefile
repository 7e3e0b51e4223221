# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test cluster coverage docs site gpu gpu-quick lint notebooks drop-in open-weights clean

demo: $(VENV)/.demo
	$(BIN)/python -m launch.demo

# Every test that needs nothing but Python. Files are kept together, and tests/conftest.py puts the longest first.
# COVERAGE=1 measures the coverage, including subprocesses, and takes a third longer.
test: $(VENV)/.dev
	$(BIN)/python -m $(if $(COVERAGE),coverage run -m )pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 10 --ignore tests/cluster

# Faults on a real Slurm cluster of twelve nodes on this machine, after the other tests: its nodes need the cores.
cluster: $(VENV)/.dev
	$(BIN)/python -m pytest --durations 10 tests/cluster

# The documentation: served and rebuilt at every change, or built once into site/ with warnings as errors.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# After `make test COVERAGE=1`: report covered lines and branches, and fail below the floor in pyproject.toml.
coverage:
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage html --quiet
	$(BIN)/python -m coverage report --skip-covered

# Tests and benchmarks that need a GPU. The quick target skips tests of compilation and takes 3 minutes. Only files with
# such tests are collected, without the plugins of the others: a GPU machine may not have what those need.
CUDA_TESTS = $(BIN)/python -m pytest -o addopts="-ra --import-mode=importlib" -m cuda \
	$(shell grep -rl --include='*.py' 'mark\.cuda' tests)
gpu: $(VENV)/.dev
	$(CUDA_TESTS)
	$(BIN)/python -m benchmarks.transforms
	$(BIN)/python -m benchmarks.train --minutes 12

gpu-quick: $(VENV)/.dev
	$(CUDA_TESTS) -k "not compile"
	$(BIN)/python -m benchmarks.train --only fed variants --minutes 1.5

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Executes the notebooks in place, so that the outputs in the repository match this version.
notebooks: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python docs/notebooks/refresh.py

# Installed without dependencies: these tools pin versions that have no build for this Python.
drop-in: $(VENV)/.dev
	$(PIP) --no-deps --upgrade --target .dropin stepcount actinet asleep
	$(BIN)/python -m pytest tests/dropin

# make open-weights DATA=recordings/ [OPTIONS="--package"] : docs/open-weights.md describes the contents of the folder.
open-weights: $(VENV)/.demo
	$(BIN)/python -m launch.open_weights $(DATA) $(OPTIONS)

# torch first and alone: given a name and version, pip selects the build from the index of this machine.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'harnet needs Python 3.11 to 3.13')"
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch: a few minutes the first time"
	$(PIP) $$(grep '^torch==' constraints.txt)
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) -e ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo site .pytest_cache .mypy_cache .ruff_cache .hypothesis
