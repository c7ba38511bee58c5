#!/bin/sh
# Runs each fuzz target for a while, one after the other. What they find lands in testdata/fuzz of the package: commit it
# with the fix, it is a test from then on.
. scripts/phases.sh

echo "oarlock: make fuzz ($FUZZTIME each)"
echo
# A package that does not compile must not pass for one without targets.
listing=$("$GO" list ./...) || exit 1
found=0
for package in $listing; do
	targets=$("$GO" test -list '^Fuzz' "$package") || {
		printf '%s\n' "$targets" >&2
		exit 1
	}
	for target in $(printf '%s\n' "$targets" | grep '^Fuzz'); do
		found=1
		phase "${package#github.com/oarlock/oarlock/}: $target" \
			"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$package"
	done
done
[ "$found" -eq 1 ] || {
	echo "there is no fuzz target" >&2
	exit 1
}
finish
