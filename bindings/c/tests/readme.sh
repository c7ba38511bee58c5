#!/bin/sh
# The program of bindings/c/README.md, taken out of it, does what is said there: three processes, one is killed, the counter
# goes on, and the dead one catches up. PORT is the first of three ports, GO the go command.
cd "$(dirname "$0")/../../.." || exit 1
lib=$PWD/build/lib
work=$(mktemp -d) || exit 1
port=${PORT:-4611}
trap 'kill -9 $(cat "$work"/pid.* 2>/dev/null) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
fail() { printf 'readme: FAILED: %s\n' "$*"; tail -n 5 "$work"/out.* 2>/dev/null; exit 1; }

# People wait for ten seconds, and a test longer.
awk '/^```c$/ { on = 1; next } /^```$/ && on { exit } on' bindings/c/README.md | sed 's/10 [*] OAR_SECOND/60 * OAR_SECOND/' >"$work/counter.c"
lines=$(wc -l <"$work/counter.c")
[ "$lines" -ge 30 ] && [ "$lines" -le 65 ] || fail "the program has $lines lines, not 30 to 65"
gcc -Wall -Wextra -Werror -Ibindings/c/include "$work/counter.c" -L"$lib" -loarlock "-Wl,-rpath,$lib" -o "$work/counter" || exit 1
"${GO:-go}" build -trimpath -o "$work/oarlock" ./cmd/oarlock || exit 1
cd "$work" || exit 1
./oarlock init cluster.toml --port "$port" >out.init 2>&1 || fail "oarlock init"

start() { # start ID
	./counter cluster.toml "$1" >"out.$1" 2>&1 &
	echo $! >"pid.$1"
}

add() { # add N EXPECTED: the client may have to wait for a leader
	got=$(./counter cluster.toml add "$1" 2>out.client) || fail "add $1: $(cat out.client)"
	[ "$got" = "$2" ] || fail "add $1 gave $got, not $2"
}

leader() { # the id of the server that leads, else 1
	id=$(./oarlock status cluster.toml 2>/dev/null | awk '$4 == "leader" { print $1; exit }')
	echo "${id:-1}"
}

start 1 && start 2 && start 3
add 5 5
add 5 10
first=$(leader)
kill -9 "$(cat "pid.$first")"
add 5 15
add -1 14
echo "readme: server $first is killed, and the counter goes on"
start "$first"
other=$((first % 3 + 1))
add 1 15
# With the third one gone, nothing is done without the one that came back: so it has caught up.
kill -9 "$(cat pid.$other)"
add 5 20
add 0 20
for id in 1 2 3; do
	[ "$id" = "$other" ] || kill -0 "$(cat pid.$id)" 2>/dev/null || fail "server $id has stopped"
done
echo "readme: it comes back and catches up"
