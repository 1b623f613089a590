# What purging has noted of the ranges of blocks of idem_key is a hint: expired keys go
# within the time that docs/operations.md states, at every mix of windows, whatever the
# hint says, and after a crash, a rewrite of the table, and a restore.  Where nothing
# expires, little is read.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('purge_ranges');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
autovacuum = off
idem.worker = off
max_prepared_transactions = 2
idem.purge_naptime = '50ms'
idem.purge_delay = 0
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub worker
{
	sql("ALTER SYSTEM SET idem.worker = $_[0]");
	$node->reload;
	return if $_[0] eq 'on';
	$node->poll_query_until('postgres', q{
		SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'idem purger'})
	  or die 'the purger does not leave';
}

sub becomes
{
	my ($query, $name) = @_;

	ok($node->poll_query_until('postgres', "SELECT $query"), $name);
}

sub use_keys
{
	my ($n, $kind, $ends) = @_;

	sql(qq{
		INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at, response)
		SELECT '$kind', gen_random_uuid(), 'inserted', 1, current_user::text::idem_role,
			'2000-01-01', $ends, jsonb_build_object('pad', repeat('x', 150))
		FROM generate_series(1, $n) AS i});
}

sub left { return "NOT EXISTS (SELECT FROM idem_key WHERE scope = '$_[0]')" }

my $latest = q{(SELECT DISTINCT ON (range) r.* FROM idem_key_range AS r, pg_class AS c
	WHERE c.oid = 'idem_key'::regclass AND c.relfilenode = r.file ORDER BY range, visited_at DESC)};
my $ranges = q{(SELECT ceil(pg_relation_size('idem_key') / 8192.0 / 128))};

# Keys of an hour and of a month, one beside the other.  Those of the hour go once they
# are over, and those of the month stay.
sql('CREATE EXTENSION idem');
use_keys(60_000, 'mixed', q{CASE i % 2 WHEN 0 THEN timestamptz '2000-01-01 01:00' ELSE '2900-01-01' END});
worker('on');
becomes(q{count(*) = 30000 FROM idem_key}, 'those whose hour is over go');
is(sql(q{SELECT min(expires_at) FROM idem_key}), '2900-01-01 00:00:00+00', 'the others stay');
becomes("count(*) = $ranges FROM $latest AS r", 'each range has been noted');

# Nothing is past its time: a pass reads few of them.
my ($passes, $visits) = split /\|/, sql(q{
	SELECT seq_scan, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'idem_key_range'});
becomes(qq{seq_scan > $passes + 100 FROM pg_stat_user_tables WHERE relname = 'idem_key_range'},
	'a hundred passes more');
my ($passes_now, $visits_now) = split /\|/, sql(q{
	SELECT seq_scan, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'idem_key_range'});
cmp_ok($visits_now - $visits, '<', ($passes_now - $passes) * sql("SELECT $ranges") / 2,
	'in which few of the ranges were visited');

# Whatever the hint says, a key goes within a second for each range of the table.
worker('off');
sql(q{
	UPDATE idem_key SET expires_at = '2001-01-01' WHERE ctid IN
		(SELECT min(ctid) FROM idem_key GROUP BY (ctid::text::point)[0]::int / 128);
	UPDATE idem_key_range SET visited_at = clock_timestamp(), purge_at = 'infinity'});
my $began = sql('SELECT extract(epoch FROM clock_timestamp())');
worker('on');
becomes(q{NOT EXISTS (SELECT FROM idem_key WHERE expires_at < now())},
	'keys that nothing was known of go');
cmp_ok(sql("SELECT extract(epoch FROM clock_timestamp()) - $began - $ranges"), '<', 30,
	'within the time stated, and what this machine takes');

# New keys in space that others have left.
worker('off');
sql(q{DELETE FROM idem_key WHERE (ctid::text::point)[0]::int < 200});
$node->safe_psql('postgres', 'VACUUM idem_key');
use_keys(1000, 'short', 'clock_timestamp()');
worker('on');
becomes(left('short'), 'keys of a short window go that came into old ranges');

# VACUUM FULL moves all rows, into another file.  What is known of the former goes.
worker('off');
use_keys(1000, 'full', q{'2001-01-01'});
sql(q{UPDATE idem_key_range SET visited_at = clock_timestamp(), purge_at = 'infinity'});
sql('VACUUM FULL idem_key');
worker('on');
becomes(left('full'), 'what has expired goes from a table that was rewritten');
becomes(q{count(DISTINCT file) = 1 FROM idem_key_range}, 'what was known of the former file goes');
worker('off');
sql('TRUNCATE idem_key');
worker('on');
becomes('count(*) = 0 FROM idem_key_range', 'all of it from a table that is empty');

# Rows that were purged by what the crash has undone, and a hint that said so.
worker('off');
use_keys(20_000, 'crash', q{CASE WHEN i % 4 = 0 THEN timestamptz '2900-01-01' ELSE '2001-01-01' END});
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT idem_purge()');
$session->query_safe('SET LOCAL synchronous_commit = off; COMMIT');
sql(q{UPDATE idem_key_range SET visited_at = clock_timestamp(), purge_at = 'infinity'});
$node->stop('immediate');
eval { $session->quit };
$node->start;
is(sql('SELECT count(*) FROM idem_key_range'), '0', 'nothing is known after a crash');
worker('on');
becomes(q{count(*) = 5000 FROM idem_key}, 'what has expired goes, the rest stays');
becomes("count(*) = $ranges FROM $latest AS r", 'and is known again');

# What others keep locked does not end it, but is said, once.
my $locker = $node->background_psql('postgres');
my $from = -s $node->logfile;
$locker->query_safe('BEGIN; LOCK TABLE idem_key_range');
use_keys(100, 'locked', q{'2001-01-01'});
ok($node->wait_for_log('Others have locked table "idem_key_range"', $from), 'a lock is reported');
isnt(sql(q{SELECT count(*) FROM idem_key WHERE scope = 'locked'}), '0', 'and waited for by none');
$locker->query_safe('COMMIT');
becomes(left('locked'), 'then they go');
$locker->quit;

# A purge that was prepared keeps no other from purging, or from noting.
worker('off');
use_keys(1000, 'prepared', q{'2001-01-01'});
sql(q{BEGIN; SELECT idem_purge(500); PREPARE TRANSACTION 'p'});
worker('on');
becomes(q{count(*) = 500 FROM idem_key WHERE scope = 'prepared'}, 'it holds what it has deleted');
becomes("count(*) = $ranges FROM $latest AS r", 'but ranges are noted');
sql(q{ROLLBACK PREPARED 'p'});
becomes(left('prepared'), 'rolled back, they go');

# What it holds for long is not tried by each pass, but when the turn of its range comes.
worker('off');
use_keys(40_000, 'held', q{'2001-01-01'});
sql(q{BEGIN; SELECT idem_purge(); PREPARE TRANSACTION 'p'});
worker('on');
becomes("count(*) = $ranges FROM $latest AS r", 'ranges that are held are noted');
($passes, $visits) = split /\|/, sql(q{
	SELECT seq_scan, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'idem_key_range'});
becomes(qq{seq_scan > $passes + 50 FROM pg_stat_user_tables WHERE relname = 'idem_key_range'},
	'fifty passes more');
($passes_now, $visits_now) = split /\|/, sql(q{
	SELECT seq_scan, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'idem_key_range'});
cmp_ok($visits_now - $visits, '<', ($passes_now - $passes) * sql("SELECT $ranges") / 2,
	'in which few of them were visited');
sql(q{ROLLBACK PREPARED 'p'});
becomes(left('held'), 'once it is over, they go');

# A call that may delete one row looks at no more than it should, and the next goes on.
worker('off');
sql('TRUNCATE idem_key');
use_keys(250_000, 'bound', q{'2900-01-01'});
sql(q{UPDATE idem_key SET expires_at = '2001-01-01' WHERE ctid = (SELECT max(ctid) FROM idem_key)});
my $calls = 1;
$calls++ while sql('SELECT idem_purge(1)') eq '0' && $calls < 10;
cmp_ok($calls, '>', 1, 'a call with a limit reads a part of the table');
cmp_ok($calls, '<', 5, 'the next ones read the others');

# A dump has none of it, nor has what was restored from it.
use_keys(1000, 'dump', q{'2001-01-01'});
my $file = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $file, 'postgres' ], 'dump');
unlike(slurp_file($file), qr/idem_key_range/, 'nothing of it is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, 'restored' ], 'restore');
is($node->safe_psql('restored', 'SELECT count(*) FROM idem_key_range'), '0', 'nothing is known there');
worker('on');
ok($node->poll_query_until('restored', "SELECT " . left('dump')), 'what has expired goes there');
is($node->safe_psql('restored', 'SELECT count(*) FROM idem_key'), '249999', 'and nothing else');

# A copy by CREATE DATABASE has the notes, and the file that they are of.
worker('off');
sql('SELECT idem_purge()') for 1 .. 6;
use_keys(500, 'twin', q{'2001-01-01'});
$node->safe_psql('template1', 'CREATE DATABASE twin TEMPLATE postgres');
is($node->safe_psql('twin', "SELECT count(*) >= $ranges - 1 FROM $latest AS r"), 't', 'its notes are copied');
my $purged = 0;
$purged += $node->safe_psql('twin', 'SELECT idem_purge()') for 1 .. 6;
is($purged, 500, 'what has expired goes there');
is($node->safe_psql('twin', 'SELECT count(*) FROM idem_key'), '249999', 'and nothing else');

# Every one of a backup's, too.
$node->backup('b');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'b');
$copy->start;
is($copy->safe_psql('postgres', 'SELECT count(*) FROM idem_key_range'), '0', 'nor is it in a backup');
$copy->stop;

$node->stop;
done_testing();
