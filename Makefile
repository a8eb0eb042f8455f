# `make demo` and `make test` are all that a fresh Debian machine with Python, pip and venv needs.
# Everything goes into .venv; PYTHON chooses the interpreter that it is made with.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.10; do \
	"$$python" -c '$(SUPPORTED)' 2>/dev/null && { echo "$$python"; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALLED_BY := setup.cfg pyproject.toml constraints.txt

.PHONY: help demo test test-all test-pi bench bench-quick check firmware fuzz format constraints system-packages clean

help:  ## these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: .venv/.demo  ## the whole loop on this machine, in under four minutes
	$(BIN)/edgeloop demo

test: system-packages check  ## lint, format, types, and the tests
	$(BIN)/python -m pytest -m "not slow"

test-all: system-packages check  ## `make test` and the slow campaigns
	$(BIN)/python -m pytest

test-pi: .venv/.dev  ## the wheel and int8 models in an emulated Raspberry Pi (as root)
	@scripts/system_packages.sh debootstrap qemu-user-static
	$(BIN)/python scripts/pi/run.py

bench: system-packages .venv/.dev  ## every suite beside its peers: benchmarks/RESULTS.md, an hour
	$(BIN)/python benchmarks/run_suites.py

bench-quick: system-packages .venv/.dev  ## the same with short settings, into out/bench: ten minutes
	$(BIN)/python benchmarks/run_suites.py --quick --results out/bench/RESULTS.md

check: .venv/.dev  ## lint, format and strict types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

firmware:  ## the firmware for all boards, and as a process: firmware_bridge/firmware/build
	$(MAKE) -C firmware_bridge/firmware

fuzz:  ## a minute of libFuzzer at the firmware's parser
	@scripts/system_packages.sh clang
	$(MAKE) -C firmware_bridge/firmware fuzz

format: .venv/.dev  ## mend what can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints:  ## pin the newest versions: needs python3.10 and python3.11
	python3.11 scripts/constraints.py python3.10 python3.11 > constraints.new
	mv constraints.new constraints.txt

system-packages:
	@scripts/system_packages.sh mosquitto chromium unzip gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
		openssh-server cppcheck

clean:  ## all that was made here, .venv too
	rm -rf firmware_bridge/firmware/build .venv build dist out .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name '*.egg-info' -prune -exec rm -rf {} +

.venv/.made:
	@test -n "$(PYTHON)" || { echo "edgeloop needs Python 3.10 to 3.13, and finds none; here python3 is" \
		"$$(python3 --version 2>&1). Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || { echo "edgeloop needs Python 3.10 to 3.13;" \
		"$(PYTHON) is $$("$(PYTHON)" --version 2>&1)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv:" \
		"apt install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	touch $@

# Editable: what is installed is this tree. The tests try the wheel in an environment of its own.
.venv/.dev: .venv/.made $(INSTALLED_BY)
	@echo "installing into .venv: a few minutes the first time"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/.demo

.venv/.demo: .venv/.made $(INSTALLED_BY)
	@echo "installing into .venv: a few minutes the first time"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[convert,bridge,bench,fleet]'
	touch $@
