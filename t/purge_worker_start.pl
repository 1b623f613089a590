# The background worker without shared_preload_libraries: idem_worker_start()
# starts it for the current database, idem_worker_stop() ends it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('worker_start');
$node->init;
$node->append_conf('postgresql.conf', q{
restart_after_crash = on
max_prepared_transactions = 2
idem.purge_naptime = '20ms'
});
$node->start;

sub use_keys
{
	my ($db) = @_;

	$node->safe_psql($db, q{
		SELECT count(outcome) FROM generate_series(1, 50) AS id,
			idem_upsert('k' || id, 't', jsonb_build_object('id', id), ttl => '1 microsecond')});
}

sub is_purged
{
	my ($db, $name) = @_;

	ok($node->poll_query_until($db, 'SELECT count(*) = 0 FROM idem_key'), $name);
}

sub is_gone
{
	my ($name) = @_;

	ok($node->poll_query_until('postgres', q{
		SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'idem%'}),
		$name);
}

foreach my $db (qw(one two))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION idem; CREATE TABLE t (id int PRIMARY KEY)');
}

# One at most; started in the database that it is to purge, and only there.
is($node->safe_psql('one', 'SELECT idem_worker_stop()'), 'f', 'none to stop');
is($node->safe_psql('one', 'SELECT idem_worker_start()'), 't', 'started');
is($node->safe_psql('one', 'SELECT idem_worker_start()'), 'f', 'once only');
is($node->safe_psql('postgres', q{
	SELECT datname IS NULL FROM pg_stat_activity WHERE backend_type = 'idem launcher'}),
	't', 'it shows in pg_stat_activity');
use_keys($_) for qw(two one);
is_purged('one', 'purges');
is($node->safe_psql('two', 'SELECT idem_purge()'), '50', 'not another database');
is($node->safe_psql('two', 'SELECT idem_worker_start()'), 't', 'which may have its own');
use_keys('two');
is_purged('two', 'and that one purges there');

# Stopped means stopped.
is($node->safe_psql('two', 'SELECT idem_worker_stop()'), 't', 'stopped');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'idem launcher'}),
	'1', 'it is gone when the call returns');
is($node->safe_psql('two', 'SELECT idem_worker_stop()'), 'f', 'once only');
is($node->safe_psql('one', q{
	SELECT idem_worker_stop();
	SELECT idem_worker_start();
	SELECT idem_worker_stop();
	SELECT idem_worker_start();}), "t\nt\nt\nt", 'off and on in one session');

# Sent away in the middle of its work, it goes quietly.
$node->safe_psql('one', q{
	CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM pg_sleep(0.001); RETURN old; END$$;
	CREATE TRIGGER dawdle BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION dawdle();
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	SELECT '', k, 'inserted', 1, current_user::text::idem_role, '2000-01-01', '2000-01-02'
	FROM generate_series(1, 100000) AS k});
my $offset = -s $node->logfile;
foreach (1 .. 10)
{
	$node->safe_psql('one', q{SELECT idem_worker_stop(), idem_worker_start()});
	$node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity
		WHERE datname = 'one' AND backend_type = 'idem purger' AND state = 'active'})
	  or die 'no purger is at work';
}
$node->safe_psql('one', q{
	SELECT idem_worker_stop();
	DROP FUNCTION dawdle CASCADE;
	TRUNCATE idem_key;
	SELECT idem_worker_start()});
unlike(slurp_file($node->logfile, $offset), qr/FATAL:|ERROR:|exited with exit code/,
	'sent away at work, it goes quietly');

# It survives a crash of the server.
my $psql = $node->background_psql('postgres');
my $log_end = -s $node->logfile;
kill 'KILL', $psql->query_safe('SELECT pg_backend_pid()');
$psql->quit;
$node->wait_for_log(qr/ready to accept connections/, $log_end);
use_keys('one');
is_purged('one', 'is there again after a crash');

# It goes with the extension, but waits for a CREATE EXTENSION to commit.
$node->safe_psql('one', 'DROP EXTENSION idem');
is_gone('ends when the extension is dropped');
$node->safe_psql('one', q{
	BEGIN;
	CREATE EXTENSION idem;
	SELECT idem_worker_start();
	PREPARE TRANSACTION 'install';
});
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'idem launcher'}),
	'1', 'started by the transaction that creates the extension');
$node->safe_psql('one', q{COMMIT PREPARED 'install'});
use_keys('one');
is_purged('one', 'and purges when that has committed');
$node->safe_psql('one', 'SELECT idem_worker_stop()');
is_gone('stopped');
$node->safe_psql('one', q{
	BEGIN;
	DROP EXTENSION idem;
	CREATE EXTENSION idem;
	SELECT idem_worker_start();
	ROLLBACK;
	DROP EXTENSION idem;
});
is_gone('and does not stay where the extension is not created after all');

# There may be no room for it.
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
my ($rc, $out, $err) = $node->psql('two', 'SELECT idem_worker_start()');
like($err, qr/ERROR:  could not start the idem worker\n.*\nHINT:.*max_worker_processes/,
	'an error where no worker can run');

# Where others take all the room for a while, that is not the database's fault: it
# is looked after as soon as there is some again.
$node->append_conf('postgresql.conf', q{
max_worker_processes = 3
idem.purge_naptime = '1s'
});
$node->restart;
$node->safe_psql('one', 'CREATE EXTENSION idem; SELECT idem_worker_start()');
# a purger of the other database may just be using what is left
$node->poll_query_until('two', 'SELECT idem_worker_start()')
  or die 'no place for the worker';
my $now = $node->safe_psql('one', 'SELECT clock_timestamp()');
use_keys('one');
$node->poll_query_until('one', "SELECT clock_timestamp() > timestamptz '$now' + interval '8 s'");
$node->safe_psql('two', 'SELECT idem_worker_stop()');
$now = $node->safe_psql('one', 'SELECT clock_timestamp()');
is_purged('one', 'purged when there is room for a purger again');
is($node->safe_psql('one', "SELECT clock_timestamp() < timestamptz '$now' + interval '4 s'"), 't',
	'soon');
$node->append_conf('postgresql.conf', q{idem.purge_naptime = '20ms'});

my $log_offset = -s $node->logfile;
# the server's own launcher of logical replication takes the other slot
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
is($node->safe_psql('two', 'SELECT idem_worker_start()'), 't', 'with room for it alone it starts');
$node->wait_for_log(qr/LOG:  could not start an idem purger, will keep trying/, $log_offset);
ok(1, 'and says in the log that there is no room for a purger');

$node->stop;
done_testing();
