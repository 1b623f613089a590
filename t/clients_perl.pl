# The program of examples/clients/perl, by DBD::Pg.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

client(
	'DBD::Pg',
	lacking => lacking('libdbd-pg-perl' => eval { require DBD::Pg }),
	command => [ $^X, "$clients/perl/dbd_pg.pl" ]);
test_clients();
