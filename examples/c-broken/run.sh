#!/bin/sh
# Builds the program and has it check every one of its machines: it ends with 0 if each mistake is found and the right machine passes.
cd "$(dirname "$0")/../.." || exit 1
lib=$PWD/build/lib
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
gcc -std=c99 -Wall -Wextra -Werror -Ibindings/c/include examples/c-broken/ballots.c -L"$lib" -loarlock "-Wl,-rpath,$lib" -o "$work/ballots" || exit 1
"$work/ballots"
