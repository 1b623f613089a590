# pg_upgrade takes idem's tables along, with what is in them, and the rights of
# their owner: who created the extension, or took over from that role.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use PgUpgrade;

PgUpgrade::check(undef, undef);
done_testing();
