# The draft's cases, by PostgREST's statements and examples/middleware/postgrest/api.sql.
# PostgREST itself is not in Debian: a stub does what it does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;

my $python = python('psycopg');
test_middleware(
	sql => ["$middleware/postgrest/api.sql"],
	grant => 'GRANT web TO seller',
	last_header => 1,
	no_object => 0,
	# PostgREST has a form of its own for errors
	unlike => ['problem'],
	lacking => lacking('python3-psycopg' => $python),
	command => [ $python // '', "$FindBin::RealBin/lib/postgrest_stub.py" ]);
