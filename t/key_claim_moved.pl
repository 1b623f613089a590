# Claims made many in one transaction are completed while VACUUM FULL moves the
# rows of the keys again and again: every answer stands under its own key, and
# every call that said so has left one.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = 3;
my $clients = 6;
my $keys = 500;		# of each client, in each round

my $node = PostgreSQL::Test::Cluster->new('claim_moved');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE SEQUENCE next_key;
	CREATE TABLE said (key text PRIMARY KEY, completed boolean);
});

# Each transaction completes the next key, and notes what it was told.
my $script = $node->basedir . '/complete.sql';
append_to_file($script, q{
SELECT format('%s %s', :round, nextval('next_key')) AS key \gset
INSERT INTO said SELECT ':key', idem_complete(':key', to_jsonb(':key'::text), 1);
});

my $moved = 0;
foreach my $round (1 .. $rounds)
{
	my $count = $clients * $keys;
	my ($out, $err);

	$node->safe_psql('postgres', qq{
		SELECT setval('next_key', 1, false);
		SELECT count(idem_claim(format('%s %s', $round, n), lease => '1 hour'))
		FROM generate_series(1, $count) AS n;
	});
	my $bench = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $keys, '-D', "round=$round",
		  '-f', $script, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	while ($bench->pumpable)
	{
		$node->safe_psql('postgres', 'VACUUM FULL idem_key');
		$moved++;
		$bench->pump_nb;
	}
	ok($bench->finish, "round $round: all were completed") or diag($err);
}
cmp_ok($moved, '>=', $rounds, 'while their rows were moved');

my $all = $rounds * $clients * $keys;
is($node->safe_psql('postgres', q{SELECT count(*), bool_and(completed) FROM said}),
	"$all|t", 'each call said so,');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM idem_key WHERE outcome = 'completed' AND response = to_jsonb(key)}),
	$all, 'and each answer stands under its own key');

$node->stop;
done_testing();
