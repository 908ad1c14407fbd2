# The same few verbs here and in CI. Every environment is made on first use and kept until what it is built from changes.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
HOST ?= 127.0.0.1
PORT ?= 8000
DATA ?= ../shared/data
ARGS ?=

DEV := .venv
SERVE := .venv-serve
RAY := .venv-ray
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help serve test test-system system-deps lint format bench bench-deps train docs constraints clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

BUILD := pyproject.toml constraints.txt hatch_build.py $(wildcard src/vedette/native/*.c src/vedette/native/*.h src/vedette/native/regex_to_c.py src/vedette/tokenization/screen*.py src/vedette/tokenization/text_view.py src/vedette/parsing/shapes.py)

# A stamp names what was installed, so that a second run starts at once.
$(DEV)/.stamp: $(BUILD)
	@test -n "$(PYTHON)" || { echo "Vedette needs Python 3.11 or newer." >&2; exit 1; }
	@test -x $(DEV)/bin/python || { echo "Creating $(DEV) ..."; $(PYTHON) -m venv $(DEV); }
	@echo "Installing Vedette with its test and training tools into $(DEV) (once; torch takes a while) ..."
	@$(DEV)/bin/python -m pip install $(PIP_FLAGS) --no-compile --editable '.[dev]'
	@touch $@

$(SERVE)/.stamp: $(BUILD)
	@test -n "$(PYTHON)" || { echo "Vedette needs Python 3.11 or newer." >&2; exit 1; }
	@test -x $(SERVE)/bin/python || { echo "Creating $(SERVE) ..."; $(PYTHON) -m venv $(SERVE); }
	@echo "Installing Vedette into $(SERVE) (once) ..."
	@$(SERVE)/bin/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

# Ray is large and only its own tests need it. With byte code, as each of its many processes would compile it anew.
$(RAY)/.stamp: $(BUILD)
	@test -n "$(PYTHON)" || { echo "Vedette needs Python 3.11 or newer." >&2; exit 1; }
	@test -x $(RAY)/bin/python || { echo "Creating $(RAY) ..."; $(PYTHON) -m venv $(RAY); }
	@echo "Installing Vedette with Ray into $(RAY) (once; takes a while) ..."
	@$(RAY)/bin/python -m pip install $(PIP_FLAGS) --editable '.[ray]' pytest pytest-asyncio
	@touch $@

serve: $(SERVE)/.stamp ## Run the service with the shipped model on 127.0.0.1 (PORT=8000, HOST=, ARGS=)
	@exec $(SERVE)/bin/vedette serve --host $(HOST) --port $(PORT) $(ARGS)

test: $(DEV)/.stamp ## Pass the tests that need only what pip installs (ARGS="-k name")
	$(DEV)/bin/python -m pytest --ignore=tests/system $(ARGS)

test-system: $(DEV)/.stamp $(RAY)/.stamp ## Pass the tests against real servers (see system-deps) and Ray
	$(DEV)/bin/python -m pytest tests/system --ignore=tests/system/test_ray.py $(ARGS) $(NONE_CHOSEN)
	$(RAY)/bin/python -m pytest tests/system/test_ray.py $(ARGS) $(NONE_CHOSEN)

# ARGS may choose tests of one of the two only; pytest ends with 5 where there are none.
NONE_CHOSEN = $(if $(ARGS),|| test $$? -eq 5)

system-deps: ## Install the Debian packages that test-system needs (root)
	@./scripts/system_deps.sh

lint: $(DEV)/.stamp ## Check style, format and types
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

format: $(DEV)/.stamp ## Sort imports and format
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

bench: $(DEV)/.stamp ## Measure everything in benchmarks/ into bench.json (ARGS="FILE... --only NAME"; see bench-deps)
	$(DEV)/bin/python -m benchmarks.all $(ARGS)

bench-deps: ## Install the Debian packages that bench needs (root)
	@./scripts/bench_deps.sh

train: $(DEV)/.stamp ## Train a bundle into runs/ from the data under DATA= (ARGS=)
	$(DEV)/bin/vedette train $(DATA) $(ARGS)

docs: $(DEV)/.stamp ## Write the generated pages (settings, command line) anew
	$(DEV)/bin/python scripts/generate_docs.py

constraints: $(DEV)/.stamp $(RAY)/.stamp ## Pin what the test environments hold now
	$(DEV)/bin/python scripts/pin_constraints.py dev > constraints.txt.dev
	$(RAY)/bin/python scripts/pin_constraints.py ray --beside constraints.txt.dev > constraints.txt.new
	rm constraints.txt.dev && mv constraints.txt.new constraints.txt

clean: ## Remove caches and build results (the environments stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
