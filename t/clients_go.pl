# The programs of examples/clients/go, by pgx and lib/pq.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

# Debian's libraries are a workspace of before there were modules.
my $workspace = '/usr/share/gocode';
my $place = place();
my $go = found('go', 'version');
local @ENV{qw(GO111MODULE GOPATH GOFLAGS GOTOOLCHAIN GOCACHE)} =
  ('off', $workspace, '', 'local', "$place/cache");

foreach (
	[ 'pgx', 'pgx', 'jackc/pgx/v4', 'golang-github-jackc-pgx-v4-dev' ],
	[ 'lib/pq', 'pq', 'lib/pq', 'golang-github-lib-pq-dev' ])
{
	my ($name, $program, $library, $package) = @$_;

	client(
		$name,
		lacking => lacking(
			'golang-go' => $go,
			$package => -d "$workspace/src/github.com/$library"),
		build => [ $go // '', 'build', '-o', "$place/$program", "$clients/go/$program/main.go" ],
		command => ["$place/$program"]);
}
test_clients();
