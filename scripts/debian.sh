# Debians of other suites than this machine's, made by debootstrap in directories, and
# commands run in them; to be sourced by bash, as root, after lib.sh and servers.sh.

# The Debian for a version: the suite that debootstrap makes, by which of its
# scripts, and another suite that only PostgreSQL comes from.
suites() {
	case $1 in
		15) echo bookworm bookworm ;;
		17) echo trixie trixie ;;
		18) echo forky testing ;;
		19) echo sid sid experimental ;;
	esac
}

# inside DIRECTORY COMMAND...: runs it in that Debian.  What has to be mounted
# there is mounted for this command alone.
inside() {
	root=$1 unshare --mount --pid --fork --kill-child sh -c '
		shift
		mount -t proc proc "$root/proc" &&
		mount -t devpts devpts "$root/dev/pts" &&
		mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" &&
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
			${http_proxy:+"http_proxy=$http_proxy"} chroot "$root" "$@"' sh "$@"
}

# own_mirror: where the packages of this machine's Debian come from, by its own
# configuration, and of which suite they are.  Updates (bookworm-updates,
# bookworm-security) may come from elsewhere, where there are no others.
own_mirror() {
	apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
		awk '$2 !~ /-/ { print; exit }'
}

# offered SUITE: has the mirror this suite?
offered() {
	local file status
	file=$(mktemp) || return
	rm -f "$file"
	/usr/lib/apt/apt-helper -o APT::Sandbox::User= -o Acquire::http::Timeout=20 \
		download-file "${mirror%/}/dists/$1/Release" "$file" >/dev/null 2>&1
	status=$?
	rm -f "$file"
	return $status
}

# find_mirror: sets $mirror, to $MIRROR where that is given, and $own_suite.
find_mirror() {
	read -r mirror own_suite <<-END
		$(own_mirror)
	END
	mirror=${MIRROR-$mirror}
}

# cannot_make_debian: sets $reason, if this machine can make none.
cannot_make_debian() {
	reason=
	if [ "$(id -u)" -ne 0 ]; then
		reason="only root can make a Debian"
	elif ! command -v debootstrap >/dev/null; then
		reason="there is no debootstrap: apt-get install debootstrap"
	elif [ -z "$mirror" ]; then
		reason="this machine has no packages of Debian's: MIRROR can say where they are"
	elif ! unshare --mount --pid --fork true 2>/dev/null; then
		reason="this machine lets nobody mount"
	fi
	[ -n "$reason" ]
}
