# The background worker under shared_preload_libraries: it finds every database
# that has idem, and keeps going whatever happens around it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('worker');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
restart_after_crash = on
idem.purge_naptime = '20ms'
# what would stop an ordinary session
statement_timeout = 1
default_transaction_read_only = on
default_transaction_isolation = 'serializable'
search_path = 'nowhere'
});
$node->start;

# A session without those obstacles.
$ENV{PGOPTIONS} = '-c statement_timeout=0 -c default_transaction_read_only=off'
  . ' -c default_transaction_isolation=read\ committed -c search_path=idem,public';

# Leaves some expired keys in a database, and one that is live.
sub use_keys
{
	my ($db) = @_;

	$node->safe_psql($db, q{
		SELECT count(outcome) FROM generate_series(1, 50) AS id,
			idem_upsert('k' || id, 't', jsonb_build_object('id', id), ttl => '1 microsecond');
		SELECT outcome FROM idem_upsert('live', 't', '{"id": 0}');
	});
}

sub is_purged
{
	my ($db, $name) = @_;

	ok($node->poll_query_until($db,
			q{SELECT array_agg(key) = '{live}' FROM idem_key}), $name);
}

sub launcher_pid
{
	return $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'idem launcher'});
}

my $t = 'CREATE TABLE t (id int PRIMARY KEY)';
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two other);
$node->safe_psql('one', "CREATE EXTENSION idem SCHEMA public; $t");
$node->safe_psql('two', "CREATE SCHEMA idem; CREATE EXTENSION idem SCHEMA idem; $t");
$node->safe_psql('other', q{
	CREATE TABLE idem_key (key text, expires_at timestamptz, lease_until timestamptz);
	INSERT INTO idem_key VALUES ('not of idem', '2000-01-01');
});

# Every database that has idem, and no other.
use_keys($_) for qw(one two);
is_purged('one', 'purges a database that has idem');
is_purged('two', 'purges another one, in which idem has a schema of its own');
is($node->safe_psql('other', 'SELECT key FROM idem_key'), 'not of idem',
	'leaves a database without idem alone');

ok($node->poll_query_until('postgres', q{
	SELECT count(*) = 1 AND bool_and(datname IS NULL) FROM pg_stat_activity
	WHERE backend_type = 'idem launcher'}),
	'the launcher shows in pg_stat_activity, connected to no database');
is($node->safe_psql('one', 'SELECT idem_worker_start(), idem_worker_stop()'),
	'f|f', 'needs no other worker, and is not the one to be stopped');

# The extension comes and goes.
$node->safe_psql('one', 'DROP EXTENSION idem');
$node->safe_psql('other', 'DROP TABLE idem_key');
$node->safe_psql($_, 'CREATE EXTENSION idem SCHEMA public') for qw(one other);
$node->safe_psql('other', $t);
use_keys($_) for qw(one other);
is_purged('one', 'goes on when the extension was dropped and created again');
is_purged('other', 'notices that the extension was created');

# Settings, which it reads again on SIGHUP.
sub reload
{
	my ($setting) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $setting");
	$node->reload;
}

# Is anything purged between two statements?  All is left to us if not.
sub worker_rests
{
	use_keys('one');
	return $node->safe_psql('one', 'SELECT idem_purge()') == 50;
}

reload('idem.worker = off');
my ($rests, $tries) = (0, 0);
$rests = worker_rests() ? $rests + 1 : 0 while $rests < 5 && $tries++ < 100;
is($rests, 5, 'stops purging when switched off');
is(scalar(grep { worker_rests() } 1 .. 20), 20, 'and keeps to it');
use_keys('one');
reload('idem.worker = on');
is_purged('one', 'begins again when switched on');

reload(q{idem.purge_naptime = '1h'});
ok($node->poll_query_until('postgres', q{SHOW idem.purge_naptime}, '1h'),
	'a nap of an hour');
reload(q{idem.purge_naptime = '20ms'});
use_keys($_) for qw(one two);
is_purged($_, 'ends when the setting is changed') for qw(one two);

# What fails in one database does not keep it from the others.
$node->safe_psql('one', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE 'not this key'; END$$;
	CREATE TRIGGER refuse BEFORE DELETE ON idem_key FOR EACH ROW
	EXECUTE FUNCTION refuse();
});
my $log_offset = -s $node->logfile;
use_keys($_) for qw(one two);
$node->wait_for_log(qr/ERROR:  not this key/, $log_offset);
is_purged('two', 'an error in one database does not matter to another');
$node->safe_psql('one', 'DROP TRIGGER refuse ON idem_key');
is_purged('one', 'and is got over when its cause is gone');

# The server crashes.
my $pid = launcher_pid();
my $psql = $node->background_psql('postgres');
my $backend = $psql->query_safe('SELECT pg_backend_pid()');
use_keys('one');
my $log_end = -s $node->logfile;
kill 'KILL', $backend;
$psql->quit;
$node->wait_for_log(qr/ready to accept connections/, $log_end);
ok($node->poll_query_until('postgres', qq{
	SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'idem launcher' AND pid <> $pid}),
	'is there again after a crash');
use_keys('one');
is_purged('one', 'and purges');

use_keys('two');
$node->stop('immediate');
$node->start;
is_purged('two', 'and after an immediate shutdown');

# Terminated, it comes back; and it does not hold up a shutdown.
$pid = launcher_pid();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', qq{
	SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'idem launcher' AND pid <> $pid}),
	'is started again after pg_terminate_backend');
$node->stop('smart');
$node->start;
use_keys('one');
is_purged('one', 'and after a smart shutdown');
$node->stop('fast');

done_testing();
