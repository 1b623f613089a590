# The draft's cases, by net/http and examples/middleware/go/idempotency.go.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;

# Debian's libraries are a workspace of before there were modules.
my $workspace = '/usr/share/gocode';
my $place = place();
my $go = found('go', 'version');
local @ENV{qw(GO111MODULE GOPATH GOFLAGS GOTOOLCHAIN GOCACHE)} =
  ('off', $workspace, '', 'local', "$place/cache");

test_middleware(
	no_object => 400,
	source => 'go/idempotency.go',
	lacking => lacking(
		'golang-go' => $go,
		'golang-github-lib-pq-dev' => -d "$workspace/src/github.com/lib/pq"),
	build => [ $go // '', 'build', '-o', "$place/shop", glob "$middleware/go/*.go" ],
	command => ["$place/shop"]);
