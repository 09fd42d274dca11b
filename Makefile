# Each target works without arguments. CLUSTER=current or CLUSTER=kind takes a cluster that is there already.

CARGO ?= cargo
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ferrygate
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
E2E := $(CARGO) run --quiet --package ferrygate-e2e --bin ferrygate-e2e --

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check format lint unit deny crds e2e faults bench bench-mapping bench-operator cluster-up cluster-down

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## The main job: a cluster, a CRM, a CDP, and records that flow between them.
	@$(E2E) demo up

demo-down: ## Removes everything that the demo made.
	@$(E2E) demo down

test: check e2e ## Everything: what check does, then the simulators, the vendors' clients and the cluster.

check: format lint deny unit ## Format, lint, licences, unit tests, generated files: what needs no cluster.

format: ## Tells what rustfmt would change.
	$(CARGO) fmt --all --check

lint: ## Clippy, with warnings as errors.
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings

unit: ## The tests of the package: unit, property, integration, and the CRDs fresh.
	$(CARGO) test --package ferrygate --locked

deny: $(CARGO_DENY) ## Licences and origins of the dependencies.
	$(CARGO_DENY) --locked check licenses bans sources

$(CARGO_DENY):
	$(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)

crds: ## Writes crds/*.yaml anew from the types.
	UPDATE_CRDS=1 $(CARGO) test --package ferrygate --test crds

e2e: ## The end-to-end tests, on a cluster that is made for them and removed afterwards.
	$(E2E) test

faults: ## The operator's faults alone, which need no cluster; OUTAGE_SECONDS=600 is how long its API server is away.
	$(CARGO) test --package ferrygate-e2e --locked --test faults

bench: ## Records a second, CPU seconds and peak memory of `ferrygate run --files`.
	$(CARGO) build --release --package ferrygate --package ferrygate-e2e
	./target/release/ferrygate-e2e bench --binary ./target/release/ferrygate

bench-mapping: ## Mapping and gate alone, on one core: a record of 21 fields, CEL traits, each transform.
	$(CARGO) bench --package ferrygate --bench mapping

bench-operator: ## The controller over 5,000 pipelines on a real API server: memory, latency, writes.
	$(CARGO) build --release --package ferrygate --package ferrygate-e2e
	./target/release/ferrygate-e2e bench-operator --binary ./target/release/ferrygate

cluster-up: ## A local cluster, kept until cluster-down.
	$(E2E) cluster up

cluster-down: ## Removes the local cluster.
	$(E2E) cluster down
