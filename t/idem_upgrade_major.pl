# pg_upgrade to another major version of PostgreSQL takes everything along as one to
# the same version does.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use Installation;
use PgUpgrade;

my ($other) = Installation::others();
plan skip_all => 'there is no second version of PostgreSQL' if !defined $other;

# idem is installed in the one that is tested; in a copy of the other.
my $place = PostgreSQL::Test::Utils::tempdir_short;
my $installation = Installation->new("$place/pg", $other);
$installation->install(Installation::sources("$place/src", $other));

my @way = (undef, $installation->{root});
@way = reverse @way if $installation->{major} < Installation::major('pg_config');
note 'from or to ', $installation->{major};
PgUpgrade::check(@way);
done_testing();
