#!/bin/sh
# Types and tests of bindings/python, with the library of build/lib, in a venv of its own that is kept while what it was made
# from stays the same. PYTHON is the interpreter, from 3.9 on; what follows the script's name goes to pytest, but for
# `sh scripts/python.sh venv`, which makes the venv and no more.
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
library=$PWD/build/lib/liboarlock.so.1
venv=$PWD/build/venv
wanted="pytest==8.4.2 mypy==1.18.2 setuptools==80.9.0" # the last that run on Python 3.9
missing=0

need() { # need WHAT HOW
	printf 'missing: %s. %s\n' "$1" "$2" >&2
	missing=1
}

command -v "$python" >/dev/null 2>&1 || need "$python" "Debian: apt install python3 python3-venv; or set PYTHON"
command -v gcc >/dev/null 2>&1 || need gcc "A test compiles the header. Debian: apt install gcc"
[ -f "$library" ] || need "$library" "make lib"
[ "$missing" -eq 0 ] || exit 1
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { need "Python 3.9 or later" "$python is $("$python" -V)"; exit 1; }
"$python" -c 'import venv, ensurepip' 2>/dev/null || { need "Python's venv" "Debian: apt install python3-venv"; exit 1; }

stamp="$("$python" -c 'import sys; print(sys.executable, sys.version)') $wanted"
if [ "$(cat "$venv/made-from" 2>/dev/null)" != "$stamp" ]; then
	rm -rf "$venv"
	"$python" -m venv "$venv" || exit 1
	# shellcheck disable=SC2086
	"$venv/bin/pip" install -q --disable-pip-version-check $wanted || { need "$wanted" "pip could not install them: see above"; exit 1; }
	printf '%s\n' "$stamp" >"$venv/made-from"
fi

[ "$1" = venv ] && exit 0 # that was all that was asked for

# The cache of types stays out of the tree.
export OARLOCK_LIBRARY="$library" PYTHONPATH="$PWD/bindings/python" MYPYPATH="$PWD/bindings/python"
types() { (cd bindings/python && "$venv/bin/mypy" --cache-dir "$venv/mypy" oarlock ../../examples/python-kv/kv.py ../../examples/python-broken/raffles.py); }
types || exit 1
cd bindings/python && exec "$venv/bin/python" -m pytest -q -p no:cacheprovider tests ../../examples/python-kv ../../examples/python-broken "$@"
