# The commands of this repository. One profile (release) for everything, so that dependencies are compiled once.
# Settings: SERVERS_HOME (where the test servers are kept), SCRATCH (where they keep their data), LAKEWARD_SEED, KILLS (test-long), ROWS, SNAPSHOT_ROWS, RUNS and PARTS (bench).
CARGO ?= cargo
KILLS ?= 1000
# Tests mostly wait for servers: more of them at once than there are cores.
TEST_THREADS ?= 5
SCRATCH ?= $(or $(TMPDIR),/tmp)
# The same choice of packages for all, or their dependencies are compiled again with other features.
BUILD = --release --workspace --bins --examples

TESTS = --release --workspace --features failpoints --no-fail-fast

.PHONY: demo test test-long test-end-to-end test-parts check bench install tools built tests-built

## demo: a real MySQL, a shop, a writer, lakeward killed and started again; then the lake against the source
demo: tools
	@$(MAKE) --no-print-directory -j2 install built
	target/release/examples/demo

## test: everything, with real servers
test: tools
	@$(MAKE) --no-print-directory -j2 install tests-built
	@$(MAKE) --no-print-directory -j2 --keep-going test-end-to-end test-parts

## test-long: the same with KILLS kills and longer random sequences
test-long: tools
	@LAKEWARD_LONG=$(KILLS) $(MAKE) --no-print-directory test

## check: format, lints, unit tests without servers, licences and sources of all dependencies
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --features failpoints -- -D warnings
	$(CARGO) test --release --workspace --exclude lakeward-test-support --lib --bins --features failpoints
	@if $(CARGO) deny --version >/dev/null 2>&1; \
	then $(CARGO) deny --all-features check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources were not checked (cargo install cargo-deny)"; fi

## bench: the figures of ARCHITECTURE.md, each beside the limit of the same run
bench: tools
	@$(MAKE) --no-print-directory -j2 install built
	target/release/examples/bench

built:
	$(CARGO) build $(BUILD)

tests-built:
	$(CARGO) test $(TESTS) --no-run --lib --bins --tests

# The two go on beside each other: the second one's files each wait for their slowest test.
test-end-to-end:
	TMPDIR=$(SCRATCH) $(CARGO) test $(TESTS) --test e2e -- --test-threads=$(TEST_THREADS)

test-parts:
	TMPDIR=$(SCRATCH) $(CARGO) test $(TESTS) --lib --bins --test '[!e]*' -- --test-threads=2

# What the build itself needs of the system, so that servers are downloaded while it goes on.
tools:
	@bash tests/support/install.sh tools

## install: the servers and readers that tests, demo and benchmark need; quick when they are there
install:
	@bash tests/support/install.sh
