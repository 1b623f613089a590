# PostgreSQL's own source, as the package sources of this machine have it, and
# servers built of it otherwise than the packages are; to be sourced after
# lib.sh.  Both take long to make, so they are kept in a directory of the
# caller's, outside of the tree, which may be deleted at any time.

# programs of a server with the address sanitizer, which free nothing at their end
export ASAN_OPTIONS=detect_leaks=0

if [ -n "${IDEM_CACHE-}" ]; then
	cache=$IDEM_CACHE
elif [ "$(id -u)" -eq 0 ]; then
	# what is built there is run by somebody else, who may not look into /root
	cache=/var/cache/idem
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/idem
fi

# own_sources DIRECTORY: configures apt, in DIRECTORY alone, for the source
# packages of all places that this machine has its packages from.
own_sources() {
	local file parts
	mkdir -p "$1/parts" "$1/lists/partial" "$1/cache/archives/partial" || return
	eval "$(apt-config shell file Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
	for file in "$file" "$parts"*.list "$parts"*.sources; do
		[ -f "$file" ] || continue
		case $file in
			*.sources) sed 's/^[Tt]ypes:.*/Types: deb-src/' "$file" ;;
			*) sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file" ;;
		esac >"$1/parts/${file##*/}" || return
	done
	printf '%s\n' \
		'Dir::Etc::sourcelist "/dev/null";' \
		"Dir::Etc::sourceparts \"$1/parts\";" \
		"Dir::State::lists \"$1/lists\";" \
		"Dir::Cache \"$1/cache\";" \
		'Acquire::Check-Valid-Until "false";' \
		'Acquire::http::Timeout "20";' \
		'APT::Sandbox::User "";' >"$1/apt.conf"
}

# download_source VERSION DIRECTORY: the newest of the versions that can be
# had; what an index lists may have left its place.
download_source() {
	local apt=$2/apt version
	own_sources "$apt" && cd "$2" || return
	export APT_CONFIG=$apt/apt.conf
	apt-get -qq update || true	# one that cannot be had need not be the one
	for version in $(apt-cache showsrc "postgresql-$1" |
		sed -n 's/^Version: //p' | sort -Vru); do
		apt-get -qq --download-only source "postgresql-$1=$version" && return
	done
	return 1
}

# postgres_source VERSION: sets $tarball to PostgreSQL's source of this major
# version, or else $reason.
postgres_source() {
	local work found
	tarball=$(ls "$cache/source/postgresql-$1"_*.orig.tar.* 2>/dev/null | sort -V | tail -n 1)
	[ -z "$tarball" ] || return 0
	if ! command -v apt-get >/dev/null; then
		reason="there is no apt-get to get PostgreSQL's source package with"
		return 1
	fi
	work=$(mktemp -d) || return
	if (download_source "$1" "$work") >"$work/log" 2>&1 && mkdir -p "$cache/source"; then
		for found in "$work/postgresql-$1"_*.orig.tar.*; do
			case $found in
				*.asc) ;;
				# a name of its own until it is whole, should somebody else look
				*) tarball=$cache/source/${found##*/}
					cp "$found" "$tarball.$$" && mv "$tarball.$$" "$tarball" ;;
			esac
		done
	fi
	[ -n "$tarball" ] || reason="the package sources have no source of PostgreSQL $1: $(tail -n 1 "$work/log")"
	rm -rf "$work"
	[ -n "$tarball" ]
}

#
# Servers
#

# An allocation of its own for every chunk of memory, so that the sanitizer sees
# where each of them begins and ends.  From 16 on chunks are rounded up to eight
# bytes, which a mark behind each guards; before, they are as long as asked for.
malloc_each() {
	perl -0777 -i -pe '
		my $n = s/if \(size > set->allocChunkLimit\)/if (true)/;
		if (!/MemoryChunkIsExternal/)
		{
			$n += s/(set->allocChunkLimit >>= 1;\n)/$1\tset->allocChunkLimit = 0;\n/;
			$n += s/chunk_size = MAXALIGN\(size\);/chunk_size = Max(size, 8);/;
			$n += s/chksize = MAXALIGN\(chksize\);/chksize = Max(size, 8);/;
			$n == 4 or die "aset.c is not as expected\n";
		}
		$n or die "aset.c is not as expected\n";' "$1/src/backend/utils/mmgr/aset.c"
}

# A client that reads the memory of a server's compiler would be as slow, so
# only the server is built this way where that can be told apart; contrib is
# left out, but for what some test creates.
compile_server() {
	local kind=$1 prefix=$2 options=$3 flags=$4 cpp=$5 dir
	[ "$kind" != address ] || malloc_each . || return
	./configure --prefix="$prefix" --enable-debug --enable-tap-tests --with-icu \
		--without-readline $options CFLAGS="$flags" CPPFLAGS="$cpp" &&
		make -s -j2 && make -s DESTDIR="$PWD/root" install || return
	for dir in src/test/regress src/test/isolation src/test/perl contrib/pgcrypto \
		contrib/amcheck contrib/auto_explain contrib/btree_gist contrib/citext contrib/hstore contrib/ltree \
		contrib/pageinspect contrib/pg_stat_statements contrib/pg_walinspect \
		contrib/pgrowlocks contrib/postgres_fdw contrib/tcn contrib/test_decoding; do
		[ ! -d "$dir" ] || make -s -C "$dir" DESTDIR="$PWD/root" install || return
	done
}

# built_server KIND VERSION: sets $server to the directory of a server of this
# kind, building it where there is none yet, as a user who can spoil nothing.
built_server() {
	local kind=$1 version=$2 options=--enable-cassert flags="-O1 -g -fno-omit-frame-pointer"
	local cpp="-DCLOBBER_FREED_MEMORY= -DRANDOMIZE_ALLOCATED_MEMORY" sum work user=nobody
	case $kind in
		assert) ;;
		address) flags="$flags -fsanitize=address,undefined" ;;
		valgrind) cpp="$cpp -DUSE_VALGRIND" ;;
		*) die "there is no server of kind $kind" ;;
	esac
	postgres_source "$version" || die "$reason"
	sum=$(printf '%s\n' "$tarball" "$options" "$flags" "$cpp" \
		"$(declare -f compile_server malloc_each)" "$(gcc --version)" | cksum | cut -d' ' -f1)
	server=$cache/server/$version-$kind-$sum
	[ ! -x "$server/bin/postgres" ] || return 0
	say "Building PostgreSQL $version, $kind (once; takes some minutes) ..."
	wanted="bison bzip2 flex gcc libicu-dev make pkg-config"
	[ "$kind" != valgrind ] || wanted="$wanted valgrind"
	install_wanted
	work=$(mktemp -d /tmp/idem.XXXXXX) || exit
	mkdir "$work/source" && tar -C "$work/source" --no-same-owner --strip-components=1 -xf "$tarball" &&
		chmod 755 "$work" || die "cannot unpack $tarball"
	if [ "$(id -u)" -eq 0 ]; then
		! id -u postgres >/dev/null 2>&1 || user=postgres
		chown -R "$user" "$work"
		set -- setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups --
	else
		set --
	fi
	if ! "$@" bash -c "cd '$work/source' && $(declare -f compile_server malloc_each)
		compile_server '$kind' '$server' '$options' '$flags' '$cpp'" >"$work/log" 2>&1; then
		tail -n 30 "$work/log"
		die "PostgreSQL could not be built, in $work"
	fi
	mkdir -p "$cache/server" && rm -rf "$cache/server/$version-$kind"-* &&
		cp -R "$work/source/root$server" "$server.new" && mv "$server.new" "$server" &&
		cp "$work/source/src/tools/valgrind.supp" "$server/" ||
		die "cannot write to $cache"
	rm -rf "$work"
}
