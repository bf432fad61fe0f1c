# `make help` lists the targets. Every target sets up what it needs, once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON_ENV := .venv/bin/python
NEW_STUBS := build/stubs
.PHONY: help setup setup-test generate lint fix test demo bench chaos images check-cards pins clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do \
	  printf '  make %-12s %s\n' "$$name" "$$what"; done

setup: ## Set up what the demo and the services need
	@scripts/setup.sh run

setup-test: ## Set up what tests, linters and benchmarks need as well
	@scripts/setup.sh test

demo: setup ## Fit a linker, move units of the shortcut classifier, and print the path of the report
	@.venv/bin/unitscope demo

test: setup-test ## Run all tests; where set-up is complete, a skipped integration test is a failure
	@UNITSCOPE_TEST_REQUIRE_ALL=$$(cat .venv/.test-complete) OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
	  $(PYTHON_ENV) -m pytest $(ARGS)

lint: setup-test ## Check style, types, imports between packages, protos and stubs
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	.venv/bin/buf lint
	@rm -rf $(NEW_STUBS) && mkdir -p $(NEW_STUBS)
	@scripts/generate.sh $(NEW_STUBS)
	@for file in $(NEW_STUBS)/unitscope/v1/*; do cmp "$$file" "unitscope/v1/$$(basename "$$file")" || \
	  { echo "the stubs are stale: run make generate"; exit 1; }; done

fix: setup-test ## Repair style where a tool can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

generate: setup-test ## Make the stubs in unitscope/v1 from protos/, and docs/tables.md from unitscope.tables
	scripts/generate.sh
	$(PYTHON_ENV) -m scripts.tables_page

bench: setup-test ## Measure, and write docs/benchmarks.md
	$(PYTHON_ENV) -m bench

chaos: setup-test ## Run jobs amid 50 kills and 10 outages of S3, RabbitMQ, Triton and all programs
	OMP_WAIT_POLICY=PASSIVE $(PYTHON_ENV) -m bench.chaos $(ARGS)

check-cards: setup-test ## Compute every figure on the model cards again
	$(PYTHON_ENV) -m packs.avatars check

images: ## Build the container images with docker, podman or buildah
	@scripts/images.sh

scan: ## Scan Dockerfile and manifests with checkov, in an environment of its own
	@scripts/scan.sh

pins: ## Write constraints.txt from what is installed
	@scripts/pins.sh

clean: ## Remove caches and the virtual environment; jobs and results in .unitscope stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
