#!/bin/sh
# Builds liboarlock into build/lib: the shared library with its link, the archive, both with nothing visible but the functions
# of oarlock.h. `sh scripts/lib.sh shared` leaves the archive out, `sh scripts/lib.sh asan` builds the shared one into
# build/lib-asan with its C code under AddressSanitizer. Go's cache makes it quick when nothing changed. GO is the go command.
cd "$(dirname "$0")/.." || exit 1
go=${GO:-go}

need() { # need COMMAND WHAT-FOR WHERE-FROM
	command -v "$1" >/dev/null 2>&1 && return
	printf 'missing: %s %s. %s\n' "$1" "$2" "$3" >&2
	exit 1
}

need "$go" "builds the library" "https://go.dev/dl"
need gcc "compiles its C side" "Debian: apt install gcc"

# A table of what is visible, and the name that programs ask the loader for.
linker="-Wl,--version-script=$PWD/capi/liboarlock.map -Wl,-soname,liboarlock.so.1"
# Go's cache does not look into the table: its sum, as a variable that there is not, makes go link again when it changed.
table="-X main.table=$(cksum <capi/liboarlock.map | tr ' ' -)"

shared() { # shared FOLDER LDFLAGS
	mkdir -p "$1" || exit 1
	"$go" build -buildmode=c-shared -tags pebblegozstd -trimpath -ldflags "$2 $table -extldflags '$linker'" -o "$1/liboarlock.so.1" ./capi || exit 1
	rm -f "$1/liboarlock.so.h" # Go's own header, which shows Go's types; oarlock.h is the one
	ln -sf liboarlock.so.1 "$1/liboarlock.so"
}

# The archive is one object in which only the same names can be linked against: two archives made by Go would clash otherwise.
# -d: what C calls common has to have a place before it can be hidden.
archive() {
	need objcopy "hides what is private in the archive" "Debian: apt install binutils"
	work=build/lib/archive
	rm -rf "$work" && mkdir -p "$work" || exit 1
	"$go" build -buildmode=c-archive -tags pebblegozstd -trimpath -ldflags "-s -w" -o "$work/all.a" ./capi || exit 1
	ld -r -d --whole-archive -o "$work/liboarlock.o" "$work/all.a" || exit 1
	sed -n 's/^ *\(oar_[a-z_]*\);$/\1/p' capi/liboarlock.map >"$work/names" || exit 1
	objcopy --keep-global-symbols="$work/names" "$work/liboarlock.o" || exit 1
	rm -f build/lib/liboarlock.a
	ar rcs build/lib/liboarlock.a "$work/liboarlock.o" || exit 1
	rm -rf "$work"
}

if [ "$1" = asan ]; then
	export CGO_CFLAGS="-g -O1 -fsanitize=address -fno-omit-frame-pointer" CGO_LDFLAGS="-fsanitize=address"
	shared build/lib-asan ""
	exit 0
fi
shared build/lib "-s -w"
[ "$1" = shared ] && exit 0
archive
printf 'build/lib: %s\n' "$(cd build/lib && ls -x liboarlock.*)"
