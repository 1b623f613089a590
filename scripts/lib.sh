# What the scripts share; to be sourced by bash, not run.
#
# Everything happens in a throwaway place: a copy of this tree, a copy of a
# PostgreSQL installation into which idem is installed, and servers on unix
# sockets there, run by an unprivileged user.  The PostgreSQL of the system,
# its servers and this checkout stay as they are, and the place is removed at
# the end, whatever the end is.  The one thing that stays is what had to be
# installed from the system's packages.

set -u

MIN_VERSION=15
MAX_VERSION=19

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

#
# Finding PostgreSQL and the tools
#

pg_version() { "$1" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p'; }

# Does this pg_config tell of a whole server that one can build for?  A
# pg_config alone proves nothing: libpq's development files have one, too.
pg_usable() {
	local version bin program
	version=$(pg_version "$1")
	[ "${version:-0}" -ge $MIN_VERSION ] || return 1
	bin=$("$1" --bindir)
	for program in postgres initdb pg_ctl psql; do
		[ -x "$bin/$program" ] || return 1
	done
	[ -f "$("$1" --pgxs)" ] && [ -f "$("$1" --includedir-server)/postgres.h" ]
}

# pg_configs of this machine: that of the PATH, then the newest first.
pg_configs() {
	command -v pg_config
	ls -d /usr/lib/postgresql/*/bin/pg_config /usr/pgsql-*/bin/pg_config \
		/usr/libexec/postgresql*/pg_config /usr/local/pgsql/bin/pg_config \
		2>/dev/null | sort -Vr
}

# Sets pg_config, to $PG_CONFIG where that is given.
pg_find() {
	local candidate
	if [ -n "${PG_CONFIG-}" ]; then
		pg_config=$(command -v "$PG_CONFIG") || die "PG_CONFIG=$PG_CONFIG is not there"
		pg_usable "$pg_config" || die "PG_CONFIG=$PG_CONFIG has no PostgreSQL of version $MIN_VERSION or newer with its server development files"
		return
	fi
	for candidate in $(pg_configs); do
		if pg_usable "$candidate"; then
			pg_config=$candidate
			return
		fi
	done
	return 1
}

# The compiler must be the one that this PostgreSQL's makefiles will call.
tools_found() {
	command -v make && command -v prove && perl -MIPC::Run -MTest::More -e 1 &&
		printf '#include <stdio.h>\n' | $("$pg_config" --cc) -E -
} >/dev/null 2>&1

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# The version to install from Debian's packages: the one of the server that is
# there, or the newest one supported.
debian_version() {
	local version
	for version in $(seq $MAX_VERSION -1 $MIN_VERSION); do
		if [ -x "/usr/lib/postgresql/$version/bin/postgres" ]; then
			echo "$version"
			return
		fi
	done
	for version in $(seq $MAX_VERSION -1 $MIN_VERSION); do
		if apt-cache show "postgresql-server-dev-$version" >/dev/null 2>&1; then
			echo "$version"
			return
		fi
	done
	return 1
}

# Debian's package of a server makes a cluster and starts it.  Nobody asked
# for one, so a setting forbids it while the package is being installed.
debian_install='
	export DEBIAN_FRONTEND=noninteractive
	conf=/etc/postgresql-common/createcluster.d/zz-idem-throwaway.conf
	dir=; [ -d ${conf%/*} ] || dir=${conf%/*}
	trap "rm -f $conf; [ -z \"$dir\" ] || rmdir $dir 2>/dev/null" EXIT
	install() { apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=120 install "$@" </dev/null; }
	install make gcc libc6-dev perl libipc-run-perl || exit
	[ -n "$1" ] || exit 0
	install postgresql-common &&
		mkdir -p ${conf%/*} && echo "create_main_cluster = false" >$conf &&
		install postgresql-$1 postgresql-server-dev-$1
'

install_missing() {
	local log version=
	if ! command -v apt-get >/dev/null; then
		die "please install PostgreSQL $MIN_VERSION to $MAX_VERSION with its server development files (PGXS and its Perl modules for tests), make, gcc, perl with prove and IPC::Run; then run this again"
	fi
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		die "please install, as root, postgresql-NN and postgresql-server-dev-NN (NN from $MIN_VERSION to $MAX_VERSION), make, gcc, libc6-dev and libipc-run-perl; then run this again"
	fi
	say "Installing what is missing from the system's packages (once; takes a minute or two) ..."
	log=$(mktemp) || exit
	# an index that cannot be fetched need not be one that is wanted
	as_root apt-get -o DPkg::Lock::Timeout=120 update >"$log" 2>&1 || true
	if ! pg_find && ! version=$(debian_version); then
		tail -n 5 "$log"
		rm -f "$log"
		die "the package sources offer no PostgreSQL from $MIN_VERSION to $MAX_VERSION: see https://wiki.postgresql.org/wiki/Apt"
	fi
	if ! as_root bash -c "$debian_install" install "$version" >>"$log" 2>&1; then
		tail -n 20 "$log"
		rm -f "$log"
		die "the installation failed"
	fi
	rm -f "$log"
}

# What only some of a script's tests need: packages, by Debian's names.  NN stands for
# the version of PostgreSQL, where that is Debian's.
wanted=

# A service that a package brings along is not to run: nobody asked for one.
# What this version of the system does not have is left out.
wanted_install='
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d made=
	[ -e $policy ] || { printf "#!/bin/sh\nexit 101\n" >$policy && chmod 755 $policy && made=$policy; }
	trap "[ -z \"$made\" ] || rm -f $made" EXIT
	install() { apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=120 install "$@"; }
	offered() { for package; do ! apt-cache show "$package" >/dev/null 2>&1 || echo "$package"; done; }
	install "$@" || { apt-get -o DPkg::Lock::Timeout=120 update; install $(offered "$@"); } || exit
	! command -v systemctl || systemctl disable "$@"
'

# Is a package there, or a program of its name from elsewhere?
wanted_found() {
	PATH=$PATH:/usr/sbin command -v "$1" ||
		dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" | grep '^ii'
} >/dev/null 2>&1

# Tries to install what is wanted.  Where that cannot be, the script goes on,
# and the tests that need it say so.
install_wanted() {
	local package missing=
	for package in $wanted; do
		if [[ $package = *-NN-* ]]; then
			# only Debian's own PostgreSQL has its extensions from there
			[[ $("$pg_config" --bindir) = /usr/lib/postgresql/* ]] || continue
			package=${package/NN/$(pg_version "$pg_config")}
		fi
		wanted_found "$package" || missing="$missing $package"
	done
	[ -n "$missing" ] && command -v apt-get >/dev/null || return
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || return
	say "Installing$missing from the system's packages (once) ..."
	as_root bash -c "$wanted_install" install $missing </dev/null >/dev/null 2>&1
}

#
# The throwaway place
#

programs='postgres initdb pg_ctl pg_config psql pgbench createdb dropdb
createuser dropuser clusterdb vacuumdb reindexdb pg_amcheck pg_archivecleanup
pg_basebackup pg_checksums pg_combinebackup pg_controldata pg_createsubscriber
pg_dump pg_dumpall pg_isready pg_receivewal pg_recvlogical pg_resetwal
pg_restore pg_rewind pg_upgrade pg_verifybackup pg_waldump pg_walsummary'

# Copies the installation of pg_config into $place/pg.  PostgreSQL finds its
# files by where its program is, relative to it, so the copy is one that can
# be written to and that shares no file with the original but the headers.
copy_installation() {
	local bin dir to program
	bin=$("$pg_config" --bindir)
	mkdir -p "$place/pg$bin" || return
	for program in $programs; do
		[ ! -x "$bin/$program" ] || cp -pL "$bin/$program" "$place/pg$bin/" || return
	done
	for dir in "$("$pg_config" --pkglibdir)" "$("$pg_config" --sharedir)"; do
		to=$place/pg$dir
		mkdir -p "$to" && cp -RL "$dir/." "$to/" || return
	done
	for dir in --includedir --pkgincludedir --includedir-server; do
		dir=$("$pg_config" $dir)
		to=$place/pg$dir
		[ -e "$to" ] || { mkdir -p "${to%/*}" && ln -s "$dir" "$to"; } || return
	done
	place_bin=$place/pg$bin
}

copy_tree() {
	mkdir "$place/src" &&
		tar -C "$top" --exclude=./.git -cf - . | tar -C "$place/src" --no-same-owner -xf -
}

# Stops every server in the place, whether a script or a test started it.
stop_servers() {
	local pidfile pid pids=
	for pidfile in $(find "$place" -name postmaster.pid 2>/dev/null); do
		pid=$(head -n 1 "$pidfile")
		# one that crashed leaves its file behind, and its number to others
		[ "/proc/$pid/cwd" -ef "${pidfile%/*}" ] || continue
		kill -QUIT "$pid" 2>/dev/null && pids="$pids $pid"
	done
	for pid in $pids; do
		timeout 10 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null
	done
}

# Must also do its work when the terminal is gone, so nothing here speaks.
leave() {
	trap '' HUP INT TERM
	# the whole group: a script may leave processes in the background
	if [ -n "$child" ]; then
		kill -TERM -- "-$child" && wait "$child"
	fi
	stop_servers
	# again, should a process have written until just now
	rm -rf "$place" || rm -rf "$place"
} 2>/dev/null

# Runs the command as a user PostgreSQL is willing to run as.
unprivileged() {
	local user=nobody
	if [ "$(id -u)" -ne 0 ]; then
		exec "$@"
	fi
	! id -u postgres >/dev/null 2>&1 || user=postgres
	chown -R "$user" "$place" || exit
	exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
}

# What a script may have done as its caller, in the copy of the tree: first of
# all, and when it has come to its end.
prepare() { :; }
collect() { :; }

# throwaway "$@"
#
# Goes on with the calling script inside a throwaway place: in a copy of the
# tree, with the copied installation first in PATH, the caller's environment
# left behind.  Outside, waits for that, cleans up and exits with its status.
throwaway() {
	local base=/tmp locale=C status script
	if [ -n "${IDEM_PLACE-}" ]; then
		place=$IDEM_PLACE
		return
	fi
	script=$(cd "$(dirname "$0")" && pwd)/${0##*/} || exit
	top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit
	pg_find && tools_found || { install_missing; pg_find && tools_found; } ||
		die "PostgreSQL or a tool is missing although its package is installed"
	install_wanted
	# sockets live there, and the name of a socket may have 107 bytes
	if [ "$(id -u)" -ne 0 ] && [ -n "${TMPDIR-}" ] && [ "${#TMPDIR}" -lt 40 ]; then
		base=$TMPDIR
	fi
	place=$(mktemp -d "$base/idem.XXXXXX") || exit
	child=
	trap leave EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir "$place/tmp" && copy_tree && copy_installation && cd "$place/src" ||
		die "cannot copy into $place"
	prepare || exit
	! locale -a 2>/dev/null | grep -qix 'C.utf-\?8' || locale=C.UTF-8

	# A process group of its own, so that all of it can be ended.
	set -m
	unprivileged env -i IDEM_PLACE="$place" PATH="$place_bin:$PATH" HOME="$place" \
		TMPDIR="$place/tmp" TERM="${TERM-dumb}" LANG=$locale \
		bash "$place/src/${script#"$top/"}" "$@" </dev/null &
	child=$!
	set +m
	wait "$child"
	status=$?
	collect
	exit $status
}

#
# Inside the throwaway place
#

# What PostgreSQL's own headers are not clean of is let pass.
strict="-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
-Wno-missing-field-initializers -Wno-cast-function-type"

# Builds idem and installs it, in $place alone.
build() {
	make -s clean >/dev/null &&
		make -s -j2 with_llvm=no COPT="$strict" all &&
		make -s with_llvm=no install >/dev/null
}

# start_server [SETTING=VALUE...]: starts a server that the clients' defaults
# lead to, making its cluster first; or starts it again with other settings.
start_server() {
	local setting options=
	export PGHOST=$place PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	if [ ! -d "$place/data" ]; then
		initdb --auth=trust --username=postgres --no-sync --encoding=UTF8 \
			--locale=C --pgdata="$place/data" >"$place/initdb.log" 2>&1 ||
			{ cat "$place/initdb.log"; return 1; }
	fi
	stop_server
	for setting in listen_addresses= "unix_socket_directories=$place" "$@"; do
		options="$options -c '$setting'"
	done
	pg_ctl -D "$place/data" -l "$place/server.log" -w -o "$options" start >/dev/null ||
		{ tail -n 20 "$place/server.log"; return 1; }
}

stop_server() {
	[ ! -f "$place/data/postmaster.pid" ] ||
		pg_ctl -D "$place/data" -w -m fast stop >/dev/null
}
