#!/bin/sh
# Runs each fuzz target for a while, one after the other. What they find lands in testdata/fuzz of the package: commit it
# with the fix, it is a test from then on.
. scripts/phases.sh

# hunt lets pass what Go before 1.27 now and then reports at the end of the time it was given, and is no finding: its own
# deadline (go.dev/issue/75804). What was found names the file that it was written to.
hunt() { # hunt PACKAGE TARGET
	said=$("$GO" test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" "$1" 2>&1)
	status=$?
	printf '%s\n' "$said"
	[ "$status" -eq 0 ] && return
	printf '%s\n' "$said" | grep -q '^ *context deadline exceeded$' &&
		! printf '%s\n' "$said" | grep -q -i -e 'failing input' -e 'panic:' -e '_test.go:'
}

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
		phase "${package#github.com/oarlock/oarlock/}: $target" hunt "$package" "$target"
	done
done
[ "$found" -eq 1 ] || {
	echo "there is no fuzz target" >&2
	exit 1
}
finish
