# make help

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build demo test bench lint fmt docs pictures

CACHE := $(or $(PALISADE_CACHE),$(HOME)/.cache/palisade)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CONTROL_PLANE := tests/e2e/controlplane/build.sh

help: ## Show this list.
	@sed -nE 's/^([a-z]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-8s %s\n", $$1, $$2 }'

build: ## Build the program as it is shipped: target/release/palisade.
	cargo build --release --locked

demo: ## Start a gateway on this machine and print how to log in; with CLUSTER=local also a real cluster behind it.
	@CLUSTER='$(CLUSTER)' scripts/demo.sh

test: ## Run all tests, against a real API server (built once: five minutes), Samba, slapd, Chromium (installed).
	@control_plane=$$($(CONTROL_PLANE)); export PALISADE_CONTROLPLANE="$$control_plane"; \
	tests/e2e/directories/install.sh; tests/e2e/browser/install.sh; \
	set -x; cargo test --locked; cargo test --locked --features otlp --test traces

bench: ## Measure beside HAProxy, nginx and a bare proxy, to bench/results/ (docs/performance.md). QUICK=1: minutes.
	bench/load/run.sh $(if $(QUICK),--quick)

lint: $(CARGO_DENY) ## Check format, lints, documentation and dependencies.
	cargo fmt --all --check
	cargo fmt --manifest-path bench/load/Cargo.toml --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --features otlp --lib --test traces -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --all-features --no-deps --document-private-items
	$(CARGO_DENY) --log-level warn --locked check bans licenses sources

fmt: ## Format the sources.
	cargo fmt --all
	cargo fmt --manifest-path bench/load/Cargo.toml --all

docs: ## Renew the documents that are made from the program.
	cargo run --locked --quiet -- config docs > docs/config.md
	cargo run --locked --quiet -- config metrics > docs/metrics.md

pictures: ## Take the pictures of pages in docs/images anew; look at each before it is committed.
	PALISADE_PICTURES=docs/images cargo test --locked --test e2e browser::pictures

# The advisory database cannot be fetched everywhere, so deny's Git support is not built.
$(CARGO_DENY):
	cargo install --locked --no-default-features --root '$(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)' \
		cargo-deny --version '$(CARGO_DENY_VERSION)'
