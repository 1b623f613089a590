# How the scripts run the tests, and count them; to be sourced by bash, after
# lib.sh.

. "$(dirname "$0")/servers.sh"

passed=0
failed=0
failures=()			# what failed, and how it said so, a line each
limit=300			# seconds for a test run that hangs
report='^(not )?ok [0-9]|^test .* \.\.\. '	# a line of pg_regress on a test
regress=		# the tests of these kinds to run, all by default
isolation=

# failure WHAT [COUNT]: counts it, once by default, and has totals say so.
failure() {
	failed=$((failed + ${2-1}))
	failures+=("$1")
}

totals() {
	if [ $((passed + failed)) -eq 0 ]; then
		say "There are no tests."
		failed=1
	fi
	say
	# once more at the end, as what stands above may be long, or cut off
	[ ${#failures[@]} -eq 0 ] ||
		printf "failed on PostgreSQL $(pg_version "$(command -v pg_config)"): %s\n" "${failures[@]}"
	say "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
}

# The end of a log that tells why a test failed.
excerpt() {
	[ -s "$1" ] || return
	say "--- ${1#"$place"/}"
	tail -n "$2" "$1"
}

# installcheck TITLE SETTING...: the tests of sql/ and specs/ against a server with
# these settings.  pg_regress reports "test x ... ok", newer ones "ok 1 - x";
# a test that it does not report as passed has failed.
installcheck() {
	local title=$1 expected name ok reported tests=()
	shift
	say
	say "== regression and isolation tests, $title"
	expected=$(ls sql/*.sql specs/*.spec 2>/dev/null | wc -l)
	if [ -n "$regress$isolation" ]; then
		tests=(REGRESS="$regress" ISOLATION="$isolation")
		expected=$(printf '%s' "$regress $isolation" | wc -w)
	fi
	rm -rf regression.diffs output_iso
	: >"$place/installcheck.log"
	# the isolation tests are to run even if a regression test failed
	start_server fsync=off "$@" &&
		timeout --foreground $limit make -s -i installcheck "${tests[@]}" 2>&1 |
		tee "$place/installcheck.log" | grep --line-buffered -E "$report"
	ok=$(grep -cE '^ok [0-9]|^test .* \.\.\. ok' "$place/installcheck.log")
	reported=$(grep -cE "$report" "$place/installcheck.log")
	passed=$((passed + ok))
	failed=$((failed + expected - ok))
	while read -r name; do
		failures+=("$name, $title")
	done < <(sed -nE 's/^not ok [0-9]+ +[-+] +([^ ]+).*/\1/p; s/^test ([^ ]+) +\.\.\. FAILED.*/\1/p' "$place/installcheck.log")
	[ "$reported" -ge "$expected" ] ||
		failures+=("$((expected - reported)) tests that did not run, $title")
	excerpt regression.diffs 200
	excerpt output_iso/regression.diffs 200
	if [ "$reported" -ne "$expected" ]; then
		excerpt "$place/installcheck.log" 20
		excerpt "$place/server.log" 40
	fi
	stop_server
}

# PostgreSQL's own isolation tests, which one of ours runs.
own_specs() {
	mkdir "$place/postgresql" || return
	if postgres_source "$(pg_version "$pg_config")"; then
		tar -C "$place/postgresql" --no-same-owner --strip-components=1 \
			--wildcards -xf "$tarball" '*/src/test/isolation' 2>/dev/null && return
		reason="$tarball cannot be unpacked"
	fi
	say "$reason" >"$place/postgresql/missing"
}

# What the tests in t/ want to know.
tap_environment() {
	pgxs=$(pg_config --pgxs)
	test=${pgxs%/makefiles/*}/test
	export PG_REGRESS=$test/regress/pg_regress PERL5LIB=$test/perl
	export TESTLOGDIR=tmp_check/log		# where they are by default before 16
	export IDEM_POSTGRES_SOURCE=$place/postgresql
	export IDEM_CLIENTS=$place/clients
	unset PGHOST PGPORT PGUSER PGDATABASE
}

# How a test that reports in TAP has failed: the first thing that it says.
failed_how() {
	if [ "$1" -eq 124 ]; then
		say "not over after $limit seconds"
	else
		{ grep '^# *Failed test ' "$place/prove.log" || grep . "$place/prove.log"; } |
			sed 's/^# *//; q'
	fi
}

# tap FILE: one test that reports in TAP.  Those in t/ make servers of their own.
tap() {
	local name=${1#t/} started=$SECONDS status log
	timeout --foreground $limit prove "$1" >"$place/prove.log" 2>&1
	status=$?
	if [ $status -eq 0 ]; then
		passed=$((passed + 1))
		printf 'test %-29s ... ok %12d s\n' "$name" $((SECONDS - started))
		sed -n 's/^.* skipped: /     /p' "$place/prove.log"
	else
		failure "$1: $(failed_how $status)"
		cat "$place/prove.log"
		name=$(basename "$1" .pl)
		excerpt "tmp_check/log/regress_log_$name" 60
		for log in tmp_check/log/"$name"_*.log; do
			excerpt "$log" 40
		done
	fi
}

#
# Servers that notice more than others
#

# What a server with the sanitizers (see servers.sh) and its clients do when these
# find something.  That of undefined behaviour goes on, and has no file of its own:
# see noticed.
under_address() {
	export ASAN_OPTIONS=abort_on_error=1:disable_coredump=0:detect_leaks=0
	ASAN_OPTIONS=$ASAN_OPTIONS:log_path=$place/findings/address
	export UBSAN_OPTIONS=print_stacktrace=1
}

# What is in the logs of servers: failed assertions, overwritten memory, and what
# the sanitizer of undefined behaviour says; each once, with the stack behind it.
noticed() {
	cat $(find "$place/server.log" tmp_check/log -name '*.log' 2>/dev/null) /dev/null | awk '
		/^TRAP: |detected write past chunk end|: runtime error: / { shown = !seen[$0]++ }
		!/^TRAP: |detected write past chunk end|: runtime error: |^ *#[0-9]+ / { shown = 0 }
		shown'
}

# findings WHAT: what has been found since the last time.
findings() {
	local file count=0
	for file in $(find "$place/findings" -type f -size +0 | sort); do
		count=$((count + 1))
		if [ $count -le 5 ]; then
			say "--- ${file##*/}, $1"
			head -n 60 "$file"
		fi
	done
	# what the server itself notices need not make a test fail
	noticed >"$place/noticed"
	head -n 200 "$place/noticed"
	count=$((count + $(grep -vc '^ *#' "$place/noticed")))
	rm -rf "$place/findings"/* tmp_check/log
	[ ! -f "$place/server.log" ] || : >"$place/server.log"
	if [ $count -gt 0 ]; then
		say "$count findings, $1"
		failure "$1: $count findings" $count
	fi
}

# internal_errors: those in the server's log that idem raises, by the file that a verbose
# log says, and what a statement of t/fuzz has found.
internal_errors() {
	awk '
		/ERROR:  XX/ { error = $0 }
		/LOCATION:/ {
			file = $NF; sub(/:.*/, "", file)
			if (error != "" && system("ls src/*/" file " >/dev/null 2>&1") == 0)
				print error " (" $NF ")"
			error = ""
		}
		/LOG:  .*idem fuzz: / { print }' "$place/server.log" | sort -u
}
