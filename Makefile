# Needs Python 3.11 or newer, Node 20 or newer, and make. Every target sets up what it needs, once.
#
#   VENV=path      another virtual environment than .venv
#   PYTHON=python  the Python to make it with
#   ARGS='...'     further arguments for the program that a target runs

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help set-up demo test test-contracts test-python test-api test-ganache test-brownie test-ipfs-rpc bench
.PHONY: invariants prove slither brownie lint format contracts snapshots clean

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

RECENT := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c '$(RECENT)' >/dev/null 2>&1; then echo $$name; exit; fi; done; echo python3)
endif

# Written last, so that an interrupted set-up starts again.
PYTHON_READY := $(VENV)/.fedmarket-ready
PEERS_READY := $(VENV)/.fedmarket-peers-ready
NODE_READY := node_modules/.fedmarket-ready
IPFS_READY := tools/ipfs-rpc/node_modules/.fedmarket-ready
# Each needs other versions of packages that the project has, and so an environment of its own.
SYMBOLIC_VENV := .venv-symbolic
SLITHER_VENV := .venv-slither
BROWNIE_VENV := .venv-brownie
SYMBOLIC_READY := $(SYMBOLIC_VENV)/.fedmarket-ready
SLITHER_READY := $(SLITHER_VENV)/.fedmarket-ready
BROWNIE_READY := $(BROWNIE_VENV)/.fedmarket-ready
FORGE := ../tools/forge

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

set-up: $(PYTHON_READY) $(NODE_READY) ## install what the other targets need, and nothing else

demo: set-up ## a whole job on this machine: chain, trainers, cheats, payouts, audit
	$(BIN)/fedmarket demo $(ARGS)

test: test-contracts test-python ## all tests but those on Ganache

test-contracts: $(NODE_READY) ## forge: unit, fuzz, invariants, gas snapshots
	cd contracts && $(FORGE) test --gas-snapshot-check=true

test-python: set-up ## pytest: unit, integration, end to end
	$(BIN)/python -m pytest $(ARGS)

test-api: set-up ## the service against its own description: thousands of cases by schemathesis
	$(BIN)/python -m pytest -m fuzz -s tests/integration/test_api_fuzz.py $(ARGS)

test-ganache: set-up ## the end-to-end tests on Ganache in Anvil's place
	$(BIN)/python -m pytest -m ganache $(ARGS)

test-brownie: set-up $(BROWNIE_READY) ## the Brownie console, on a chain of its own
	$(BIN)/python -m pytest tests/brownie $(ARGS)

test-ipfs-rpc: set-up $(if $(FEDMARKET_KUBO_URL),,$(IPFS_READY)) ## a live IPFS daemon, or FEDMARKET_KUBO_URL
	$(BIN)/python -m pytest tests/integration/test_ipfs_rpc.py $(ARGS)

bench: set-up $(PEERS_READY) ## measure, and print the tables
	$(BIN)/python -m pytest tests/benchmarks -m bench -s --timeout=7200 $(ARGS)

invariants: $(NODE_READY) ## a million calls of the escrow's actors: docs/invariants.md says what they did
	tools/invariants docs/invariants.md

prove: $(SYMBOLIC_READY) ## conservation of money, proven by halmos for all amounts
	cd contracts && PATH="$(CURDIR)/tools:$(CURDIR)/$(SYMBOLIC_VENV)/bin:$$PATH" FOUNDRY_PROFILE=symbolic \
		halmos --forge-build-out cache/symbolic/out --loop 4 --solver yices --solver-timeout-assertion 300000 \
		--no-status $(ARGS) </dev/null

slither: $(SLITHER_READY) ## static analysis: what it finds has a reason in contracts/slither.toml
	mkdir -p contracts/cache/slither && rm -f contracts/cache/slither/report.json
	cd contracts && PATH="$(CURDIR)/tools:$$PATH" FOUNDRY_OUT=cache/slither/out FOUNDRY_CACHE_PATH=cache/slither/cache \
		"$(CURDIR)/$(SLITHER_VENV)/bin/slither" . --filter-paths node_modules --fail-none \
		--exclude-low --exclude-informational --exclude-optimization --json cache/slither/report.json 2>/dev/null
	cd contracts && "$(CURDIR)/$(SLITHER_VENV)/bin/python" ../tools/triage slither.toml cache/slither/report.json

brownie: $(BROWNIE_READY) ## a console with the deployed contracts, on the network that runs here
	@$(BROWNIE_VENV)/bin/python tools/brownie/console.py $(ARGS)

lint: set-up ## formats, types, direction of imports, stale artefacts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd contracts && $(FORGE) fmt --check
	cd contracts && $(FORGE) lint --deny notes
	cd contracts && $(FORGE) build --force --deny warnings
	$(BIN)/python -m market.chain.artefacts check

format: set-up ## rewrite Python and Solidity in the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	cd contracts && $(FORGE) fmt

contracts: set-up ## compile the contracts and write the artefacts that ship
	$(BIN)/python -m market.chain.artefacts write

snapshots: $(NODE_READY) ## write contracts/snapshots anew: review the difference
	rm -rf contracts/snapshots
	cd contracts && $(FORGE) test --gas-snapshot-emit=true

clean: ## remove what was built; .venv and node_modules stay
	rm -rf build dist *.egg-info contracts/out contracts/cache .hypothesis .import_linter_cache .mypy_cache
	rm -rf .pytest_cache .ruff_cache
	find aggregator fedmarket market tests trainer_client zk -name __pycache__ -type d -prune -exec rm -rf {} +

$(PYTHON_READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(RECENT)' >/dev/null 2>&1 || { echo "fedmarket needs Python 3.11 or newer, but '$(PYTHON)' is" \
		"$$($(PYTHON) --version 2>/dev/null || echo missing): name another with make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)" >&2; exit 1; }
	@echo "Installing the Python packages into $(VENV) (once; minutes, most of it PyTorch)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# What the benchmarks compare with. ByzFL comes without what it requires: its rules need no torchvision, which would
# bring another PyTorch. Not every platform has all of it: the tables say what is missing.
$(PEERS_READY): $(PYTHON_READY)
	@echo "Installing what the benchmarks compare with into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]' && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps byzfl==0.0.11 && touch $@ || \
		echo "some of it cannot be installed here: the tables leave it out" >&2

$(SYMBOLIC_READY): TOOL := halmos==0.3.3
$(SLITHER_READY): TOOL := slither-analyzer==0.11.6
$(BROWNIE_READY): TOOL := -r tools/brownie/requirements.txt
$(BROWNIE_READY): tools/brownie/requirements.txt
$(SYMBOLIC_READY) $(SLITHER_READY) $(BROWNIE_READY): Makefile $(NODE_READY)
	@$(PYTHON) -c '$(RECENT)' >/dev/null 2>&1 || { echo "fedmarket needs Python 3.11 or newer: PYTHON=..." >&2; exit 1; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing $(TOOL) into $(@D) (once)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(TOOL)
	@touch $@

$(NODE_READY): package.json package-lock.json
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || { echo "fedmarket" \
		"needs Node 20 or newer with npm, but 'node' is $$(node --version 2>/dev/null || echo missing)" >&2; exit 1; }
	@echo "Installing the Solidity tools into node_modules (once)"
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(IPFS_READY): tools/ipfs-rpc/package.json tools/ipfs-rpc/package-lock.json
	@echo "Installing an IPFS daemon into tools/ipfs-rpc/node_modules (once; some minutes)"
	@cd tools/ipfs-rpc && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
