# The verbs of the project, the same for people and for CI. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A changed source of the native kernels is built anew by the install.
KERNELS := $(wildcard src/lamina/native/*.cpp src/lamina/native/*.h src/lamina/native/*.inc) src/lamina/native/CMakeLists.txt

.PHONY: help setup demo test sanitize check ci bench bench-scaling bench-tables figures fuzz format clean conformance conformance-all pages
.DEFAULT_GOAL := help

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

setup: $(READY)  ## make .venv with the package and what its tests need

$(READY): pyproject.toml $(KERNELS)
	@echo "setting up $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q --editable '.[plot]'
	@$(BIN)/python -m pip install -q --group dev
	@touch $@

demo: $(READY)  ## train on handwritten digits and write the pictures
	@$(BIN)/lamina demo

test: $(READY)  ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

sanitize: $(READY)  ## run the native kernels alone under AddressSanitizer and UBSan, their threads under ThreadSanitizer
	@if command -v c++ >/dev/null; then \
	  for kind in address,undefined thread; do \
	    build=build/sanitize-$${kind%%,*}; \
	    $(BIN)/cmake -S src/lamina/native -B $$build -DLAMINA_SANITIZE=$$kind \
	      -DPython_EXECUTABLE=$(abspath $(BIN)/python) >/dev/null && \
	    $(BIN)/cmake --build $$build --target test_kernels -j 2 >/dev/null && \
	    $$build/test_kernels $$(test $$kind = thread && echo threads) || exit 1; \
	  done; \
	else echo "no C++ compiler: the native kernels are not tested"; fi

conformance: $(READY)  ## run the named files of Keras's own tests against lamina
	@$(BIN)/python -m tests.conformance

conformance-all: $(READY)  ## run all of Keras's test files that concern dense networks
	@$(BIN)/python -m tests.conformance --all

check: $(READY)  ## lint, format, types, direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

pages: $(READY)  ## write the pages that compare with Keras: docs/api.md, the end of docs/differences.md
	@$(BIN)/python -m tools.api_page
	@$(BIN)/python -m tools.differences

fuzz: $(READY)  ## read damaged files for ten minutes with each reader (FUZZ="--seconds 60 keras" for less)
	@$(BIN)/python -m tests.fuzz $(FUZZ)

ci: check test sanitize conformance  ## what CI runs: the checks, the tests, the kernels under sanitizers, Keras's own tests

bench: $(READY)  ## measure against the peers, print the table, write JSON and a picture (BENCH=--quick for less)
	@$(BIN)/python -m pip install -q --group bench
	@$(BIN)/python -m benchmarks $(BENCH)

bench-scaling: $(READY)  ## check how time grows with samples, width, depth and batch (BENCH=--quick for less)
	@$(BIN)/python -m benchmarks.scaling $(BENCH)

figures: $(READY)  ## write the figures in README and docs/performance.md (FILES="benchmarks/results/X.json")
	@$(BIN)/python -m benchmarks.pages $(FILES)

bench-tables: $(READY)  ## tables against boosted trees (TABLES="--splits 1 --models default" for less)
	@$(BIN)/python -m pip install -q --group tables
	@$(BIN)/python -m benchmarks.tables $(TABLES)

format: $(READY)  ## rewrite the sources in the house's form
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .

clean:  ## remove what the verbs made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache lamina-demo build
