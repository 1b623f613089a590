# A snapshot is held open while the worker purges, so that deleted rows stay: the
# worker does not walk past all of them at each visit.  What it had to leave
# behind it goes all the same.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dead = 100_000;

my $node = PostgreSQL::Test::Cluster->new('purge_snapshot');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
autovacuum = off
idem.worker = off
idem.purge_naptime = '50ms'
idem.purge_delay = 0
});
$node->start;

# Expired keys, some hundreds of which expired at one instant.
$node->safe_psql('postgres', qq{
	CREATE EXTENSION idem;
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	SELECT '', k, 'inserted', 1, current_user::text::idem_role, '2000-01-01',
		timestamptz '2000-01-02' + k / 500 * interval '1 s'
	FROM generate_series(1, $dead) AS k;
	UPDATE idem_key SET lease_until = 'infinity' WHERE key = '1000';
	VACUUM idem_key;
});

# Two sessions that look on; one of them holds a key, the worker has to skip it.
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM idem_key');
my $holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; SELECT key FROM idem_key WHERE key = '500' FOR UPDATE});

sub reload
{
	my ($setting) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $setting");
	$node->reload;
}

sub is_left
{
	my ($keys, $name) = @_;

	ok($node->poll_query_until('postgres', qq{
		SELECT coalesce(string_agg(key, ' ' ORDER BY key), '') = '$keys' FROM idem_key}), $name);
}

# In how many passes the worker has visited how many ranges of blocks.
sub figures
{
	return split(/\|/, $node->safe_psql('postgres', q{
		SELECT seq_scan, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'idem_key_range'}));
}

reload('idem.worker = on');
is_left('1000 500', 'the expired ones go');

my $ranges = $node->safe_psql('postgres', q{
	SELECT (pg_relation_size('idem_key') / 8192 + 127) / 128});
my ($passes_before, $visits_before) = figures();
my $passes = $passes_before + 30;
ok($node->poll_query_until('postgres', qq{
	SELECT seq_scan >= $passes FROM pg_stat_user_tables WHERE relname = 'idem_key_range'}),
	'thirty more passes');
my ($passes_now, $visits) = figures();
cmp_ok($visits - $visits_before, '<', 5 * $ranges, 'not each of them walks past what is gone');

# What comes now is behind none of it.
$node->safe_psql('postgres', q{
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	VALUES ('', 'new', 'inserted', 1, current_user::text::idem_role, '2000-01-01', clock_timestamp())});
is_left('1000 500', 'a key that expires now goes');

# What was skipped, was not committed or expired in the past goes, too.
$holder->query_safe('COMMIT');
is_left('1000', 'a key that was locked goes when it is not');
$node->safe_psql('postgres', q{
	UPDATE idem_key SET lease_until = '2000-01-01';
	INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
	VALUES ('', 'old', 'inserted', 1, current_user::text::idem_role, '1999-01-01', '1999-01-02')});
is_left('', 'so does one whose lease has ended, and one older than all');
is($old->query_safe('SELECT count(*) FROM idem_key'), $dead,
	'the snapshot was open all the time');

$holder->quit;
$old->quit;
$node->stop;
done_testing();
