# One target directory for all checkouts: a second clone compiles little.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/warmstart
export CARGO_TARGET_DIR ?= $(CACHE)/target

.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing on this machine, make the test images
	@tests/setup/install
	@tests/setup/images

build: ## Build everything
	cargo build --locked --workspace --all-targets

test: setup check build ## Set up, check, build, run all tests
	cargo nextest run --locked --workspace --no-fail-fast

check: ## Format, lints and documentation, warnings as errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

demo: setup ## Run a pipeline twice, cold and warm, against a fake GitLab, with real Docker
	@cargo build --quiet --locked --workspace --all-targets
	@$(CARGO_TARGET_DIR)/$$(rustc -vV | sed -n 's/^host: //p')/debug/warmstart-demo

release: ## Build the static binaries that ship
	cargo build --locked --release -p warmstart-runner -p warmstart-agent -p warmstart-cache

deny: ## Check licences, bans and sources of all dependencies (installs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny --offline check licenses bans sources

.PHONY: help setup build test check demo release deny
