# Look-ups disturb nobody, and are told what is: not that somebody is at a key
# because somebody else looks it up, and not that a key was never used because
# its row is just being updated.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('lookup');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE told (who text, what text);
});

# Runs scripts side by side, each in so many clients, and returns which of them
# was answered what, and how often.
my $runs = 0;

sub told
{
	my (%scripts) = @_;
	my @benches;

	$node->safe_psql('postgres', 'TRUNCATE told');
	foreach my $who (sort keys %scripts)
	{
		my ($clients, $transactions, $script) = @{ $scripts{$who} };
		my $file = $node->basedir . '/script' . $runs++ . '.sql';

		append_to_file($file, $script);
		push @benches, IPC::Run::start(
			[ 'pgbench', '-n', '-c', $clients, '-t', $transactions,
			  '-f', $file, $node->connstr('postgres') ],
			'>', '/dev/null', '2>', \my $err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	ok($_->finish, 'the clients come through') foreach @benches;
	return $node->safe_psql('postgres',
		'SELECT who, what, count(*) FROM told GROUP BY 1, 2 ORDER BY 1, 2');
}

is(told(
		looker => [ 4, 3000, q{
			INSERT INTO told SELECT 'looker', outcome FROM idem_lookup('unused') WHERE outcome IS NOT NULL;} ]),
	'', 'look-ups of one unused key know nothing of each other');

is(told(
		looker => [ 3, 3000, q{SELECT * FROM idem_lookup('free');} ],
		claimer => [ 1, 2000, q{
			BEGIN;
			SELECT outcome FROM idem_claim('free', wait => false) \gset
			ROLLBACK;
			INSERT INTO told VALUES ('claimer', ':outcome');} ]),
	'claimer|claimed|2000', 'nor does a claim that does not wait');

$node->safe_psql('postgres', q{SELECT idem_claim('held', lease => '1 hour')});
is(told(
		looker => [ 3, 4000, q{
			INSERT INTO told SELECT 'looker', 'nothing' FROM idem_lookup('held') WHERE outcome IS NULL;} ],
		holder => [ 1, 4000, q{
			SELECT idem_extend('held', 1, '1 hour');} ]),
	'', 'a key whose row is updated all the time is always found');

is($node->safe_psql('postgres', q{
		BEGIN;
		SELECT outcome FROM idem_lookup('unused');
		SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
		COMMIT;}),
	"\n0", 'a look-up leaves no lock');

$node->stop;
done_testing();
