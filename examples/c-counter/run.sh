#!/bin/sh
# Runs what the README says, with more commands, and checks it. PORT is the first of three ports.
cd "$(dirname "$0")/../.." || exit 1
lib=$PWD/build/lib
work=$(mktemp -d) || exit 1
port=${PORT:-4601}
trap 'kill $(cat "$work"/pid.* 2>/dev/null) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

# People wait for ten seconds, and a test longer.
sed 's/\([^0-9]\)10 [*] OAR_SECOND/\160 * OAR_SECOND/' examples/c-counter/counters.c >"$work/counters.c"
gcc -std=c99 -Wall -Wextra -Werror -Ibindings/c/include "$work/counters.c" -L"$lib" -loarlock "-Wl,-rpath,$lib" -o "$work/counters" || exit 1
cd "$work" || exit 1

say() { printf 'c-counter: %s\n' "$*"; }
fail() { say "FAILED: $*"; cat out.*; exit 1; }

start() { # start ID
	./counters cluster.toml "$1" >"out.$1" 2>&1 &
	echo $! >"pid.$1"
}

ready() { # ready ID: within three minutes
	tries=1800
	until grep -q '^ready' "out.$1"; do
		kill -0 "$(cat "pid.$1")" 2>/dev/null || fail "server $1 has stopped"
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "server $1 is not ready"
		sleep 0.1
	done
}

add() { # add NAME N EXPECTED
	got=$(./counters cluster.toml add "$1" "$2") || fail "add $1 $2"
	[ "$got" = "$3" ] || fail "add $1 $2 gave $got, not $3"
}

./counters cluster.toml init "$port" || exit 1
for id in 1 2 3; do start $id; done
for id in 1 2 3; do ready $id; done
add apples 5 5

kill -9 "$(cat pid.1)"
add apples 2 7
say "a server is killed, the others go on"

# Enough for snapshots: 64 KiB of log.
sum=0
for i in $(seq 1 1000); do
	sum=$((sum + i))
	[ $((i % 100)) -eq 0 ] || continue
	add pears "$((sum))" "$sum"
	add pears "-$sum" 0
done
for i in $(seq 1 400); do add "counter-$((i % 7))" 1 "$(((i - 1) / 7 + 1))"; done

start 1
ready 1
kill -9 "$(cat pid.2)"
got=$(./counters cluster.toml get apples)
[ "$got" = 7 ] || fail "apples are $got, not 7"
start 2
ready 2
grep -q 'snapshot 0$' out.2 && fail "server 2 replayed its whole log: no snapshot was taken"
add apples 1 8
[ "$(./counters cluster.toml lead 3 | grep -c votes)" = 3 ] || fail "three servers do not vote"
add apples 1 9
say "the dead come back, one from a snapshot; nothing is lost"
