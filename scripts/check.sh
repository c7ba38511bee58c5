#!/bin/sh
# The read-only gate: nothing runs but analysers. Under a minute once caches are warm.
. scripts/phases.sh

tidy() { "$GO" mod tidy -diff && (cd bench && "$GO" mod tidy -diff); }

echo "oarlock: make check"
echo
phase "format: gofmt would change nothing" formatted
phase "modules: go.mod names what is imported, and no more" tidy
phase "vet" "$GO" vet ./...
phase "rules: floor plan, sizes, documents, macOS, Windows, 32 bits" "$GO" test ./internal/floorplan
# shellcheck disable=SC2086
phase "linters: .golangci.yml" $LINT run ./...
finish
