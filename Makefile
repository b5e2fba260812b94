# Everything runs in .venv, which is made when it is missing or when its recipe below has changed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
EXTRAS := convert,lsp,notebook,objects,pandas,parquet,peft,quantize,ray,report,serve,slurm,vlm

# bytecode is kept, whatever the environment says: else each of the many processes that tests start
# compiles the package anew
unexport PYTHONDONTWRITEBYTECODE

# one process a core, four at most: each holds torch and a model; a file's tests stay together, and
# files come in the order of tests/conftest.py: the longest first
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
    --no-loadscope-reorder

.PHONY: demo test quick lint vectors findings setup browser clean
.DELETE_ON_ERROR:

demo: $(READY)          ## run the quickstart recipe
	$(BIN)/mfv run recipes/quickstart.mfv

test: $(READY) browser  ## run all tests
	$(PYTEST)

quick: $(READY)         ## run the tests that are not marked slow
	$(PYTEST) -m "not slow"

lint: $(READY)          ## style, then types (strict for lang, plan, engine)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

vectors: $(READY)       ## make the bundled vectors anew
	$(BIN)/mfv run recipes/vectors.mfv

findings: $(READY)      ## make the tables of docs/findings.md anew; goes on where it was interrupted
	$(BIN)/python -m docs.make_findings

setup: $(READY)

browser: $(READY)       ## install the browser that some tests open pages in, where there is none
	$(BIN)/python -m tools.browser

# torch first and alone: its version decides what the rest may bring along
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]' \
	    build hatchling hypothesis interegular 'moto[server]' mypy nbclient playwright pytest pytest-xdist ruff
	$(BIN)/python -m pip install --quiet --no-deps open_flamingo==2.0.1
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
