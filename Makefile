# Hushgate. Every target does its own set-up; `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready
BUILD_READY := $(VENV)/.build-ready
BENCH_READY := $(VENV)/.bench-ready
# The hot path compiled (docs/adr/0009): whoever puts this folder first on the path runs it.
COMPILED := build/compiled
COMPILED_READY := $(COMPILED)/.ready
ON_COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR)
# Files of tests that need no machine for themselves: as many at a time as there are cores, at most four. The tests of
# one file run in one process, one after the other: they share what they start, and its ports.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
UP_ARGS ?=
BENCH_ARGS ?=
LOAD_ARGS ?=
CLUSTER_ARGS ?=
# The image: IMAGE names it, BASE_IMAGE what it is made from, DOCKER what makes it (docker, podman or "buildah").
IMAGE ?= hushgate:dev
BASE_IMAGE ?= python:3.11-slim-bookworm
DOCKER ?= docker
KIND_NAME := hushgate

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ---------------------------------------------------------------------------------------------------

$(BIN)/python:
	@bin/make-venv $(PYTHON) $(VENV)

$(RUN_READY): requirements/run.txt requirements/models.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/models.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . && touch $@

$(DEV_READY): requirements/dev.txt requirements/models.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/models.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . && touch $@ $(RUN_READY)

# What compiles: mypyc is in dev.txt, with mypy; setuptools and the tools of PESQ's build are in build.txt.
$(BUILD_READY): requirements/build.txt $(DEV_READY)
	@bin/build-tools $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@touch $@

# PESQ is published as source only.
$(BENCH_READY): requirements/bench.txt $(BUILD_READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r requirements/bench.txt
	@touch $@

$(COMPILED_READY): deploy/compile deploy/hot-modules.txt $(shell find services -name '*.py') $(BUILD_READY)
	@echo "compiling the hot path: about two minutes"
	@rm -rf $(COMPILED) && PATH=$(abspath $(BIN)):$$PATH deploy/compile $(COMPILED) && touch $@

.PHONY: compile
compile: $(COMPILED_READY) ## the hot path as native modules, into build/compiled (the sources stay as they are)

.PHONY: install
install: $(DEV_READY) ## editable install with everything, and the pre-commit hooks
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(BIN)/pre-commit install; fi

.PHONY: test-packages
test-packages: prometheus
	@bin/test-packages

.PHONY: lock
lock: $(DEV_READY) ## pin all dependencies anew, changing as few as possible
	bin/lock

# --- run ------------------------------------------------------------------------------------------------------

.PHONY: up
up: $(RUN_READY) ## everything on this machine, with the page (UP_ARGS='--port 9000')
	@exec $(BIN)/hushgate up $(UP_ARGS)

# --- check ----------------------------------------------------------------------------------------------------

.PHONY: format
format: $(DEV_READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --exit-zero .

.PHONY: lint
lint: $(DEV_READY) ## style, spelling, who imports whom, what nothing uses, shell scripts
	@bin/lint

.PHONY: types
types: $(DEV_READY) ## mypy, strict
	$(BIN)/mypy

.PHONY: check
check: lint types ## lint and types

# --- test -----------------------------------------------------------------------------------------------------

.PHONY: test
test: $(DEV_READY) ## everything that CI runs
	@$(MAKE) --no-print-directory -j2 --output-sync=target check compile
	@$(MAKE) --no-print-directory cover test-system test-compiled

.PHONY: test-unit
test-unit: $(DEV_READY) ## cores, contracts and shells; no browser
	$(BIN)/python -m pytest -m 'not system' $(SIDE_BY_SIDE)

.PHONY: cover
cover: $(DEV_READY) test-packages ## the same with the cores' branches counted: 100 %
	$(BIN)/python -m pytest -m 'beside or not system' $(SIDE_BY_SIDE) $(addprefix --cov=,$(wildcard services/*/core)) --cov-branch --cov-report=
	$(BIN)/coverage report --include='services/*/core/*' --fail-under=100

.PHONY: test-system
test-system: $(DEV_READY) test-packages ## whole calls: real NATS, WebRTC, Chromium, Firefox
	$(BIN)/python -m pytest -m 'system and not beside and not alone' $(SIDE_BY_SIDE)
	$(BIN)/python -m pytest -m alone

.PHONY: test-peers
test-peers: $(DEV_READY) test-packages ## calls of GStreamer and Pion (which needs Go), and of Chromium with an RSA key
	$(BIN)/python -m pytest tests/system/test_peers.py tests/system/test_certificates.py

.PHONY: test-compiled
test-compiled: $(COMPILED_READY) test-packages ## the compiled hot path: the tests that import it, and a whole call
	@tests=$$($(BIN)/python -m tests.compiled_tests); \
	$(ON_COMPILED) $(BIN)/python -m pytest -o 'pythonpath=$(COMPILED) .' -m 'not interpreted' $$tests

.PHONY: chart
chart: $(DEV_READY) ## the Helm chart: lint, render, schemas, policies, and its services with its NATS
	$(BIN)/python -m pytest tests/helm

.PHONY: chart-docs
chart-docs: $(DEV_READY) ## write the table of values in the chart's README anew
	$(BIN)/python -m tests.helm.readme

.PHONY: golden
golden: $(DEV_READY) ## write the golden files of the public messages anew
	$(BIN)/python -m pytest -q tests/contracts --write-golden

# --- measure --------------------------------------------------------------------------------------------------

.PHONY: bench
bench: $(DEV_READY) test-packages ## turn latency, barge-in and what was sent, into docs/bench
	$(BIN)/python -m tests.bench.turns

.PHONY: bench-media
bench-media: $(BENCH_READY) $(COMPILED_READY) test-packages ## calls per core, memory, latency, quality: the media process on a core of its own
	$(ON_COMPILED) $(BIN)/python -m tests.bench.media $(BENCH_ARGS)

.PHONY: bench-attacks
bench-attacks: $(DEV_READY) test-packages ## what floods and bad offers cost the calls beside them
	$(BIN)/python -m tests.bench.attacks

.PHONY: bench-handshakes
bench-handshakes: $(DEV_READY) ## CPU time of a DTLS handshake, through aiortc and without it, into docs/bench
	$(BIN)/python -m tests.bench.handshakes

.PHONY: bench-receive
bench-receive: $(DEV_READY) ## microseconds to receive one packet, by step
	$(BIN)/python -m tests.bench.receive

.PHONY: bench-rehearsal
bench-rehearsal: $(DEV_READY) test-packages ## sessions that the rehearsal serves on one core, into docs/bench (BENCH_ARGS='--light 300')
	$(BIN)/python -m tests.bench.rehearsal $(BENCH_ARGS)

.PHONY: bench-ledger
bench-ledger: $(DEV_READY) ## how many usage events a second the ledger books
	$(BIN)/python -m tests.bench.ledger

.PHONY: bench-network
bench-network: $(BENCH_READY) test-packages ## PESQ at loss and jitter, both ways (BENCH_ARGS=--quick: two networks only)
	$(BIN)/python -m tests.bench.network $(BENCH_ARGS)

.PHONY: bench-gate
bench-gate: $(DEV_READY) test-packages ## the gate on labelled recordings, into docs/bench and docs/images (BENCH_ARGS='--shared DIR')
	$(BIN)/python -m tests.bench.gate $(BENCH_ARGS)
	$(BIN)/python -m tests.docs.gate_guide

.PHONY: bench-barge-in
bench-barge-in: $(DEV_READY) test-packages ## what callers utter over an answer, and whether it stops, into docs/bench (BENCH_ARGS='--share 0.2')
	$(BIN)/python -m tests.bench.barge_in $(BENCH_ARGS)

.PHONY: bench-truncation
bench-truncation: $(DEV_READY) test-packages ## what we say was heard, against what a real Chromium rendered
	$(BIN)/python -m tests.bench.truncation

.PHONY: screenshots
screenshots: $(DEV_READY) test-packages ## the page in a real call, into docs/images
	$(BIN)/python -m tests.bench.screenshots

# --- image and clusters -----------------------------------------------------------------------------------------

.PHONY: image
image: ## the image, with its hot path compiled (IMAGE=hushgate:dev DOCKER=docker)
	$(DOCKER) build --build-arg BASE_IMAGE=$(BASE_IMAGE) --tag $(IMAGE) .

.PHONY: sbom
sbom: $(DEV_READY) ## what the image holds, as CycloneDX: build/sbom.json
	@mkdir -p build && cat requirements/run.txt requirements/models.txt >build/image.txt
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-file build/sbom.json build/image.txt

.PHONY: kind-up
kind-up: $(DEV_READY) ## a kind cluster with the chart in it, at http://127.0.0.1:30080 (needs docker, kind, helm, kubectl)
	@bin/kind-up $(KIND_NAME) '$(IMAGE)' '$(DOCKER)'

.PHONY: kind-load
kind-load: $(DEV_READY) test-packages ## calls against it, with a report in build/kind-load.html (LOAD_ARGS='--calls 50 --minutes 5')
	@mkdir -p build && umask 077 && kubectl --context kind-$(KIND_NAME) --namespace hushgate get secret hushgate-demo-tenant \
	  --output 'go-template={{index .data "tenant-key" | base64decode}}' >build/kind.key
	$(BIN)/hushgate load --url http://127.0.0.1:30080 --key-file build/kind.key --html build/kind-load.html --json build/kind-load.json $(LOAD_ARGS)

.PHONY: kind-down
kind-down: ## remove the kind cluster
	kind delete cluster --name $(KIND_NAME)

.PHONY: cluster-test
cluster-test: $(DEV_READY) test-packages ## all that the chart promises, on a real cluster (KUBECONFIG=… IMAGE=hushgate:dev CLUSTER_ARGS='--steps install test')
	@test -n "$${KUBECONFIG:-}" || { echo "name the cluster: make cluster-test KUBECONFIG=…" >&2; exit 1; }
	$(BIN)/python -m tests.cluster --kubeconfig "$$KUBECONFIG" --image $(IMAGE) $(CLUSTER_ARGS)

# --- dashboards -----------------------------------------------------------------------------------------------

PROMTOOL := build/prometheus/usr/bin/promtool
$(PROMTOOL):
	@bin/unpack-prometheus build/prometheus

.PHONY: prometheus
prometheus: $(PROMTOOL) ## what tests of dashboards and alerts need

.PHONY: dashboards
dashboards: $(DEV_READY) ## write the JSON of the Grafana dashboards into the chart
	$(BIN)/python -m deploy.dashboards

.PHONY: dashboards-preview
dashboards-preview: $(DEV_READY) $(PROMTOOL) test-packages ## draw both dashboards from a real load, into docs/images
	$(BIN)/python -m tests.dashboards.preview

.PHONY: guides
guides: $(DEV_READY) ## the pictures of the guides, and their tables of sizes, settings and figures, anew
	@for page in pictures sizing gate_guide; do $(BIN)/python -m tests.docs.$$page; done

.PHONY: trace-example
trace-example: $(DEV_READY) test-packages ## one call's trace as a tree, as in docs/tracing.md
	$(BIN)/python -m tests.bench.trace

.PHONY: clean
clean: ## remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist
