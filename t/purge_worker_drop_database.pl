# Nobody who wants a database for himself has to wait for the worker in it, nor
# fails because of it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# The server gives others 5 seconds to leave a database, then refuses.
my $promptly = 3;

my $node = PostgreSQL::Test::Cluster->new('worker_drop_database');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.purge_naptime = '20ms'
idem.purge_batch_size = 1
});

# A database in which a purger has enough to do for hours.
sub create_backlog
{
	my ($db) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, q{
		CREATE EXTENSION idem;
		INSERT INTO idem_key (scope, key, outcome, fence, claimed_by, created_at, expires_at)
		SELECT '', k, 'inserted', 1, current_user::text::idem_role, '2000-01-01', '2000-01-02'
		FROM generate_series(1, 200000) AS k;
	});
}

sub wait_for_purger
{
	my ($db) = @_;

	$node->poll_query_until('postgres', qq{
		SELECT count(*) = 1 FROM pg_stat_activity
		WHERE datname = '$db' AND backend_type = 'idem purger'})
	  or die "no purger came to $db";
}

sub is_prompt
{
	my ($db, $command) = @_;

	wait_for_purger($db);
	my $start = time();
	my ($rc, $out, $err) = $node->psql('postgres', $command);
	is($err, '', $command);
	cmp_ok(time() - $start, '<', $promptly, 'at once');
}

foreach my $delay ('1s', '0')
{
	$node->append_conf('postgresql.conf', "idem.purge_delay = '$delay'");
	$node->start;
	note "while the purger " . ($delay ? 'pauses' : 'is at work');

	create_backlog('db');
	is_prompt('db', 'ALTER DATABASE db RENAME TO renamed');
	is_prompt('renamed', 'CREATE DATABASE copied TEMPLATE renamed ALLOW_CONNECTIONS false');
	$node->safe_psql('postgres', 'ALTER DATABASE renamed IS_TEMPLATE true');
	is_prompt('renamed', 'CREATE DATABASE again TEMPLATE renamed ALLOW_CONNECTIONS false');
	$node->safe_psql('postgres', 'ALTER DATABASE renamed IS_TEMPLATE false');
	is_prompt('renamed', 'DROP DATABASE renamed');
	$node->safe_psql('postgres', "DROP DATABASE $_") for qw(copied again);
	$node->stop;
}

# What idem_worker_start() started leaves for good.
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->start;
create_backlog('db');
is($node->safe_psql('db', 'SELECT idem_worker_start()'), 't', 'started for a database');
is_prompt('db', 'DROP DATABASE db WITH (FORCE)');
ok($node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'idem%'}),
	'and gone with it');
$node->stop;

done_testing();
