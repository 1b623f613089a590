# The program of examples/clients/php, by PDO.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

my $php = found('php', '-r', 'exit(!extension_loaded("pdo_pgsql"));');

client(
	'pdo',
	lacking => lacking('php-cli or php-pgsql' => $php),
	command => [ $php // '', "$clients/php/pdo.php" ]);
test_clients();
