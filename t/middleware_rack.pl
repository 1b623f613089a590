# The draft's cases, by Rack and examples/middleware/ruby/idempotency.rb.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Middleware;
use Shops;

test_middleware(shop('rack'));
