# make demo  installs into .venv and runs the main job on loopback.
# make test  installs what the tests need and runs lint, types, layers and tests.
# make kill-table kills consumers and brokers of queues, with ten seeds, and prints a table.
# make soak  sends under every fault of the gateway, with twenty seeds, and prints a table.
# make catalogue brings the texts of the sources into the catalogue and compiles it.
# make bench measures the engine against the scripts people write by hand.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test types test-commands test-more-commands test-laws test-faults test-results test-rest test-doors test-dispatch test-journal soak kill-table catalogue bench lock clean

demo: .venv/installed
	@$(BIN)/xinshi demo

# Four at once, those first that often wait for other processes, those last that are short: so both cores are busy to the
# end. A command must find the engine compiled, whatever the environment says.
SHARDS := test-results test-commands test-more-commands test-laws test-faults test-rest test-dispatch test-doors test-journal types
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/pytest -p no:cacheprovider

test: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory --jobs 4 --keep-going --output-sync=target $(SHARDS)

test-commands: .venv/installed-test
	$(PYTEST) tests/cli/test_[a-n]*.py

test-more-commands: .venv/installed-test
	$(PYTEST) tests/cli/test_[!a-n]*.py

test-faults: .venv/installed-test
	$(PYTEST) tests/laws/test_under_faults.py

test-laws: .venv/installed-test
	$(PYTEST) tests/laws tests/runs --ignore tests/laws/test_under_faults.py

test-results: .venv/installed-test brokers
	$(PYTEST) tests/results tests/queues tests/tracking

test-dispatch: .venv/installed-test
	$(PYTEST) tests/dispatch

test-journal: .venv/installed-test
	$(PYTEST) tests/journal

# What comes in and goes out, and the words for it.
DOORS := config fuzz gateway language library notify simulator

test-doors: .venv/installed-test
	$(PYTEST) $(addprefix tests/,$(DOORS))

test-rest: .venv/installed-test
	$(PYTEST) $(addprefix --ignore tests/,cli laws runs results queues tracking dispatch journal $(DOORS))

types: .venv/installed-test
	$(BIN)/mypy

soak: .venv/installed-test
	$(BIN)/python -m tests.laws.soak

kill-table: .venv/installed-test brokers
	$(BIN)/python -m tests.queues.kill_table

catalogue: .venv/installed-test
	$(BIN)/python -m tests.language.catalogue

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml requirements.lock
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# RabbitMQ comes from the system. Where it cannot be installed its tests are skipped, and say so.
.PHONY: brokers
brokers:
	@sh tests/queues/install_rabbitmq.sh

# Holds all of requirements.lock: one look at the index does for both. Compiled when it is first loaded, since most of it never
# is: what every test loads here, before four at once would all compile it.
.venv/installed-test: .venv/bin/python pyproject.toml requirements.lock requirements-test.lock
	$(PIP) install --no-compile --require-hashes -r requirements-test.lock
	$(PIP) install --no-compile --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import hypothesis, pytest, tests.warm'
	@touch .venv/installed $@

# What is only compared with is neither locked nor needed by a test. wrk, for the floor, comes from the system.
.venv/installed-bench: .venv/installed-test pyproject.toml
	$(PIP) install --no-build-isolation -e '.[bench]'
	@touch $@

# Needs uv on the path. Hashes, no addresses.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra build pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra build --extra test pyproject.toml -o requirements-test.lock

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache
