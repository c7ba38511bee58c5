#!/bin/sh
# Installs what scripts/lib.sh has built below PREFIX (/usr/local), in the tree that DESTDIR names: header, shared library, archive,
# pkg-config file, CMake package.
cd "$(dirname "$0")/.." || exit 1
prefix=${PREFIX:-/usr/local}
to=${DESTDIR:-}$prefix
version=$(sed -n 's/^#define OAR_VERSION "\(.*\)"/\1/p' capi/internal.h)

for built in liboarlock.so.1 liboarlock.a; do
	[ -f "build/lib/$built" ] || { echo "missing: build/lib/$built. make lib" >&2; exit 1; }
done
case $prefix in
/*) ;;
*) echo "PREFIX is $prefix; it must begin with /" >&2; exit 1 ;;
esac

mkdir -p "$to/include" "$to/lib/pkgconfig" "$to/lib/cmake/oarlock" || exit 1
install -m 644 bindings/c/include/oarlock.h "$to/include/" || exit 1
install -m 755 build/lib/liboarlock.so.1 "$to/lib/" || exit 1
ln -sf liboarlock.so.1 "$to/lib/liboarlock.so" || exit 1
install -m 644 build/lib/liboarlock.a "$to/lib/" || exit 1

cat >"$to/lib/pkgconfig/oarlock.pc" <<END || exit 1
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: oarlock
Description: A replicated log that applications plug into
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -loarlock
Libs.private: -lpthread -lm -ldl
END

# The prefix is found from where the file stands, so that the tree may be moved.
cat >"$to/lib/cmake/oarlock/oarlockConfig.cmake" <<'END' || exit 1
# oarlock::oarlock is the shared library, oarlock::static the archive.
get_filename_component(_oarlock_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_package(Threads REQUIRED)
if(NOT TARGET oarlock::oarlock)
  add_library(oarlock::oarlock SHARED IMPORTED)
  set_target_properties(oarlock::oarlock PROPERTIES
    IMPORTED_LOCATION "${_oarlock_prefix}/lib/liboarlock.so.1"
    IMPORTED_SONAME "liboarlock.so.1"
    INTERFACE_INCLUDE_DIRECTORIES "${_oarlock_prefix}/include")
  add_library(oarlock::static STATIC IMPORTED)
  set_target_properties(oarlock::static PROPERTIES
    IMPORTED_LOCATION "${_oarlock_prefix}/lib/liboarlock.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_oarlock_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;m;${CMAKE_DL_LIBS}")
endif()
unset(_oarlock_prefix)
END
cat >"$to/lib/cmake/oarlock/oarlockConfigVersion.cmake" <<END || exit 1
set(PACKAGE_VERSION "$version")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
END
printf 'installed oarlock %s below %s\n' "$version" "$to"
