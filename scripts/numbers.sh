#!/bin/sh
# Looks at the settings of a target before it builds anything, and says in one line what is wrong with one.
#
#   numbers.sh [most=N] [RUNS=…] [FROM=…] [SEED=…] [LONG=…] [alone=NAMES]
#
# most is the largest RUNS; alone names settings that mean nothing beside a SEED. RUNS stands before FROM.
most=1000000000
runs=1
largest=18446744073709551615 # 2^64-1, more than the shell's own numbers

wrong() {
	printf '%s\n' "$1" >&2
	exit 2
}

# number tells whether a text is a number from 1 to 2^64-1.
number() {
	case $1 in
	'' | 0* | *[!0-9]*) return 1 ;;
	esac
	[ ${#1} -lt 20 ] || { [ ${#1} -eq 20 ] && [ "$(printf '%s\n%s\n' "$1" "$largest" | LC_ALL=C sort | tail -n 1)" = "$largest" ]; }
}

# last_seed_fits tells whether $1 + $2 - 1 is at most 2^64-1, for numbers of which the second is small.
last_seed_fits() {
	[ ${#1} -eq 20 ] || return 0
	head=${1%??????????}
	tail=${1#"$head"}
	[ "$head" -lt 1844674407 ] || [ $((1$tail - 10000000000 + $2 - 1)) -le 3709551615 ]
}

for setting; do
	name=${setting%%=*}
	value=${setting#*=}
	case $name in
	most) most=$value ;;
	alone) wrong "SEED runs one seed alone: leave out $value, or SEED" ;;
	SEED | FROM) number "$value" || wrong "$name must be a number from 1 to 2^64-1: \"$value\"" ;;
	RUNS)
		number "$value" && [ ${#value} -le ${#most} ] && [ "$value" -le "$most" ] || wrong "RUNS must be a number from 1 to $most: \"$value\""
		runs=$value
		;;
	LONG)
		printf '%s\n' "$value" | grep -q -E '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$' && printf '%s\n' "$value" | grep -q '[1-9]' ||
			wrong "LONG must be a time such as 90s, 5m or 1h30m: \"$value\""
		;;
	*) wrong "numbers.sh: $name is no setting" ;;
	esac
	[ "$name" != FROM ] || last_seed_fits "$value" "$runs" ||
		wrong "FROM must leave room for RUNS=$runs seeds below 2^64: \"$value\""
done
