# The draft's cases, by net/http and examples/middleware/go/idempotency.go.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('go'));
