# Everything a newcomer needs is `make demo` and `make test`; both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint format crash sim sim-mutants nemesis failover recipes-soak bench bench-client bench-scale bench-recipes test-zookeeper docs screenshots clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.ready  ## a broker cluster on three servers: registration, elections, failures of both (40 s)
	$(BIN)/coord demo

test: $(VENV)/.ready lint  ## lint, types and every test (8 minutes)
	$(BIN)/python -m pytest

crash: $(VENV)/.ready  ## kill -9 the server 200 times under load; nothing acknowledged may be lost (4 minutes)
	$(BIN)/python -m tests.crash.kill_loop --kills 200

SEEDS ?= 1000
sim: $(VENV)/.ready  ## ensembles and their clients in virtual time, with every kind of trouble: 1,000 seeds (7 minutes)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

sim-mutants: $(VENV)/.ready  ## break the agreement on purpose, in one place after another: the simulator must see it
	$(BIN)/python -m tests.simulation.mutants

SECONDS ?= 600
nemesis: $(VENV)/.ready  ## real members killed, stopped and cut off under load; clients' histories are checked (10 minutes)
	$(BIN)/python -m tests.ensemble.nemesis --seconds $(SECONDS)

KILLS ?= 20
failover: $(VENV)/.ready  ## kill the leader 20 times under load: how long the clients of the others wait (1 minute)
	$(BIN)/python -m tests.ensemble.nemesis --kills $(KILLS)

SOAK_SECONDS ?= 300
recipes-soak: $(VENV)/.ready  ## 20 processes of three libraries want the same locks, permits and items, and are killed (5 minutes)
	$(BIN)/python -m tests.recipes.soak --seconds $(SOAK_SECONDS)

bench: $(VENV)/.ready  ## server, client, recipes and scale, in small: beside Apache ZooKeeper where that is installed (2 minutes)
	$(BIN)/python -m benchmarks

bench-client: $(VENV)/.ready  ## the clients beside kazoo and aiozk, on one server: calls, watches, memory (2 minutes)
	$(BIN)/python -m benchmarks.client

bench-scale: $(VENV)/.ready  ## many znodes, sessions, watches, waiters and members, beside Apache ZooKeeper (10 minutes)
	$(BIN)/python -m benchmarks.scale

bench-recipes: $(VENV)/.ready  ## the recipes beside kazoo's, on one server: hand-overs, wake-ups, throughput (3 minutes)
	$(BIN)/python -m benchmarks.recipes

test-zookeeper: $(VENV)/.ready  ## the tests that judge the server, run against Apache ZooKeeper (needs Java and its jar)
	COORD_TEST_ZOOKEEPER=1 $(BIN)/python -m pytest tests/client tests/recipes \
		tests/server/test_protocol.py tests/interop

docs: $(VENV)/.ready  ## the documentation as a site in docs/_build/html; warnings and broken links are errors (10 s)
	$(BIN)/python -m sphinx --fail-on-warning --nitpicky --keep-going --quiet -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

screenshots: $(VENV)/.ready  ## draw the pictures in docs/images anew (1 minute)
	$(BIN)/python -m docs.screenshots.shell
	$(BIN)/python -m docs.screenshots.top
	$(BIN)/python -m docs.screenshots.demo

lint: $(VENV)/.ready  ## ruff (lint and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready  ## let ruff reformat and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist docs/_build docs/reference/api
