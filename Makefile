# One target directory for all checkouts: a second clone compiles little.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/warmstart
export CARGO_TARGET_DIR ?= $(CACHE)/target

.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

fuzz: ## Fuzz what the cache reads from a store or an archive, and the masker of logs (FUZZ_SECONDS=600 for each target; TARGETS="manifest frame")
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz tests/fuzz $(TARGETS)

bench: bench-cache bench-jobs bench-masker ## Run all benchmarks

# One command each: built together the two would share features, and the cache would not be the one that ships. It
# keeps its symbols, which cost no time, for the profile.
BENCH = $(CARGO_TARGET_DIR)/$$(rustc -vV | sed -n 's/^host: //p')/release
bench-cache: ## Measure the cache against its peers, write docs/benchmarks.md (QUICK=1: one round, no report; ROUNDS=n; PROFILE=1, GROWTH=1: also a profile, also large trees)
	@PROFILE=$(PROFILE) tests/bench/install
	cargo build --locked --release -p warmstart-cache --config profile.release.strip=false
	cargo build --locked --release -p warmstart-bench
	$(BENCH)/warmstart-bench cache --warmstart $(BENCH)/warmstart-cache --cache $(CACHE)/bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))
	$(if $(PROFILE),$(BENCH)/warmstart-bench profile --warmstart $(BENCH)/warmstart-cache --cache $(CACHE)/bench)
	$(if $(GROWTH),$(BENCH)/warmstart-bench growth --warmstart $(BENCH)/warmstart-cache --cache $(CACHE)/bench)

bench-masker: ## Measure the masker of job logs beside sed and a plain copy, print MB/s
	cargo build --locked --release -p warmstart-bench
	$(BENCH)/warmstart-bench masker

bench-jobs: setup ## Measure what a job costs above `docker run`, write docs/benchmarks-jobs.md (ROUNDS=n)
	cargo build --locked --release -p warmstart-agent
	cargo build --locked --release -p warmstart-bench
	$(BENCH)/warmstart-bench jobs --agent $(BENCH)/warmstart-agent $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: help setup build test check demo release deny fuzz bench bench-cache bench-jobs bench-masker
