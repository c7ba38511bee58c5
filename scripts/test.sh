#!/bin/sh
# Everything that has to hold before a change is taken. Runs from a clean clone; nothing here needs root or a network beyond
# the Go module proxy. Budget: twelve minutes on two cores with an empty build cache, so a phase that grows has to say so.
. scripts/phases.sh

# What an application links on any platform: no C, no store.
portable="./raft ./statemachine/... ./internal/wire ./transport/... ./persistentlog ./persistentlog/memlog ./server ./client"

cross() { # cross OS ARCHITECTURE
	# shellcheck disable=SC2086
	CGO_ENABLED=0 GOOS=$1 GOARCH=$2 "$GO" build $portable
}

bench_builds() { (cd bench && "$GO" vet ./...); }

echo "oarlock: make test ($("$GO" env GOVERSION), $(uname -sm))"
echo
phase "format: gofmt would change nothing" formatted
phase "vet: nothing that the compiler lets pass by mistake" "$GO" vet ./...
phase "rules: floor plan, pure core, sizes, comments, documents" "$GO" test ./internal/floorplan
phase "tests: every package" "$GO" test -timeout 8m ./...
phase "race: what has goroutines, under the race detector" \
	"$GO" test -race -short -timeout 8m ./server/... ./transport/... ./client/... ./persistentlog/...
if [ -f bench/go.mod ]; then
	phase "bench: the benchmark module builds" bench_builds
fi
phase "portable: the library builds for macOS" cross darwin arm64
phase "portable: the library builds for Windows" cross windows amd64
finish
