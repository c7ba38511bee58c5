# To be sourced. `phase TITLE COMMAND...` runs a command quietly and prints one line with the time it took; its output is shown
# only when it fails, and stays in build/test/. The first failure ends the script.

logs=build/test
mkdir -p "$logs" || exit 1
began=$(date +%s)
phases=0

duration() { # seconds, as people say them
	if [ "$1" -lt 60 ]; then
		printf '%ds' "$1"
	else
		printf '%dm %02ds' $(($1 / 60)) $(($1 % 60))
	fi
}

phase() {
	title=$1
	shift
	phases=$((phases + 1))
	log=$logs/$(printf '%02d' "$phases").log
	printf '  %-56s ' "$title"
	since=$(date +%s)
	if "$@" >"$log" 2>&1; then
		printf 'ok    %8s\n' "$(duration $(($(date +%s) - since)))"
		return
	fi
	printf 'FAILED %7s\n\n' "$(duration $(($(date +%s) - since)))"
	# What passed is noise here. All of it is in the file.
	grep -v -e '^ok  	' -e '\[no test files\]$' "$log" | tail -n 200
	printf '\n%s\nThe whole output is in %s.\n' "failed: $*" "$log"
	exit 1
}

finish() {
	printf '\n  all %d phases passed in %s\n' "$phases" "$(duration $(($(date +%s) - began)))"
}

# formatted fails with the names of files that gofmt would change.
formatted() {
	unformatted=$(git ls-files -z --cached --others --exclude-standard -- '*.go' | xargs -0 gofmt -l)
	[ -z "$unformatted" ] || {
		printf 'gofmt would change:\n%s\n' "$unformatted"
		return 1
	}
}
