# Every target sets up what it needs: an environment of its own in .venv, filled once.
#
#   make demo             the main job on the embedded scenes (SEEDS=3 for mean and spread)
#   make test             the test suite; `make test-all` adds the slow tests
#   make docs             the documentation as pages, in site/
#   make check            lint, types and the whole suite, as CI runs them
#
#   PYTHON=python3.12     another interpreter;  VENV=dir  another place for the environment

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
SEEDS ?= 1
PYTEST_ARGS ?=
# Tests beside each other, those of one file together: BESIDE="-n auto --dist loadfile"
BESIDE ?=

# The environment of the shell that called make stays outside ours.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX PIP_USER PIP_TARGET PIP_PREFIX
export PYTHONNOUSERSITE := 1

RUN := "$(VENV)/bin/python"
READY := $(VENV)/.installed

.PHONY: help demo test test-all lint format types docs check install clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,8p'

demo: $(READY)
	$(RUN) -m yolo9000.demo --seeds $(SEEDS)

test: $(READY)
	$(RUN) -m pytest $(BESIDE) $(PYTEST_ARGS)

# The last -m wins, and this one selects every test.
test-all: $(READY)
	$(RUN) -m pytest $(BESIDE) -m "slow or not slow" $(PYTEST_ARGS)

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(READY)
	$(RUN) -m mypy

# Strict (mkdocs.yml): a link that leads nowhere is an error. --quiet would hide such warnings from that, too.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build

check: lint types docs test-all

install: $(READY)

# The stamp is written last, so an installation that was cut short goes on the next time, and one that ended never runs
# again unless pyproject.toml is newer.
$(READY): pyproject.toml
	@set -e; \
	usable='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(RUN) -c "$$usable" >/dev/null 2>&1; then \
	  if [ -e "$(VENV)" ] && [ ! -f "$(VENV)/pyvenv.cfg" ]; then \
	    echo "make: $(VENV) is there and is no virtual environment; name another with VENV=dir." >&2; exit 1; \
	  fi; \
	  python="$(PYTHON)"; \
	  if [ -z "$$python" ]; then \
	    for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	      if "$$candidate" -c "$$usable" >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	    done; \
	  elif ! "$$python" -c "$$usable"; then \
	    echo "make: PYTHON=$$python is no Python >= 3.11 with the modules venv and ensurepip." >&2; exit 1; \
	  fi; \
	  if [ -z "$$python" ]; then \
	    echo "make: found no Python >= 3.11 with the modules venv and ensurepip (Debian: apt-get install python3-venv)." >&2; \
	    echo "make: if there is one, name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	  fi; \
	  "$$python" -m venv --clear "$(VENV)"; \
	fi
	@echo "Installing into $(VENV): PyTorch is large, this takes some minutes, once."
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[demo,dev]"
	@touch "$@"

clean:
	if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
