# What is wrong with one table or database keeps the worker neither from the other
# tables nor from the other databases, is told in the log, and not over and over.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('worker_obstacles');
$node->init;
# no worker but idem's own is to be warned of a database's settings
$node->append_conf('postgresql.conf', q{
idem.purge_naptime = '20ms'
autovacuum = off
});
$node->start;

foreach my $db (qw(one two three))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION idem');
}
# made while the library is not there to refuse them
$node->safe_psql('postgres', q{
	ALTER DATABASE three SET idem.history_retention = 'always';
	ALTER DATABASE three SET idem.nonsense = 1});
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'idem'});
$node->restart;

# Leaves an expired key and an expired message.
sub use_keys
{
	my ($db) = @_;

	$node->safe_psql($db, q{
		INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
		VALUES ('', gen_random_uuid(), 'inserted', 1, current_user::text::idem_role, '2000-01-01', '2000-01-02');
		SELECT idem_consume('c', 'm' || random(), ttl => '1 microsecond')});
}

sub is_purged
{
	my ($db, $table, $name) = @_;

	ok($node->poll_query_until($db, "SELECT count(*) = 0 FROM $table"), $name);
}

sub lines
{
	my ($pattern, $offset) = @_;

	return scalar(() = slurp_file($node->logfile, $offset) =~ /$pattern/g);
}

# A table that is locked.
my $log_offset = -s $node->logfile;
my $locker = $node->background_psql('one');
$locker->query_safe('BEGIN; LOCK TABLE idem_key IN EXCLUSIVE MODE');
$node->safe_psql('one', q{SELECT idem_consume('c', 'm', ttl => '1 microsecond')});
use_keys('two');
is_purged('two', 'idem_key', 'a table that is locked in one database is none of the other\'s business');
is_purged('one', 'idem_message', 'nor of the other tables');
$node->wait_for_log(qr/LOG:  idem does not purge table "idem_key" of database "one" for now/, $log_offset);
ok(1, 'it is told in the log');
use_keys('two');
is_purged('two', $_, 'and the rounds go on') for qw(idem_key idem_message);
is(lines('does not purge table "idem_key"', $log_offset), 1, 'once');
$locker->query_safe('COMMIT');
use_keys('one');
is_purged('one', 'idem_key', 'unlocked, it is purged');

# A catalog that is locked: the purger cannot even look.
$locker->query_safe('BEGIN; LOCK TABLE pg_extension IN ACCESS EXCLUSIVE MODE');
$log_offset = -s $node->logfile;
$node->wait_for_log(qr/ERROR:  canceling statement due to lock timeout/, $log_offset);
$node->safe_psql('two', q{
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	VALUES ('', 'k', 'inserted', 1, current_user::text::idem_role, '2000-01-01', '2000-01-02')});
is_purged('two', 'idem_key', 'the other is purged when a catalog is locked');
$locker->query_safe('COMMIT');
$locker->quit;
use_keys('one');
is_purged('one', 'idem_key', 'and the one when it is unlocked');

# A trigger that lets no row go.
$node->safe_psql('one', q{
	CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER keep BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION keep()});
$log_offset = -s $node->logfile;
use_keys($_) for qw(one two);
is_purged('one', 'idem_message', 'a trigger that lets no key go does not keep messages');
is_purged('two', 'idem_key', 'nor the other database\'s keys');
$node->wait_for_log(qr/ERROR:  a trigger or rule keeps rows of table "idem_key" from being purged.*?CONTEXT:  purge of table "idem_key"/s, $log_offset);
ok(1, 'and is told in the log');
$node->safe_psql('one', 'DROP TRIGGER keep ON idem_key');
is_purged('one', 'idem_key', 'gone, it keeps none');

# A trigger that does not come to an end.
$node->safe_psql('one', q{
	CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM pg_sleep(1000); RETURN old; END';
	CREATE TRIGGER hang BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION hang()});
$log_offset = -s $node->logfile;
use_keys($_) for qw(one two);
$node->wait_for_log(qr/ERROR:  canceling statement due to statement timeout.*?CONTEXT:.*?purge of table "idem_key" of database "one"/s, $log_offset);
is_purged('two', 'idem_key', 'a trigger that hangs is given up in the end');
is_purged('one', 'idem_message', 'and for the table it is on alone');
$node->safe_psql('one', 'DROP TRIGGER hang ON idem_key');
is_purged('one', 'idem_key', 'which is purged when it is gone');

# One that cannot be cancelled, either.
$node->safe_psql('one', q{
	CREATE FUNCTION cling() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		LOOP
			BEGIN
				PERFORM pg_sleep(1000);
			EXCEPTION WHEN query_canceled THEN
				NULL;
			END;
		END LOOP;
	END $$;
	CREATE TRIGGER cling BEFORE DELETE ON idem_key FOR EACH ROW EXECUTE FUNCTION cling()});
use_keys('one');
my $clings = q{
	SELECT count(*) = 1 FROM pg_stat_activity
	WHERE datname = 'one' AND backend_type = 'idem purger' AND wait_event = 'PgSleep'};
ok($node->poll_query_until('postgres', $clings), 'a trigger keeps the purger');
use_keys('two');
is_purged('two', 'idem_key', 'a trigger that is not to be cancelled keeps none from the other database');
use_keys('one');
ok($node->poll_query_until('postgres', $clings), 'it keeps the next purger, too');
$node->safe_psql('postgres', 'ALTER SYSTEM SET idem.worker = off');
my $start = time;
$node->restart;
cmp_ok(time - $start, '<', 15, 'which does not keep the server from stopping');
$node->safe_psql('one', 'DROP TRIGGER cling ON idem_key');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET idem.worker; SELECT pg_reload_conf()');
is_purged('one', 'idem_key', 'without it keys are purged again');

# Templates are purged as any other.
$node->safe_psql('postgres', 'ALTER DATABASE one IS_TEMPLATE true');
use_keys('one');
is_purged('one', 'idem_key', 'a template is purged');

# What the server warns every session of.
$log_offset = -s $node->logfile;
$node->safe_psql('three', q{
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	VALUES ('', 'k', 'inserted', 1, current_user::text::idem_role, '2000-01-01', '2000-01-02')});
is(lines('WARNING', $log_offset), 2, 'a session is warned of settings that are none');
$log_offset = -s $node->logfile;
my $stats = q{FROM pg_stat_database WHERE datname = 'three'};
my $visits = $node->safe_psql('postgres', "SELECT xact_commit + 30 $stats");
ok($node->poll_query_until('postgres', "SELECT xact_commit > $visits $stats"),
	'the worker comes again and again');
is(lines('WARNING|exited with exit code', $log_offset), 0, 'but the log is not told each time');
$node->safe_psql('postgres', 'ALTER DATABASE three RESET ALL');
is_purged('three', 'idem_key', 'and purges');

$node->stop;
done_testing();
