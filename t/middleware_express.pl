# The draft's cases, by Express and examples/middleware/node/idempotency.mjs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('express'));
