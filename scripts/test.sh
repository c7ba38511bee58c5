#!/bin/sh
# Everything that has to hold before a change is taken. Runs from a clean clone; nothing here needs root or a network beyond
# the Go module proxy. Budget: thirteen minutes on two cores with an empty build cache, so a phase that grows has to say so.
. scripts/phases.sh

bench_builds() { (cd bench && "$GO" vet ./...); }

echo "oarlock: make test ($("$GO" env GOVERSION), $(uname -sm))"
echo
phase "format: gofmt would change nothing" formatted
phase "vet: nothing that the compiler lets pass by mistake" "$GO" vet ./...
phase "rules: floor plan, sizes, documents, macOS, Windows, 32 bits" "$GO" test ./internal/floorplan
phase "tests: every package" "$GO" test -timeout 12m ./...
# Those that are skipped have one goroutine, and take longer than all others together; `make race` has them.
phase "race: what has goroutines, under the race detector" \
	"$GO" test -race -short -timeout 12m -skip 'TestTorturedLog|TestEverySingleFlipped|TestEveryFailedCallFences|/(RandomCallsAgreeWithAPlainModel|BlocksOfAnySizeComeBack)$' \
	./server/... ./transport/... ./client/... ./persistentlog/...
phase "bench: the benchmark module builds" bench_builds
phase "library: liboarlock, shared and static" sh scripts/lib.sh
phase "C: header, every function, address sanitizer, install" sh scripts/c.sh
phase "Python: types, tests, the wheel" sh scripts/python.sh
finish
