# The draft's cases, by com.sun.net.httpserver and examples/middleware/java/Idempotency.java.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('java'));
