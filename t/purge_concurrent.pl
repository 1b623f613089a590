# Any number of purgers side by side, the worker among them: no key is purged
# twice, none is left, and none that is live goes.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('purge_concurrent');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.worker = off
idem.purge_naptime = '10ms'
idem.purge_batch_size = 100
idem.purge_delay = 0
});
$node->start;

# Note every deletion of a key, and who made it.
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY);
	CREATE TABLE deleted (key text, by text);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.deleted
		SELECT old.key, backend_type FROM pg_stat_get_activity(pg_backend_pid()) AS a
		WHERE old.scope = '';
		RETURN old;
	END $$;
	CREATE TRIGGER note BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TABLE purged (rows bigint);
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	SELECT '', k, 'inserted', 1, current_user::text::idem_role, '2000-01-01', timestamptz '2000-01-02' + k * interval '1 s'
	FROM generate_series(1, 100000) AS k;
});

sub pgbench
{
	my ($options, $script, $name) = @_;

	my $file = $node->basedir . '/script.sql';
	unlink $file;
	append_to_file($file, $script);
	$node->command_ok([ 'pgbench', '-n', split(/ /, $options), '-f', $file, 'postgres' ], $name);
}

$node->safe_psql('postgres', 'ALTER SYSTEM SET idem.worker = on');
$node->reload;
pgbench('-c 4 -t 50', 'INSERT INTO purged SELECT idem_purge(150);', 'four sessions purge');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM idem_key'),
	'together with the worker they purge all');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT key) FROM deleted'),
	'100000|100000', 'each key once');
is($node->safe_psql('postgres', q{
	SELECT sum(rows) = (SELECT count(*) FROM deleted WHERE by = 'client backend') FROM purged}),
	't', 'and each session counts its own');
is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT by, $$, $$ ORDER BY by) FROM deleted'),
	'client backend, idem purger', 'both had their share');

# Keys are claimed, expire and are purged all the time.  Once claimed for an
# hour, a key is live to the end: it is not purged, and never claimed again.
$node->safe_psql('postgres', q{
	TRUNCATE deleted;
	CREATE TABLE used (key text, hours int, replayed boolean);
	CREATE VIEW kept AS SELECT key FROM used WHERE hours = 1 AND NOT replayed;
});
pgbench('-c 4 -t 3000', q{
\set key random(1, 1000)
\set hours case when random(1, 10) = 1 then 1 else 0 end
INSERT INTO used SELECT :key, :hours, replayed FROM
	idem_upsert(:key::text, 't', jsonb_build_object('id', :key),
		ttl => make_interval(hours => :hours, secs => 0.000001));
}, 'keys are claimed and purged');
ok($node->poll_query_until('postgres', 'SELECT bool_and(expires_at > now()) FROM idem_key'),
	'the expired ones go');
is($node->safe_psql('postgres', q{
	SELECT count(*) > 100, count(*) = count(DISTINCT key) FROM kept}),
	't|t', 'no live key was claimed again');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT key FROM kept EXCEPT SELECT key FROM idem_key) AS lost}),
	'0', 'no live key is gone');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM deleted WHERE by = 'idem purger'}),
	'>', 100, 'while the worker was purging');

$node->stop;
done_testing();
