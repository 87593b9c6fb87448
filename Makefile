# Everything a newcomer needs: `make demo` and `make test` set up their own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: help setup demo test docs lint types unit notebooks clean

help:
	@echo "make demo   pretrain and probe on synthetic faces; prints a table and writes runs/demo/report.html"
	@echo "make test   lint, types and tests"
	@echo "make docs   the documentation as pages in site/; warnings are errors"
	@echo "make notebooks   run the notebooks, two at a time; their outputs are not kept"
	@echo "make clean  remove the environment and caches (runs/ stays)"

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/pcfrl demo

test: lint types unit

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest -n 2

# one thread each, because two run at a time; the notebooks call pcfrl, so it has to be on the path
notebooks: setup
	PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake -n 2 notebooks

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
