#!/bin/sh
# Installs into a folder of its own and builds a program against it in the three ways that people do: pkg-config, CMake, the
# archive. What is not on the machine is skipped, and said.
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
DESTDIR=$work/root PREFIX=/opt/oarlock sh scripts/install.sh || exit 1
root=$work/root/opt/oarlock

cat >"$work/version.c" <<'END'
#include <oarlock.h>
#include <stdio.h>
int main(void) {
    oar_config *config;
    if (OAR_CHECK_ABI() != OAR_OK || oar_config_new(&config) != OAR_OK || oar_config_free(config) != OAR_OK) return 1;
    return printf("%s\n", oar_version()) < 0;
}
END

version=$(sed -n 's/^Version: //p' "$root/lib/pkgconfig/oarlock.pc")
runs() { # runs HOW PROGRAM
	said=$("$2") || { echo "$1: the program failed"; exit 1; }
	[ "$said" = "$version" ] || { echo "$1: the program says $said, not $version"; exit 1; }
	echo "$1: ok"
}

if command -v pkg-config >/dev/null 2>&1; then
	# shellcheck disable=SC2046
	PKG_CONFIG_PATH=$root/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work/root sh -c \
		'gcc "$1/version.c" $(pkg-config --cflags --libs oarlock) -Wl,-rpath,"$2/lib" -o "$1/by-pkg-config"' sh "$work" "$root" || exit 1
	runs pkg-config "$work/by-pkg-config"
else
	echo "pkg-config: skipped, it is not on this machine (Debian: apt install pkg-config)"
fi

if command -v cmake >/dev/null 2>&1; then
	cat >"$work/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.10)
project(version C)
find_package(oarlock 0.1 REQUIRED)
add_executable(by-cmake version.c)
target_link_libraries(by-cmake oarlock::oarlock)
add_executable(by-cmake-static version.c)
target_link_libraries(by-cmake-static oarlock::static)
END
	cmake -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$root" >"$work/log" 2>&1 && cmake --build "$work/build" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
	runs cmake "$work/build/by-cmake"
	runs "cmake, static" "$work/build/by-cmake-static"
else
	echo "cmake: skipped, it is not on this machine (Debian: apt install cmake)"
fi

gcc -I"$root/include" "$work/version.c" "$root/lib/liboarlock.a" -lpthread -lm -ldl -o "$work/by-archive" || exit 1
runs archive "$work/by-archive"
