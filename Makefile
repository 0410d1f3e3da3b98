# `make` lists what there is. Every target installs what it lacks (scripts/install-deps.sh) and is quick the
# second time. Cargo finds out itself what has to be built again.

ARGS ?=
FUZZ_SECONDS ?= 60
export FUZZ_SECONDS

# The lock file is the build: nothing here resolves dependencies anew.
CARGO := cargo
LOCKED := --locked

.DEFAULT_GOAL := help
.PHONY: help dev test bench fuzz deny fmt build-deps test-deps
# Steps share Cargo's build directory; side by side they would only wait for its lock.
.NOTPARALLEL:

help: ## what there is
	@echo "mediagate: the gate in front of a private media bucket"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS=\"…\" is passed on to mediagate (dev), to the benches (bench), or names the targets (fuzz)."

# With the examples, so that the dependencies are built with the same features as for `make test`, once for both.
dev: build-deps ## the whole gate on this machine, with two users and links to click
	@echo "==> building mediagate (the first time takes minutes, then seconds)"
	@$(CARGO) build $(LOCKED) --bin mediagate --examples
	@exec $${CARGO_TARGET_DIR:-target}/debug/mediagate dev $(ARGS)

# From the cheapest to the dearest, and from one kind of build to the next, so that a slip shows in seconds and
# nothing is compiled twice: clippy and the documentation share one set of checked dependencies (--examples
# makes the documentation use the dev-dependencies too, without which their features would differ).
test: test-deps ## everything that every push must pass
	@echo "==> format"
	@$(CARGO) fmt --all --check && $(CARGO) fmt --manifest-path fuzz/Cargo.toml --check \
		|| { echo "    to mend it: make fmt"; exit 1; }
	@echo "==> licences and bans"
	@.venv/bin/python scripts/licences.py
	@echo "==> presigning oracle"
	@.venv/bin/python tests/oracle/presign.py --check
	@.venv/bin/python tests/oracle/odd_keys.py --check
	@echo "==> lints, all targets (the first time takes minutes, then seconds)"
	@$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	@echo "==> documentation"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps --lib --examples
	@echo "==> the core alone, then the filter alone, then the client alone"
	@$(CARGO) check $(LOCKED) --lib --no-default-features
	@$(CARGO) check $(LOCKED) --lib --no-default-features --features proxy
	@$(CARGO) check $(LOCKED) --lib --no-default-features --features client
	@echo "==> tests (the first time takes minutes, then seconds)"
	@$(CARGO) test $(LOCKED)

# By name: the tests' own harness would not know the arguments.
bench: test-deps ## what the gate costs, in Markdown (about 10 minutes; ARGS=--quick: three)
	@$(CARGO) bench $(LOCKED) --bench decision --bench proxy --bench feed --bench control -- $(ARGS)

fuzz: ## each fuzz target for FUZZ_SECONDS (60); needs a nightly toolchain
	@scripts/fuzz.sh $(ARGS)

deny: ## licences, bans, sources and (with cargo-deny) advisories of the dependencies
	@scripts/deny.sh

fmt: ## format the sources
	@$(CARGO) fmt --all
	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml

build-deps:
	@scripts/install-deps.sh build

test-deps:
	@scripts/install-deps.sh test
