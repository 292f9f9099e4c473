# `make` alone says what there is. Everything is made below this folder (.venv, .work), as root or as an ordinary user;
# no package of the host is touched.

PYTHON := .venv/bin/python
ARGS :=
SECONDS := 600

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop test test-pythons test-branches fuzz lint lint-python lint-types lint-imports lint-shell bench clean venv-dev

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: ## a real pool, two sites, twelve user jobs, from nothing
	@infra/demo/venv.sh publisher,infra,demo
	@.venv/bin/glidepost demo

demo-stop: ## end everything that the demo has started
	@if [ -x .venv/bin/glidepost ]; then .venv/bin/glidepost demo --stop; fi

test: venv-dev ## all tests, with real daemons (GLIDEPOST_SKIP_REAL=1: without); ARGS="-k word" chooses
	@$(if $(ARGS),$(PYTHON) -m pytest $(ARGS),tests/all.sh)

test-pythons: venv-dev ## the unit tests on the oldest and the newest Python here
	@tests/pythons.sh

test-branches: venv-dev ## every branch of the code that decides what is believed has a test
	@$(PYTHON) tests/support/branches.py

fuzz: venv-dev ## hostile inputs for every parser of foreign bytes, for ten minutes; SECONDS=3600: an hour
	@tests/fuzz/long.sh $(SECONDS)

lint: lint-python lint-types lint-imports lint-shell ## style, types, who imports whom, shell

lint-python: venv-dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

lint-types: venv-dev
	@.venv/bin/mypy

lint-imports: venv-dev
	@.venv/bin/lint-imports

# Every file of ours that a shell runs: by its name, or by its first line. The glidein's parts are one script.
lint-shell: venv-dev
	@.venv/bin/shellcheck -x .ci/run $$(find backends glidein infra tests -type f \
	    \( -name '*.sh' -o -path '*/fakes/bin/*' \) ! -path '*/bootstrap/*' -exec grep -lE '^#!/bin/(ba|da)?sh|shellcheck shell=' {} +)
	@cat glidein/bootstrap/*.sh | .venv/bin/shellcheck -s sh -o all -

bench: venv-dev ## measurements, as ratios
	@if [ -d tests/bench ]; then $(PYTHON) -m pytest tests/bench -o python_files='bench_*.py' -s $(ARGS); \
	else echo "there is no tests/bench yet"; fi

clean: demo-stop ## remove what was made: .venv, .work, caches
	rm -rf .venv .work build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv-dev:
	@infra/demo/venv.sh dev
