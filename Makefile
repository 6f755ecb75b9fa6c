# kuik's habits. Each target sets up what it needs by itself.
.DEFAULT_GOAL := help
BIN := .venv/bin
STORE ?= kuik-store
LISTEN ?= 127.0.0.1:7439
WORKERS ?= 3
NAMESPACES ?= 200
PODS ?= 3000
IMAGES ?= 600

.PHONY: help demo run test test-cluster test-dataplane e2e faults chaos scale check bench format chart clean docs

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: .venv/.runtime ## the whole story, offline: cache, upstream down, pulls still served
	$(BIN)/python -m kuik demo

run: .venv/.runtime ## local mode on your own manifests: make run PODS=path [STORE=dir] [LISTEN=host:port]
	@test -n "$(PODS)" || { echo "say which manifests: make run PODS=path/to/manifests"; exit 2; }
	$(BIN)/python -m kuik run $(PODS) --store $(STORE) --listen $(LISTEN)

test: .venv/.dev ## the tests, with real registries and clients, in under 5 minutes
	$(BIN)/pytest -q -n $(WORKERS) $(PYTEST_ARGS)

test-cluster: .venv/.dev ## the tests on a real API server, built once into a cache; with Metacontroller where METACONTROLLER_BIN or PATH has it
	tests/rig/build control-plane registry helm kube-score
	$(BIN)/pytest -q tests/cluster $(PYTEST_ARGS)

test-dataplane: .venv/.dev ## the data plane on real registries, S3 and containerd (which needs root), built once into a cache
	tests/rig/build registry s3 conformance containerd crictl crane
	$(BIN)/pytest -q tests/dataplane $(PYTEST_ARGS)

e2e: .venv/.dev ## the scenarios on a real node: kubelet, containerd and our own image (needs root), built once into a cache
	scripts/setup node
	tests/rig/build control-plane node dns registry containerd helm
	KUIK_WRITE_PAGES=1 $(BIN)/python -m tests.e2e $(PYTEST_ARGS)

scale: .venv/.dev ## 3,000 pods and 600 images on a real API server, then churn that must write nothing: make scale [NAMESPACES=200] [PODS=3000] [IMAGES=600]
	tests/rig/build control-plane
	$(BIN)/python -m tests.cluster.scale --namespaces $(NAMESPACES) --pods $(PODS) --images $(IMAGES) $(SCALE_ARGS)

faults: .venv/.dev ## every fault on every link of the data plane, written into docs/faults.md (needs root)
	tests/rig/build registry
	KUIK_WRITE_PAGES=1 $(BIN)/pytest -q tests/dataplane/test_faults.py $(PYTEST_ARGS)

chaos: .venv/.dev ## 1,000 pulls of 200 images by 50 clients, and 300 images copied, while every process is killed again and again; and thousands of steps of images' lives
	tests/rig/build control-plane registry
	$(BIN)/python -m tests.lifecycle
	$(BIN)/python -m tests.dataplane.chaos
	$(BIN)/python -m tests.cluster.chaos

check: .venv/.dev ## ruff, mypy --strict, the import law
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev ## speed and memory beside other programs, in one run
	tests/rig/build registry crane
	$(BIN)/python -m bench

chart: .venv/.dev ## bring the chart's copies, schema and table of values up to date with their sources
	$(BIN)/python scripts/chart.py

docs: .venv/.dev ## write the references in docs/ from their sources
	$(BIN)/python scripts/reference.py

format: .venv/.dev ## let ruff tidy the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the other targets made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info

.venv/.runtime: requirements.txt scripts/setup
	scripts/setup runtime
	@touch $@

.venv/.dev: requirements.txt requirements-dev.txt scripts/setup
	scripts/setup dev
	@touch $@ .venv/.runtime
