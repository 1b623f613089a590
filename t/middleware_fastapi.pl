# The draft's cases, by FastAPI and examples/middleware/python/asgi_idempotency.py.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('fastapi'));
