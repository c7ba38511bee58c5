#!/bin/sh
# The read-only gate: nothing runs but analysers. Under a minute once caches are warm.
. scripts/phases.sh

echo "oarlock: make check"
echo
phase "format: gofmt would change nothing" formatted
phase "vet" "$GO" vet ./...
phase "rules: floor plan, pure core, sizes, comments, documents" "$GO" test ./internal/floorplan
# shellcheck disable=SC2086
phase "linters: .golangci.yml" $LINT run ./...
finish
