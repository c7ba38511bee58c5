#!/bin/sh
# Everything about the C interface, with the library that scripts/lib.sh has built: the header in every dialect and what is
# exported, each function's tests, the same with the tests and the library's C code under AddressSanitizer, the programs of
# the documents, installing. A name (or its beginning) runs the phases of bindings/c/tests of that name only: `sh scripts/c.sh
# pull`. GO is the go command, TEST_JOBS how many phases run at once.
cd "$(dirname "$0")/.." || exit 1
logs=build/test
jobs=${TEST_JOBS:-4}
missing=0

need() { # need WHAT WHERE-FROM
	printf 'missing: %s. %s\n' "$1" "$2" >&2
	missing=1
}

command -v gcc >/dev/null 2>&1 || need gcc "Debian: apt install gcc"
command -v nm >/dev/null 2>&1 || need nm "Debian: apt install binutils"
for built in liboarlock.so.1 liboarlock.a; do
	[ -f "build/lib/$built" ] || need "build/lib/$built" "make lib"
done
[ "$missing" -eq 0 ] || exit 1
mkdir -p "$logs" || exit 1

step() { # step NAME COMMAND...: its output is shown if it fails
	name=$1
	shift
	began=$(date +%s)
	if "$@" >"$logs/c-$name.log" 2>&1; then
		printf 'ok     %-10s %3ds  %s\n' "$name" $(($(date +%s) - began)) "$(grep 'skipped' "$logs/c-$name.log" | paste -sd ';' -)"
		return
	fi
	grep -v '^ok ' "$logs/c-$name.log" | tail -n 100
	printf 'FAILED %-10s %3ds  The whole output is in %s.\n' "$name" $(($(date +%s) - began)) "$logs/c-$name.log"
	exit 1
}

compile() { # compile FOLDER LIBRARY FLAGS: the tests into a folder, linked with the library of another
	mkdir -p "$1" || exit 1
	# shellcheck disable=SC2086
	gcc -std=c99 -Wall -Wextra -Wpedantic -Werror -g -O1 $3 -Ibindings/c/include bindings/c/tests/*.c -L"$2" -loarlock "-Wl,-rpath,$PWD/$2" \
		-lpthread -o "$1/tests"
}

plain() { # plain [NAME...]
	compile build/c build/lib "" && TEST_JOBS=$jobs build/c/tests "$@"
}

# The tests look for ASAN_OPTIONS, too: what counts by the thousand counts by the hundred there.
sanitized() {
	sh scripts/lib.sh asan && compile build/c-asan build/lib-asan "-fsanitize=address -fno-omit-frame-pointer" || return 1
	TEST_JOBS=$jobs ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 build/c-asan/tests "$@"
}

if [ $# -gt 0 ]; then
	plain "$@" && sanitized "$@"
	exit
fi
step header sh bindings/c/tests/header.sh
step tests plain
step asan sanitized
step readme sh bindings/c/tests/readme.sh
step example sh examples/c-counter/run.sh
step broken sh examples/c-broken/run.sh
step install sh scripts/install-test.sh
