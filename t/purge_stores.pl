# The worker comes to the end of the stores, whatever is in its way in one of them.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('purge_stores');
$node->init;
# a batch looks at a hundred times as many rows as it deletes
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.worker = off
idem.purge_naptime = '20ms'
idem.purge_batch_size = 1
idem.purge_delay = 0
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem');

# Keys of a store that have expired, one after the other; what lease_until says is SQL.
sub add_keys
{
	my ($store, $prefix, $count, $lease_until, $ago) = @_;

	$node->safe_psql('postgres', qq{
		INSERT INTO $store.idem_key
			(scope, key, outcome, fence, claimed_by, created_at, expires_at, lease_until)
		SELECT '', '$prefix' || i, 'completed', 1, current_user::text::idem_role, '2000-01-01',
			now() - '$ago'::interval + i * '1 us'::interval, $lease_until
		FROM generate_series(1, $count) AS i});
}

sub is_left
{
	my ($store, $left, $name) = @_;

	ok($node->poll_query_until('postgres',
			"SELECT coalesce(string_agg(left(key, 1), '' ORDER BY key), '') FROM $store.idem_key"
			. " WHERE lease_until IS NULL", $left), $name);
}

sub run_worker
{
	my ($on) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET idem.worker = $on");
	$node->reload;
}

# Tables are purged in the order of their OIDs.
$node->safe_psql('postgres', "SELECT idem_store_create('$_')")
  for qw(one two three four five), map { "bad$_" } 1 .. 12;

# More rows than a batch looks at stay for their fences, before one that goes.
add_keys('one', 'f', 1000, q{'-infinity'}, '2 hours');
add_keys('one', 'k', 3, 'NULL', '1 hour');
add_keys('five', 'k', 3, 'NULL', '1 hour');
run_worker('on');
is_left('one', '', 'what expired after rows that stay is purged');
is_left('five', '', 'and what has expired in stores that come later');
is($node->safe_psql('postgres', 'SELECT count(*) FROM one.idem_key'), '1000', 'the fences are there');

# So do rows that another session has locked, and no index leads past them.
run_worker('off');
add_keys('two', 'l', 1000, 'NULL', '2 hours');
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT FROM two.idem_key FOR UPDATE');
add_keys('five', 'k', 3, 'NULL', '1 hour');
run_worker('on');
is_left('five', '', 'rows that are locked are in nobody\'s way');
run_worker('off');
$node->safe_psql('postgres', 'DROP INDEX one.idem_key_expires_at_idx');
add_keys('five', 'k', 3, 'NULL', '1 hour');
run_worker('on');
is_left('five', '', 'nor is a table without an index');
$locker->query_safe('COMMIT');
$locker->quit;
is_left('two', '', 'once they are unlocked, they go');

# A table that cannot be purged is told of in the log.
run_worker('off');
$node->safe_psql('postgres', q{
	CREATE PUBLICATION p FOR TABLE three.idem_key;
	ALTER TABLE three.idem_key REPLICA IDENTITY NOTHING});
add_keys('three', 'k', 1, 'NULL', '1 hour');
add_keys('five', 'k', 3, 'NULL', '1 hour');
my $log_offset = -s $node->logfile;
run_worker('on');
is_left('five', '', 'nor is one that cannot be purged');
$node->wait_for_log(qr/WARNING:  table "idem_key" of store "three" could not be purged\n.*DETAIL:  cannot delete from table "idem_key"/, $log_offset);
is($node->safe_psql('postgres', 'SELECT count(*) FROM three.idem_key'), '1', 'it is as it was');

# But not each time, nor of each table at once: anybody may have one.  One that is new is
# not told of before those that were there.
run_worker('off');
$node->safe_psql('postgres', qq{
	DO \$\$ BEGIN FOR i IN 1..12 LOOP
		EXECUTE format('INSERT INTO bad%s.idem_key SELECT * FROM three.idem_key', i);
		EXECUTE format('ALTER PUBLICATION p ADD TABLE bad%s.idem_key', i);
		EXECUTE format('ALTER TABLE bad%s.idem_key REPLICA IDENTITY NOTHING', i);
	END LOOP; END \$\$;
	SELECT idem_store_create('new');
	INSERT INTO new.idem_key SELECT * FROM three.idem_key;
	ALTER PUBLICATION p ADD TABLE new.idem_key;
	ALTER TABLE new.idem_key REPLICA IDENTITY NOTHING;
	SELECT idem_stats_reset()});
run_worker('on');
ok($node->poll_query_until('postgres', "SELECT sum(value) >= 40 FROM idem_stats WHERE counter = 'purge_errors'"), 'several passes have failed at them');
my @told = slurp_file($node->logfile, $log_offset) =~ /WARNING:  table "idem_key" of store "(\w+)" could not be purged/g;
is("@told", join(' ', 'three', map { "bad$_" } 1 .. 9), 'the log has ten of them, each once, in their order');
$node->safe_psql('postgres', 'DROP PUBLICATION p');

# Nor is a store in which there is more than can be purged: it has its turns.
run_worker('off');
$node->safe_psql('postgres', q{ALTER SYSTEM SET idem.purge_delay = '100ms'});
add_keys('two', 'k', 10000, 'NULL', '1 hour');
add_keys('five', 'k', 1, 'NULL', '1 hour');
run_worker('on');
is_left('five', '', 'nor is one that never is purged to the end');
my $rest = $node->safe_psql('postgres', 'SELECT count(*) FROM two.idem_key');
cmp_ok($rest, '>', 0, 'which it is not');
ok($node->poll_query_until('postgres', "SELECT count(*) < $rest FROM two.idem_key"), 'but is again');

# Nor are those that are made while the others have their turns: the next cycle is theirs.
$node->safe_psql('postgres', "TRUNCATE two.idem_key; SELECT idem_store_create('later')");
add_keys('later', 'k', 10000, 'NULL', '1 hour');
ok($node->poll_query_until('postgres', 'SELECT count(*) < 10000 FROM later.idem_key'), 'the last of the stores has its turn');
$node->safe_psql('postgres', "SELECT idem_store_create('latest')");
add_keys('latest', 'k', 10000, 'NULL', '1 hour');
add_keys('five', 'k', 1, 'NULL', '1 hour');
is_left('five', '', 'the first are before one that is made meanwhile');
is($node->safe_psql('postgres', 'SELECT count(*) FROM latest.idem_key'), '10000', 'which waits for them');
ok($node->poll_query_until('postgres', 'SELECT count(*) < 10000 FROM latest.idem_key'), 'and is purged then');
$node->safe_psql('postgres', 'TRUNCATE later.idem_key, latest.idem_key');

# Nor the tables of the extension, however much there is in them.
run_worker('off');
$node->safe_psql('postgres', q{
	SELECT count(*) FROM idem_consume_batch('c', (SELECT array_agg(i::text) FROM generate_series(1, 10000) AS i), '1 us')});
add_keys('five', 'k', 1, 'NULL', '1 hour');
run_worker('on');
is_left('five', '', 'stores are purged while the tables of the extension never are to the end');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM idem_message'), '>', 0, 'which they are not');

$node->stop;
done_testing();
