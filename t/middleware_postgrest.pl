# The draft's cases, by PostgREST's statements and examples/middleware/postgrest/api.sql.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('postgrest'));
