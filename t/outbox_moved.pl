# The outbox in another cluster, where transactions are counted anew: restored by
# pg_dump into one that is far behind and one that is far ahead, into a copy of the
# cluster's files, by pg_upgrade, and after a physical standby that has lost messages, or
# a logical subscriber, has taken over.  No
# message that was there is skipped or held back, and none that is emitted then; none
# is read twice, and no id is given twice.
use strict;
use warnings;

use File::Copy qw(copy);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub node
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', $conf) if $conf;
	$node->start;
	return $node;
}

# Has so many numbers of transactions be used.
sub use_up
{
	my ($node, $count) = @_;
	$node->safe_psql('postgres', "DO \$\$ BEGIN
		FOR i IN 1..$count LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$");
	return;
}

sub emit
{
	my ($node, $database, @what) = @_;
	return map { $node->safe_psql($database, qq{SELECT idem_emit('log', '"$_"')}) } @what;
}

# What a consumer reads, once nothing that runs is in the way.
sub got
{
	my ($node, $database, $consumer, $max) = @_;
	$max //= 100;
	$node->poll_query_until('postgres',
		'SELECT pg_snapshot_xmin(pg_current_snapshot()) = pg_snapshot_xmax(pg_current_snapshot())');
	return join ' ', split /\n/, $node->safe_psql($database,
		"SELECT payload #>> '{}' FROM idem_outbox_read('$consumer', 'log', $max)");
}

sub eras { return $_[0]->safe_psql($_[1], 'SELECT count(*) FROM idem_outbox_era') }

my $old = node('old');
use_up($old, 3000);
$old->safe_psql('postgres', 'CREATE EXTENSION idem');
my @ids = emit($old, 'postgres', 'a' .. 'd');
# two transactions in another order than their ids
my $first = $old->background_psql('postgres');
$first->query_safe('BEGIN; SELECT pg_current_xact_id()');
push @ids, emit($old, 'postgres', 'f');
push @ids, $first->query_safe(q{SELECT idem_emit('log', '"e"')});
$first->query_safe('COMMIT');
$first->quit;
is(got($old, 'postgres', 'reader', 5), 'a b c d e', 'the reader has come to a place between two ids');
my $dump = $old->basedir . '/dump.sql';
$old->command_ok([ 'pg_dump', '-f', $dump, $old->connstr('postgres') ], 'dumped');

# Restored where transactions are at small numbers, and at large ones.
sub check_restored
{
	my ($node, $database, $name, $eras) = @_;

	# a message that is emitted at once, before anybody reads
	my @new = emit($node, $database, 'g');
	is(got($node, $database, 'reader'), 'f g', "$name: the reader goes on where it was");
	is(got($node, $database, 'new'), 'a b c d e f g', "$name: a new one gets all there is");
	push @new, emit($node, $database, 'h');
	is(got($node, $database, 'reader'), 'h', "$name: and what is emitted there");
	my %seen = map { $_ => 1 } @ids;
	is(scalar(grep { $seen{$_}++ } @new), 0, "$name: ids are new");
	is(eras($node, $database), $eras, "$name: eras");
	is($node->safe_psql($database, 'SELECT idem_purge()'), '7', "$name: what both have read is purged");
	is(got($node, $database, 'new'), 'h', "$name: and what one has not stays");
	return;
}

my $behind = node('behind');
$behind->safe_psql('postgres', "CREATE DATABASE restored; CREATE DATABASE again");
$behind->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $behind->connstr('restored'), '-f', $dump ], 'restored');
check_restored($behind, 'restored', 'a cluster that is behind', 2);
my $ahead = node('ahead');
use_up($ahead, 9000);
$ahead->safe_psql('postgres', "CREATE DATABASE restored");
$ahead->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $ahead->connstr('restored'), '-f', $dump ], 'restored');
check_restored($ahead, 'restored', 'a cluster that is ahead', 2);
# and on from there, to a third, and back to the first
my $second = $ahead->basedir . '/second.sql';
emit($ahead, 'restored', 'i');
$ahead->command_ok([ 'pg_dump', '-f', $second, $ahead->connstr('restored') ], 'dumped again');
$behind->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $behind->connstr('again'), '-f', $second ], 'restored');
emit($behind, 'again', 'j');
is(got($behind, 'again', 'reader'), 'i j', 'a third cluster');
is(eras($behind, 'again'), '3', 'which is the third era');
$behind->stop;

# Into the same cluster: its numbers go on.
$old->safe_psql('postgres', 'CREATE DATABASE restored');
$old->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $old->connstr('restored'), '-f', $dump ], 'restored');
check_restored($old, 'restored', 'the same cluster', 1);

# A standby takes over that has not got the last messages, which have been sent on.
emit($old, 'restored', 'k');
$old->safe_psql('postgres', 'CREATE DATABASE fresh');
$old->safe_psql('fresh', 'CREATE EXTENSION idem');
$old->backup('standby');
my %sent = map { $_ => 1 } emit($old, 'restored', map { "lost $_" } 1 .. 40);
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($old, 'standby');
# of nobody's: it gets nothing more
append_to_file($standby->data_dir . '/standby.signal', '');
$standby->start;
$standby->promote;
my @after = emit($standby, 'restored', map { "after $_" } 1 .. 40);
is(scalar(grep { $sent{$_} } @after), 0, 'a standby that takes over gives no id again');
is(got($standby, 'restored', 'reader'), join(' ', 'k', map { "after $_" } 1 .. 40), 'and messages go on from where the reader was');
is(eras($standby, 'restored'), '2', 'with the next era');
is(got($standby, 'restored', 'reader'), '', 'and once');
$standby->stop;

# A second recovery, from the same backup: it knows of the first by its timeline alone,
# also where nothing had been emitted.
$sent{$_} = 1 for @after;
my $again = PostgreSQL::Test::Cluster->new('again');
$again->init_from_backup($old, 'standby');
append_to_file($again->data_dir . '/standby.signal', '');
$again->append_conf('postgresql.conf', "recovery_target_timeline = 'current'");
# which an archive would have
copy($standby->data_dir . '/pg_wal/00000002.history', $again->data_dir . '/pg_wal/')
	or die "could not copy: $!";
$again->start;
$again->promote;
@after = emit($again, 'restored', map { "again $_" } 1 .. 40);
is(scalar(grep { $sent{$_} } @after), 0, 'a second recovery gives no id again');
is(got($again, 'restored', 'reader'), join(' ', 'k', map { "again $_" } 1 .. 40), 'and messages go on');
is(got($again, 'restored', 'reader'), '', 'once');
is($again->safe_psql('restored', 'SELECT max(era) FROM idem_outbox_era'), '3', 'with the era of the third timeline');
is((emit($again, 'fresh', 'x'))[0] > 2 * 2**44 ? 'later' : 'first', 'later', 'nor of what began after the backup');
$again->stop;

# Into a copy of the cluster's files, which has the same identifier and has stayed behind.
$old->safe_psql('postgres', 'CREATE DATABASE empty');
$old->backup('early');
use_up($old, 3000);
$old->safe_psql('postgres', 'CREATE DATABASE later');
$old->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $old->connstr('later'), '-f', $dump ], 'restored');
push @ids, emit($old, 'later', 'x');
is(got($old, 'later', 'reader'), 'f x', 'the original goes on');
push @ids, emit($old, 'later', 'y');
my $later = $old->basedir . '/later.sql';
$old->command_ok([ 'pg_dump', '-f', $later, $old->connstr('later') ], 'dumped later');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($old, 'early');
$copy->start;
$copy->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $copy->connstr('empty'), '-f', $later ], 'restored');
my @new = emit($copy, 'empty', 'z');
is(got($copy, 'empty', 'reader'), 'y z', 'a copy that has stayed behind goes on');
is(eras($copy, 'empty'), '2', 'with the next era');
# nobody has read: then the messages tell
$copy->safe_psql('postgres', 'CREATE DATABASE unread');
$copy->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $copy->connstr('unread'), '-f', $later ], 'restored');
$copy->safe_psql('unread', 'DELETE FROM idem_outbox_position');
emit($copy, 'unread', 'z');
is(join(' ', sort split / /, got($copy, 'unread', 'first')), 'a b c d e f x y z', 'a copy where nobody has read: nothing is held back');
emit($copy, 'unread', 'zz');
is(got($copy, 'unread', 'first'), 'zz', 'nor skipped');
$copy->stop;

# pg_upgrade: the numbers go on, in what counts as another cluster.
emit($ahead, 'restored', 'k');
$ahead->stop;
my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');
$upgraded->init;
$upgraded->command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $ahead->data_dir, '-D', $upgraded->data_dir,
		'-b', $ahead->config_data('--bindir'), '-B', $upgraded->config_data('--bindir'),
		'-s', $upgraded->host, '-p', $ahead->port, '-P', $upgraded->port
	],
	'pg_upgrade');
$upgraded->start;
emit($upgraded, 'restored', 'l');
is(got($upgraded, 'restored', 'reader'), 'i k l', 'an upgraded cluster goes on');
is(eras($upgraded, 'restored'), '3', 'with the next era');
$upgraded->stop;

# A logical subscriber, whose numbers and whose sequence are its own.
$old->safe_psql('postgres', 'CREATE PUBLICATION p FOR ALL TABLES');
my $subscriber = node('subscriber');
use_up($subscriber, 20000);
$subscriber->safe_psql('postgres', 'CREATE EXTENSION idem');
$subscriber->safe_psql('postgres', sprintf(q{CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p}, $old->connstr . ' dbname=postgres'));
$subscriber->wait_for_subscription_sync($old, 's');
push @ids, emit($old, 'postgres', 'o');
is(got($old, 'postgres', 'reader', 2), 'f o', 'the publisher goes on');
push @ids, emit($old, 'postgres', 'p');
$old->wait_for_catchup('s');
foreach my $call (q{idem_emit('log', '1')}, q{idem_outbox_read('reader', 'log')}, q{idem_outbox_leave('reader', 'log')})
{
	my ($rc, $out, $err) = $subscriber->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT * FROM $call");
	like($err, qr/55000/, "a subscriber refuses $call");
}
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
@new = emit($subscriber, 'postgres', 'q', 'r');
is(got($subscriber, 'postgres', 'reader'), 'p q r', 'a subscriber that takes over goes on');
my %seen = map { $_ => 1 } @ids;
is(scalar(grep { $seen{$_} } @new), 0, 'with new ids');
$subscriber->stop;
$old->stop;
done_testing();
