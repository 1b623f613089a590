# The draft's cases, by Django and examples/middleware/python/django_idempotency.py.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('django'));
