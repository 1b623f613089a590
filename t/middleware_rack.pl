# The draft's cases, by Rack and examples/middleware/ruby/idempotency.rb.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;

my $ruby = found('ruby', '-rpg', '-rrack', '-e', 'Rack::Handler.pick(%w[puma webrick])');

test_middleware(
	source => 'ruby/idempotency.rb',
	lacking => lacking('ruby-pg, ruby-rack or one of puma and ruby-webrick' => $ruby),
	command => [ $ruby // '', "$middleware/ruby/rack_shop.rb" ]);
