# The program of examples/clients/c, by libpq.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

my $place = place();
my ($includes, $libraries, $compiler) =
  map { my $answer = qx(pg_config $_); chomp $answer; $answer } '--includedir', '--libdir', '--cc';

client(
	'libpq',
	lacking => lacking('libpq-dev' => -e "$includes/libpq-fe.h"),
	build => [ split(' ', $compiler), '-Wall', '-Wextra', '-Werror', "-I$includes",
		'-o', "$place/shop", "$clients/c/libpq_shop.c",
		(-d $libraries ? "-L$libraries" : ()), '-lpq' ],
	command => ["$place/shop"]);
test_clients();
