# Claims whose time is over at once, while the worker purges: no fence of a key is
# given twice, so no late holder writes under the claim of another.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('purge_fences');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.purge_naptime = '10ms'
idem.purge_delay = 0
});
$node->start;

# late() is a holder of the newest fence, or of one before; it is let in if it still is.
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE given (key text, fence bigint, claim bigserial);
	CREATE TABLE ended (key text, fence bigint);
	CREATE FUNCTION late(which text, before int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		former bigint := (SELECT fence FROM given WHERE key = which ORDER BY claim DESC
			OFFSET before LIMIT 1);
	BEGIN
		IF former IS NOT NULL AND idem_complete(which, '1', former, ttl => '1 ms') THEN
			INSERT INTO ended VALUES (which, former);
		END IF;
	EXCEPTION WHEN SQLSTATE 'ID002' OR SQLSTATE 'ID003' THEN
	END $$;
});

my $script = $node->basedir . '/script.sql';
append_to_file($script, q{
\set n random(1, 5)
\set before random(0, 2)
INSERT INTO given (key, fence) SELECT 'k' || :n, fence
FROM idem_claim('k' || :n, lease => '1 ms', ttl => '1 ms') WHERE outcome = 'claimed';
SELECT late('k' || :n, :before);
SELECT outcome FROM idem_execute('once ' || random(), 'SELECT 1', ttl => '1 ms');
});

foreach my $level ('read committed', 'repeatable read', 'serializable')
{
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . ($level =~ s/ /\\ /r);

	$node->command_ok([ 'pgbench', '-n', '-c', 4, '-t', 300, '--max-tries', 1000, '-f', $script, 'postgres' ],
		"four sessions claim and come back late, $level");
	is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT (key, fence)) FROM given'), '0',
		'no fence is given twice');
	is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT (key, fence)) FROM ended'), '0',
		'each ends one claim at most');
}
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM given'), '>', 100, 'many claims were made');
is($node->safe_psql('postgres', q{
	INSERT INTO given (key, fence) SELECT 'held', fence FROM idem_claim('held', lease => '1 hour');
	SELECT late('held', 0) \g /dev/null
	SELECT count(*) FROM ended WHERE key = 'held'}), '1', 'who is in time is let in');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM idem_key WHERE key LIKE 'once %'"),
	'what had no lease is purged');
is($node->safe_psql('postgres', q{SELECT count(*) FROM idem_key WHERE key LIKE 'k_'}), '5', 'and the keys of claims are kept');

$node->safe_psql('postgres', 'ALTER SYSTEM SET idem.fence_retention = 0');
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM idem_key'), 'until they are to be kept no more');
$node->stop;

done_testing();
