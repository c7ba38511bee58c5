# Bare `make` lists what there is. CI calls the same targets that people do.

GO   ?= go
LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# How long `make fuzz` spends on each target, and how often `make bench-micro` repeats (benchstat wants several).
FUZZTIME ?= 20s
COUNT    ?= 6
PREFIX   ?= /usr/local

# How many seeds `make sim` runs, from which on; or the one to be told.
RUNS ?= 1000
FROM ?= 1
SEED ?= 0
# Something, and `make sim SEED=n` says only what came of it.
QUIET ?=

# How long `make soak` runs.
LONG ?= 5m

# Which known bugs `make mutants` runs, as shell patterns with commas between; and the page whose table it rewrites.
ONLY ?=
PAGE ?=

# given is a setting that was given to make, as NAME=value, and nothing where it is as it stands above.
given = $(if $(filter file,$(origin $(1))),,"$(1)=$($(1))")

.DEFAULT_GOAL := help
.PHONY: help tools demo demo-grow demo-restart soak test test-c test-python check race fuzz sim torture mutants bench bench-bindings bench-micro build lib install clean

help: ## this list
	@echo "oarlock: a replicated log that applications plug into"
	@echo
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

tools:
	@sh scripts/tools.sh

demo: tools ## three servers on real disks and sockets: kill the leader, lose nothing
	@echo "building oarlock (the first time this fetches and compiles what it needs: a minute or two)"
	@$(GO) build -trimpath -o bin/oarlock ./cmd/oarlock
	@bin/oarlock demo

demo-grow: build ## one server becomes five, and then another one, under load
	@bin/oarlock demo grow --strict

demo-restart: build ## three servers, restarted one after the other under load: no call fails
	@bin/oarlock demo restart --strict

test: tools ## all that CI runs: Go, C and Python, race detector, sanitizers, other systems
	@GO="$(GO)" sh scripts/test.sh

test-c: lib ## the C interface alone: header, handles, servers, clients, sanitizers, install
	@sh scripts/c.sh

test-python: lib ## the Python package alone: types, tests
	@sh scripts/python.sh

check: tools ## the read-only gate: format, vet, floor plan, documents, linters
	@GO="$(GO)" LINT="$(LINT)" sh scripts/check.sh

race: tools ## every test under the race detector
	$(GO) test -race -timeout 20m ./...

fuzz: tools ## each fuzz target for FUZZTIME (20s)
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" sh scripts/fuzz.sh

sim: tools ## RUNS (1000) simulated clusters FROM (1) a seed; or SEED=n alone, with its story unless QUIET=1
	@sh scripts/numbers.sh "RUNS=$(RUNS)" "FROM=$(FROM)" $(call given,SEED) $(if $(call given,SEED),$(if $(call given,RUNS)$(call given,FROM),"alone=RUNS and FROM"))
	$(GO) test ./sim -count=1 -timeout 0 -run TestNoSeedBreaksARule -v -sim.runs=$(RUNS) -sim.from=$(FROM) -sim.seed=$(SEED) -sim.quiet=$(if $(filter-out 0,$(QUIET)),true,false)

soak: tools ## real processes for LONG (5m): changes of membership, kills, lost disks, under load; SEED=n repeats a plan
	@sh scripts/numbers.sh "LONG=$(LONG)" $(call given,SEED)
	OARLOCK_SOAK=$(LONG) OARLOCK_SOAK_SEED=$(filter-out 0,$(SEED)) $(GO) test ./cmd/oarlock -count=1 -timeout 0 -run TestSoak -v

mutants: RUNS = 2000
mutants: tools ## put ONLY (all) known bugs back in, one by one: the simulator has to find each within RUNS (2000) seeds
	@sh scripts/numbers.sh most=2000 "RUNS=$(RUNS)"
	$(GO) run ./sim/mutants -go="$(GO)" -only="$(ONLY)" -runs=$(RUNS) $(if $(PAGE),-markdown=$(PAGE))

torture: RUNS = 2000
torture: tools ## RUNS (2000) random lives of each log on a disk that fails, loses power and decays, FROM (1) a seed
	@sh scripts/numbers.sh "RUNS=$(RUNS)" "FROM=$(FROM)"
	$(GO) test ./persistentlog/pebblelog ./persistentlog/seglog -count=1 -timeout 0 -run TestTortured -v -tortures=$(RUNS) -seed=$(FROM)

bench: tools ## throughput, reads, restart and memory, beside their aims, in a quarter of an hour; rewrites docs/performance.md
	cd bench && $(GO) run . -markdown ../docs/performance.md

bench-bindings: lib ## one counter in Go, C and Python side by side; rewrites its part of docs/performance.md
	@sh scripts/python.sh venv
	cd bench && $(GO) run . bindings -markdown ../docs/performance.md

bench-micro: tools ## benchmarks of single packages, COUNT (6) times; compare two outputs with benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./...

build: tools ## the command, into bin/
	$(GO) build -trimpath -o bin/oarlock ./cmd/oarlock

lib: tools ## liboarlock for C and Python, into build/lib/
	@GO="$(GO)" sh scripts/lib.sh

install: lib ## the library, its header, pkg-config and CMake files, below PREFIX (/usr/local) in DESTDIR
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" sh scripts/install.sh

clean: ## remove what the other targets made
	rm -rf bin build dist
