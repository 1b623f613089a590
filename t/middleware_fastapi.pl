# The draft's cases, by FastAPI and examples/middleware/python/asgi_idempotency.py.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;

my $python = python(qw(fastapi uvicorn psycopg psycopg_pool));

test_middleware(
	no_object => 422,
	source => 'python/asgi_idempotency.py',
	lacking => lacking('python3-fastapi, python3-uvicorn or python3-psycopg-pool' => $python),
	command => [ $python // '', "$middleware/python/fastapi_shop.py" ]);
