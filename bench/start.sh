# What the benchmarks share; to be sourced by bash, not run.
#
# They run on a throwaway server, as scripts/lib.sh makes it, and write their
# figures to docs/benchmarks/ and, of all that is there, docs/benchmarks.md.

top=$(cd "$(dirname "$0")/.." && pwd) || exit
. "$top/scripts/lib.sh"

wanted=python3

# Where nothing else is said: a server of a size that its data fit, whose
# checkpoints come when the benchmark asks for them.
settings="shared_buffers=1GB max_wal_size=32GB checkpoint_timeout=1h
checkpoint_completion_target=0.9 autovacuum=off max_connections=100
shared_preload_libraries=idem"

# The clients in node, whose packages are fetched by who called.
node_packages() {
	(cd bench/node && npm ci --ignore-scripts --no-audit --no-fund \
		--cache "$place/npm" >"$place/npm.log" 2>&1) || {
		say "npm cannot fetch the packages of bench/node: leaving out the clients in node"
		tail -n 3 "$place/npm.log"
		rm -rf bench/node/node_modules
	}
}

# The commit, which the copy of the tree does not know.
commit_known() {
	git -c safe.directory="$top" -C "$top" describe --always --dirty >bench/commit 2>/dev/null || :
}

collect() {
	[ ! -e "$place/src/docs/benchmarks/written" ] ||
		(cd "$place/src" && rm docs/benchmarks/written && mkdir -p "$top/docs" &&
			cp -R docs/benchmarks.md docs/benchmarks "$top/docs/")
}

# begin "$@": what bench/NAME does is in harness/NAME.py.
begin() {
	local program=bench/harness/${0##*/}.py argument
	if [ -z "${IDEM_PLACE-}" ] && command -v python3 >/dev/null; then
		# a mistake, or a question, is not worth a server
		python3 "$top/$program" --parse-only "$@" || exit
		for argument; do
			case $argument in -h | --help) exit ;; esac
		done
	fi
	throwaway "$@"
	say "Building idem ..."
	build && start_server $settings || exit
	PLACE=$place exec python3 "$program" "$@"
}
