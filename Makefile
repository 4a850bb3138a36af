# Everything works from a fresh clone: the first target that needs it makes .venv.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FIND_PYTHON = for p in python3.12 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && echo $$p && break; done
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install evolve test lint bench docs clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## ?(.*)/  make \1\t\2/' | expand -t 18
	@echo '  ARGS="..." is handed on, for example: make evolve ARGS="--windows 1"'

install: $(STAMP)  ## make .venv with everything in it

evolve: $(STAMP)  ## run the whole loop on the embedded streams
	$(BIN)/nestevo-hw evolve $(ARGS)

test: $(STAMP)  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --dist loadfile $(ARGS)

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## run every benchmark in its quick form
	@set -e; for script in benchmarks/*.py; do \
		test -e "$$script" || continue; \
		case "$$script" in *gpu_*) nvidia-smi >/dev/null 2>&1 || { echo "== $$script: no GPU, left out"; continue; };; esac; \
		echo "== $$script"; \
		$(BIN)/python "$$script" --quick $(ARGS); \
	done

docs: $(STAMP)  ## regenerate cli.md, files.md and the tables of docs/
	$(BIN)/python docs/build.py

clean:  ## remove .venv, caches and builds; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "Python 3.12 is needed and was not found: install it (python.org, pyenv, uv or your system's packages)," \
			"with its venv module, so that python3.12 runs" >&2; \
		exit 1; \
	fi; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv --clear $(VENV)
	@echo "Installing into $(VENV): some minutes and up to 7 GB, most of it PyTorch"
	@quiet=-q; if [ -t 1 ]; then quiet=; fi; \
	$(BIN)/python -m pip install $$quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
