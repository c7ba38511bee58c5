// Package floorplan holds the rules of the house as tests: which package may import which, what the consensus module may
// use, how long a file may be, and whether the documents still say what the folders do. It has no code to import. A rule
// that a linter can hold stands in .golangci.yml as well; here it needs nothing but the Go toolchain.
package floorplan
