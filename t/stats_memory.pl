# Where counters are when there is little shared memory for them: databases share a
# slot, the slot of a database that is dropped is given to another, and where there
# is none at all, calls work and nothing is counted.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $call = q{SELECT outcome FROM idem_execute(idem_new_key(), 'SELECT 1')};

sub counted
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, q{
		SELECT coalesce(datname, '(shared)') || ' ' || value FROM idem_stats WHERE counter = 'key_new' ORDER BY datname})
	  =~ s/\n/, /gr;
}

sub health
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, q{SELECT severity, value, hint FROM idem_health WHERE "check" = 'counters'});
}

sub create
{
	my ($node, @databases) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $_") foreach @databases;
	$node->safe_psql($_, "CREATE EXTENSION idem; $call") foreach @databases;
}

# Preloaded, or from PostgreSQL 17 on in any case, there is room for 64 databases.
my $node = PostgreSQL::Test::Cluster->new('few');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
$node->start;
my $named = $node->pg_version >= 17;

create($node, qw(d1 d2));
SKIP:
{
	skip 'there is room for 64 databases whether or not idem is preloaded', 11 if $named;

	is(health($node, 'd1'), 'ok|on|', 'two databases have counters of their own');
	create($node, qw(d3 d4));
	is(counted($node, 'd3'), 'd1 1, d2 1, (shared) 2', 'two others share theirs');
	is(counted($node, 'd1'), 'd1 1, d2 1, (shared) 2', 'as all see who may read all statistics');
	like(health($node, 'd3'), qr/^warning\|shared\|.*shared_preload_libraries/, 'the others are told so, and what to do');
	is(health($node, 'd1'), 'ok|on|', 'the first are not');
	$node->safe_psql('postgres', 'CREATE ROLE nobody');
	is($node->safe_psql('d3', q{SET ROLE nobody; SELECT datname IS NULL, value FROM idem_stats WHERE counter = 'key_new'}),
		't|2', 'whoever may not sees those of the own database');
	like($node->safe_psql('d3', q{SELECT value FROM idem_health WHERE "check" = 'stuck_lease'}), qr/^not known/,
		'what one of those notes is not taken for the other\'s');

	# a session that has a slot keeps it; a new one gets that of a database that is gone
	my $session = $node->background_psql('d3');
	$session->query_safe($call);
	$node->safe_psql('postgres', 'DROP DATABASE d1');
	is(counted($node, 'd2'), 'd2 1, (shared) 3', 'a database that is dropped is not shown');
	$node->safe_psql('d4', $call);
	is(counted($node, 'd4'), 'd2 1, d4 1, (shared) 3', 'and its slot is given to another, which begins at zero');
	$session->query_safe($call);
	is(counted($node, 'd4'), 'd2 1, d4 1, (shared) 4', 'a session goes on where it has begun');
	$session->quit;
	is(health($node, 'd4'), 'ok|on|', 'the other has counters of its own now');
}
$node->stop;

# All of the memory that the server had left over is taken.
SKIP:
{
	skip 'dynamic shared memory does not run out like this', 6 if $named;

	$node = PostgreSQL::Test::Cluster->new('full');
	$node->init;
	$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nmax_connections = 10\nmax_locks_per_transaction = 10\n");
	$node->start;
	my $free = 'SELECT size FROM pg_shmem_allocations WHERE name IS NULL';

	# locks take it by the piece, and do not give it back; so do predicate locks
	$node->psql('postgres', 'SELECT pg_advisory_lock(i) FROM generate_series(1, 1000000) AS i');
	note('left by locks: ' . $node->safe_psql('postgres', $free));
	$node->psql('postgres', q{
		CREATE TABLE p (a int PRIMARY KEY);
		INSERT INTO p SELECT generate_series(1, 100000);
		BEGIN ISOLATION LEVEL SERIALIZABLE;
		SET LOCAL enable_seqscan = off;
		DO $$ BEGIN FOR i IN 1 .. 100000 LOOP PERFORM FROM p WHERE a = i; END LOOP; END $$;
	});
	my $left = $node->safe_psql('postgres', $free);
	note("left: $left");
	cmp_ok($left, '<', 3000, 'nothing is left');
	$node->safe_psql('postgres', 'CREATE EXTENSION idem');
	is($node->safe_psql('postgres', $call), 'executed', 'calls work all the same');
	is($node->safe_psql('postgres', "BEGIN ISOLATION LEVEL SERIALIZABLE; $call; SAVEPOINT s; $call; ROLLBACK TO s; COMMIT"),
		"executed\nexecuted", 'in a transaction block, too');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM idem_stats; SELECT idem_stats_reset(); SELECT idem_purge()'),
		"0\n\n0", 'nothing is counted');
	like(health($node, 'postgres'), qr/^warning\|off\|.*shared_preload_libraries/, 'which idem_health says');
	unlike(slurp_file($node->logfile), qr/idem counters/, 'and no error');
	$node->stop;
}

# Preloaded, the room is asked for when the server starts: it is there.
$node = PostgreSQL::Test::Cluster->new('preloaded');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idem'\nidem.worker = off\nautovacuum = off\nfsync = off\n");
$node->start;
create($node, qw(d1 d2 d3));
is(counted($node, 'd1'), 'd1 1, d2 1, d3 1', 'preloaded, each has its own');
is(health($node, 'd3'), 'ok|on|', 'the last one, too');
$node->stop;

done_testing();
