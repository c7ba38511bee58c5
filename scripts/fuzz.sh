#!/bin/sh
# Runs each fuzz target for a while, one after the other. What they find lands in testdata/fuzz of the package: commit it
# with the fix, it is a test from then on.
. scripts/phases.sh

echo "oarlock: make fuzz ($FUZZTIME each)"
echo
found=0
for package in $("$GO" list ./...); do
	for target in $("$GO" test -list '^Fuzz' "$package" | grep '^Fuzz'); do
		found=1
		phase "${package#github.com/oarlock/oarlock/}: $target" \
			"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$package"
	done
done
[ "$found" -eq 1 ] || {
	echo "no fuzz target found: does the module build?" >&2
	exit 1
}
finish
