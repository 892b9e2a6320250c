# make demo  installs into .venv and runs the main job on loopback.
# make test  installs what the tests need and runs lint, types, layers and tests.
# make bench measures the engine against the scripts people write by hand.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test bench lock clean

demo: .venv/installed
	@$(BIN)/xinshi demo

test: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: .venv/installed-test
	$(BIN)/python -m benchmarks

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml requirements.lock
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-test: .venv/installed requirements-test.lock
	$(PIP) install --require-hashes -r requirements-test.lock
	@touch $@

# Needs uv on the path. Hashes, no addresses.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra build pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra build --extra test pyproject.toml -o requirements-test.lock

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache
