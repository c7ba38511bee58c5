#!/bin/sh
# The header in every dialect, what the library exports against it, a program that loads the library by itself, and one that
# forks before it uses it.
cd "$(dirname "$0")/../../.." || exit 1
source=bindings/c/tests/programs/header.c
lib=$PWD/build/lib
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fail() { printf 'header: %s\n' "$*"; exit 1; }

strict="-Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror -Ibindings/c/include"
dialects() { # dialects COMPILER LANGUAGE DIALECT...
	compiler=$1 language=$2
	shift 2
	command -v "$compiler" >/dev/null 2>&1 || { printf '%s: skipped, it is not on this machine\n' "$compiler"; return; }
	for dialect; do
		# shellcheck disable=SC2086
		"$compiler" -x "$language" "-std=$dialect" $strict "$source" -L"$lib" -loarlock "-Wl,-rpath,$lib" -o "$work/program" ||
			fail "$compiler does not take it as $dialect"
		"$work/program" || fail "the program that $compiler made of it as $dialect ends with $?"
	done
	printf '%s: %s\n' "$compiler" "$*"
}
dialects gcc c c89 c99 c11 c17 c2x
dialects clang c c89 c99 c11 c17 c2x
dialects g++ c++ c++98 c++11 c++14 c++17 c++20
dialects clang++ c++ c++98 c++11 c++14 c++17 c++20

# Exactly the functions of the header, in the library, in the archive, and in the linker's table.
tr '\n' ' ' <bindings/c/include/oarlock.h | sed 's/;/;\n/g' | sed -n 's/.*OAR_API \([^(]*[ *]\)\(oar_[a-z_]*\)(.*/\2/p' | sort >"$work/declared"
[ "$(wc -l <"$work/declared")" -gt 70 ] || fail "the functions of the header were not found"
same() { # same WHERE FILE
	diff "$work/declared" "$2" >"$work/difference" && return
	cat "$work/difference"
	fail "what $1 has (>) is not what the header declares (<)"
}
sed -n 's/^ *\(oar_[a-z_]*\);$/\1/p' capi/liboarlock.map | sort >"$work/map"
same capi/liboarlock.map "$work/map"
nm -D --defined-only "$lib/liboarlock.so.1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$work/exported"
same liboarlock.so.1 "$work/exported"
nm -g --defined-only "$lib/liboarlock.a" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort >"$work/archived"
same liboarlock.a "$work/archived"
readelf -d "$lib/liboarlock.so.1" | grep -q 'soname: \[liboarlock.so.1\]' || fail "the library's soname is not liboarlock.so.1"
printf 'exports: %s functions\n' "$(wc -l <"$work/declared")"

gcc -std=gnu99 -Wall -Wextra -Werror -Ibindings/c/include bindings/c/tests/programs/loads.c -lpthread -ldl -o "$work/loads" || exit 1
nm -D --undefined-only "$work/loads" | grep -q ' oar_' && fail "loads.c is linked with the library"
"$work/loads" "$lib/liboarlock.so.1" || fail "a program that loads the library with dlopen fails"
echo "dlopen: ok"

gcc -std=c99 -Wall -Wextra -Wpedantic -Werror -Ibindings/c/include bindings/c/tests/programs/forks.c -L"$lib" -loarlock "-Wl,-rpath,$lib" -o "$work/forks" || exit 1
"$work/forks" || fail "a program that forks first ends with $?"
echo "fork: ok"
