# Work that is refused, where a session or the server ends meanwhile: the refusal is
# kept if its transaction has committed, and what ends a session or a statement is none.
use strict;
use warnings;

use IO::Handle;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('refusal');
$node->init;
$node->append_conf('postgresql.conf', "max_prepared_transactions = 10\nrestart_after_crash = on");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE seat (id int PRIMARY KEY, place text UNIQUE);
	INSERT INTO seat VALUES (0, 'A1');
	-- refuses, once it may
	CREATE FUNCTION refuse(OUT n int) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO seat VALUES (99, 'Z9');
		PERFORM pg_advisory_xact_lock_shared(7404, 1);
		RAISE EXCEPTION 'refused' USING ERRCODE = 'SEAT1';
	END $$;
});

my $all = q{'{22,23,42,54,P0,SE,ID}'};

sub take
{
	my ($key) = @_;
	return qq{SELECT outcome, replayed, result->>'sqlstate' FROM idem_upsert('$key', 'seat',
		'{"id": 1, "place": "A1"}', remember_errors => $all)};
}
sub try_it { return qq{SELECT outcome, replayed, result->>'sqlstate' FROM idem_execute('$_[0]', 'SELECT refuse()', remember_errors => $all)} }
sub ask { return $node->safe_psql('postgres', $_[0]) }

# A session that stays, what it is told to do, and the process that serves it.
sub session
{
	my $pid = open2(my $out, my $in, $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'));

	$in->autoflush(1);
	my $self = { pid => $pid, in => $in, out => $out };
	print $in "SELECT pg_backend_pid();\n";
	chomp($self->{backend} = <$out>);
	return $self;
}
sub request { my ($self, $sql) = @_; print { $self->{in} } "$sql;\n\\echo DONE\n"; return }
sub finished
{
	my ($self) = @_;
	my $said = '';
	local $SIG{ALRM} = sub { die 'the session does not answer' };

	alarm 180;
	while (my $line = readline $self->{out})
	{
		last if $line eq "DONE\n";
		$said .= $line;
	}
	alarm 0;
	chomp $said;
	return $said;
}
sub leave
{
	my ($self) = @_;
	close $self->{in};
	close $self->{out};
	waitpid $self->{pid}, 0;
	return;
}
sub waits
{
	my ($self) = @_;
	return $node->poll_query_until('postgres',
		"SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $self->{backend}");
}

# A session at work under a key, in the subtransaction that is to be refused.
my $holder = session();
sub at_work
{
	my ($key, $before) = @_;
	my $worker = session();

	request($holder, 'SELECT 1 FROM pg_advisory_lock(7404, 1)');
	finished($holder);
	request($worker, $before . try_it($key));
	waits($worker) or die 'it does not wait';
	return $worker;
}
sub let_go { request($holder, 'SELECT 1 FROM pg_advisory_unlock(7404, 1)'); finished($holder); return }

# Committed, and then the server crashes.
is(ask(take('taken')), 'failed|f|23505', 'an upsert is refused');
is(ask("BEGIN; " . try_it('prepared') . "; PREPARE TRANSACTION 'p'"), 'failed|f|SEAT1', 'a call is refused, and prepared');
my $open = session();
request($open, 'BEGIN; ' . take('open'));
is(finished($open), 'failed|f|23505', 'an upsert is refused, and not committed');
$node->stop('immediate');
leave($open);
leave($holder);
$node->start;
$holder = session();
is(ask(take('taken')), 'failed|t|23505', 'after a crash the first is remembered');
is(ask("SELECT outcome FROM idem_lookup('open')"), '', 'the last is not');
is(ask(q{SELECT outcome FROM idem_execute('prepared', 'SELECT refuse()', wait => false)}), 'in_progress',
	'the prepared one has its key');
ask(q{COMMIT PREPARED 'p'});
is(ask(try_it('prepared')), 'failed|t|SEAT1', 'and is remembered once it is committed');
ask('DELETE FROM seat WHERE id = 0');
is(ask(take('open')), 'inserted|f|', 'what is not remembered is done again');
is(ask(take('taken')), 'failed|t|23505', 'what is remembered stays');

# A session that is terminated, a statement that is cancelled, a limit that is reached,
# while the work is done: no answer.
foreach my $case ([ 'terminated', '', 'SELECT pg_terminate_backend(%d)' ], [ 'cancelled', '', 'SELECT pg_cancel_backend(%d)' ],
	[ 'statement_timeout', "SET statement_timeout = '50ms'; " ], [ 'lock_timeout', "SET lock_timeout = '50ms'; " ])
{
	my ($key, $before, $how) = @$case;
	my $worker;

	if (defined $how)
	{
		$worker = at_work($key, $before);
		is(ask(qq{SELECT outcome FROM idem_execute('$key', 'SELECT refuse()', wait => false)}), 'in_progress',
			"$key: the work is under way");
		is(ask(sprintf $how, $worker->{backend}), 't', "$key: it is");
		$node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM pg_locks WHERE pid = $worker->{backend} AND locktype = 'advisory'") or die;
	}
	else
	{
		$worker = session();
		request($holder, 'SELECT 1 FROM pg_advisory_lock(7404, 1)');
		finished($holder);
		request($worker, $before . try_it($key));
		is(finished($worker), '', "$key: it is reached");
	}
	leave($worker);
	is(ask("SELECT outcome FROM idem_lookup('$key')"), '', "$key: nothing is remembered");
	let_go();
	is(ask(try_it($key)), 'failed|f|SEAT1', "$key: the work is done again");
	is(ask(try_it($key)), 'failed|t|SEAT1', "$key: and then remembered");
}
is(ask('SELECT count(*) FROM seat WHERE id = 99'), '0', 'none of it has left anything');

# The server crashes while the work is done.
my $worker = at_work('crash', '');
$node->stop('immediate');
leave($_) foreach $worker, $holder;
$node->start;
is(ask("SELECT outcome FROM idem_lookup('crash')"), '', 'a crash in the work leaves nothing');
is(ask(try_it('crash')), 'failed|f|SEAT1', 'and the key free');

# Refusals are dumped and restored like other answers.
my $dump = $node->backup_dir . '/dump.sql';
$node->run_log([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ]) or die;
ask('CREATE DATABASE copy');
$node->safe_psql('copy', slurp_file($dump));
is($node->safe_psql('copy', try_it('crash')), 'failed|t|SEAT1', 'a copy has them');
my ($code, undef, $err) = $node->psql('copy', "\\set VERBOSITY sqlstate\nSELECT idem_complete('crash', '1', 1)");
like($err, qr/ERROR:\s+55000/, 'and knows that they are no claims');

$node->stop;
done_testing();
