# The commands of the project. Needs python3 (3.11 or later) and make; everything else goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
PY      = $(VENV)/bin/python
STAMP   = $(VENV)/.installed-from
OLDEST ?= .venv-oldest
# Tests of the book and its tools, which are built with the pinned versions only.
BOOK_TESTS = test_axe_check.py test_book_extension.py test_book_symbols.py test_ci.py test_exercise_answers.py test_exercises.py \
    test_function_links.py test_layout.py test_mutants.py test_notebooks.py test_page_heads.py test_pages_check.py test_playground.py \
    test_print_book.py test_results.py test_search_sections.py test_set_up.py

# Every command uses this clone, and one BLAS thread a process.
export PYTHONPATH := $(CURDIR)
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# Packages are installed without bytecode (most modules are never imported): the first import of a module has to keep
# what it compiles, or every process compiles PyTorch again, for eight seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help book test test-all test-oldest fuzz pages-check axe pdf lab results mutants clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

book: $(STAMP) ## run the chapters that are stale and build the HTML; a warning is an error
	$(PY) tools/listings.py
	$(PY) tools/notebooks.py run
	@rm -rf _build # from nothing each time: a warning of a cached page would not be repeated
	$(VENV)/bin/jupyter-book build --warningiserror --keep-going --quiet .
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

CHECK  = $(PY) -m ruff check . && $(PY) -m mypy
PYTEST = $(PY) -m pytest -p tools.quick_start -n 2 --dist loadscope --no-loadscope-reorder --doctest-modules \
    --nbval --nbval-current-env --nbval-cell-timeout 300 --durations=10

test: $(STAMP) ## lint, types, unit tests, doctests, and every chapter executed again and compared
	$(CHECK)
	$(PYTEST) -m "not slow" chapters tests ddref

test-all: $(STAMP) ## the same and what is slow: several machines, the built package in an empty environment
	$(CHECK)
	$(PYTEST) chapters tests ddref

# The oldest scikit-learn asks for SCIPY_ARRAY_API where array-api-compat is installed. What old versions warn of is theirs.
test-oldest: $(OLDEST)/.installed ## the package with the oldest NumPy, PyTorch and scikit-learn that it allows
	SCIPY_ARRAY_API=1 $(OLDEST)/bin/python -m pytest -W default -m "not slow" --doctest-modules --durations=5 \
	    $(addprefix --ignore=tests/,$(BOOK_TESTS)) tests ddref

fuzz: $(STAMP) ## change files at random for SECONDS (default 60) and see how they are met
	$(PY) tests/fuzz.py $(or $(SECONDS),60)

pages-check: $(STAMP) ## look at every built page in headless Chromium, offline, wide and on a phone
	$(PY) tools/pages_check.py _build/html

axe: $(STAMP) ## ask axe-core whether every built page is accessible, light and dark
	$(PY) -m tools.axe_check _build/html

pdf: $(STAMP) ## print the built book as one PDF, _build/ddref.pdf
	$(PY) -m tools.print_book _build/html _build/ddref.pdf

lab: $(STAMP) ## open JupyterLab on the chapters
	$(PY) -m jupyterlab chapters

results: export OMP_NUM_THREADS = $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')
results: export OPENBLAS_NUM_THREADS = $(OMP_NUM_THREADS)
results: $(STAMP) ## measure the figures of results/*.json again (needs the data folder)
	$(PY) -m tools.results
	$(PY) -m tools.results_nonsurjective
	$(PY) -m tools.results_kip
	$(PY) -m tools.results_scaling
	$(PY) -m tools.results_tables
	$(PY) -m tools.results_page
	$(PY) -m tools.results_your_data
	$(PY) -m tools.results_ten_points
	$(PY) -m tools.results_photographs
	$(PY) -m tools.results_privacy
	$(PY) -m tools.results_privacy_release

mutants: $(STAMP) ## change thresholds and guards one by one and see whether a test fails (SAMPLE=0: all)
	$(PY) tools/mutants.py --sample $(or $(SAMPLE),120)

clean: ## remove the built book and the caches (not .venv, .venv-oldest)
	rm -rf _build .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

$(OLDEST)/.installed: requirements-oldest.txt
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --no-compile -r requirements-oldest.txt
	@touch $@

# The stamp holds what was installed: a changed time alone installs nothing.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ddref needs Python 3.11 or later; set PYTHON=")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@cat requirements.txt pyproject.toml | cmp -s - $@ || { \
	    echo "Installing requirements.txt into $(VENV) (less than a minute; with pip alone, a few)"; \
	    $(PY) tools/set_up.py; }
	@cat requirements.txt pyproject.toml > $@
