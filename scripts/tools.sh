#!/bin/sh
# Checks that the tools are there, before a target fails half-way with a message about something else.
missing=0

need() { # need COMMAND WHAT-FOR WHERE-FROM
	if ! command -v "$1" >/dev/null 2>&1; then
		printf 'missing: %-11s %s. %s\n' "$1" "$2" "$3" >&2
		missing=1
	fi
}

need go "builds and tests everything" "https://go.dev/dl"
need gcc "compiles the C side and the race detector's runtime" "Debian: apt install gcc; macOS: xcode-select --install"
need make "runs these targets" "Debian: apt install make"
[ "$missing" -eq 0 ] || exit 1

# The Go line of go.mod is the least version. A newer go command fetches what is wanted by itself, unless it was told not to.
want=$(awk '$1 == "go" { print $2; exit }' go.mod)
have=$(go env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*$//')
older=$(printf '%s\n%s\n' "$want" "$have" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)
if [ "$older" != "$want" ]; then
	echo "Go $have is too old, go.mod wants $want: https://go.dev/dl, or unset GOTOOLCHAIN=local" >&2
	exit 1
fi
