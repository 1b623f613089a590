# Settings that are made before the library is loaded, which knows whether they are
# right, and what a wait that took too long says of whom it was for.
use strict;
use warnings;

use IO::Handle;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('setting');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE ROLE app LOGIN;
});

# What a session answers, or the SQLSTATE of its last error and the warnings.
sub answer
{
	my ($sql, %options) = @_;
	my ($out, $err);

	local $ENV{PGOPTIONS} = $options{options} // '';
	IPC::Run::run(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'),
		  '-U', $options{user} // getpwuid($<) ],
		'<', \$sql, '>', \$out, '2>', \$err);
	chomp $out;
	my @trouble = $err =~ /((?:WARNING|ERROR):  \w{5}|FATAL)/g;
	return join ' ', grep { $_ ne '' } $out, @trouble;
}

my $kept = q{SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 3600)
	FROM idem_claim(idem_new_key(), lease => '1 second');};
my $need_none = q{SELECT outcome FROM idem_claim(idem_new_key(), lease => '1 second', ttl => '1 hour');
	SELECT count(outcome) FROM idem_lookup('nothing');};

foreach my $preloaded (0, 1)
{
	my $how = $preloaded ? 'preloaded' : 'loaded by a call';

	if ($preloaded)
	{
		$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL; ALTER ROLE app RESET ALL');
		# settings that were made while the library was not there to object
		$node->safe_psql('postgres', q{ALTER ROLE app SET idem.ttl = 'soon'});
		$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'idem'});
		$node->restart;
		is(answer($kept, user => 'app'), 'ERROR:  22023', "$how: a bad one of a role is no default");
		is(answer($need_none, user => 'app'), "claimed\n0", "$how: which only matters where it is needed");
		$node->safe_psql('postgres', q{ALTER ROLE app RESET ALL});
		is(answer(q{SHOW idem.ttl}), '24h', "$how: SHOW");
		is(answer($kept, options => '-c idem.ttl=soon'), 'FATAL', "$how: a bad one of a client is refused");
	}
	else
	{
		is(answer("SET idem.ttl = '7 days'; $kept SHOW idem.ttl"), "168\n7 days", "$how: a placeholder is read");
		is(answer("SET idem.ttl = 'soon'; $kept"), 'ERROR:  22023', "$how: a bad one is no default");
		is(answer("SET idem.ttl = 'soon'; $need_none"), "claimed\n0",
			"$how: and matters only where it is needed");
		is(answer("SET idem.ttl = 'soon'; SELECT length(idem_new_key()); SET idem.ttl = '3 days'; $kept"),
			"36\n72", "$how: and it can be mended");
		is(answer("SET idem.scope = '" . ('s' x 256) . "'; SELECT outcome FROM idem_lookup('k')"),
			'ERROR:  22023', "$how: nor is a scope that is too long");
		is(answer($kept, options => '-c idem.ttl=7d'), '168', "$how: one of a client");
		is(answer($kept, options => '-c idem.ttl=soon'), 'ERROR:  22023', "$how: a bad one of a client");
	}
	$node->safe_psql('postgres', q{ALTER DATABASE postgres SET idem.ttl = '2 days'});
	is(answer($kept), '48', "$how: of a database");
	$node->safe_psql('postgres', q{ALTER ROLE app SET idem.ttl = '3 days'});
	is(answer($kept, user => 'app'), '72', "$how: of a role");
	is(answer("SET idem.ttl = '4d'; RESET idem.ttl; $kept", user => 'app'), '72', "$how: RESET");
}

# A bad one in the file takes nothing down: neither the server that reads it, preloaded
# or not, on reload or as it starts, nor the worker.  Calls that need it raise an error.
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL; ALTER ROLE app RESET ALL');
sub postmaster { return (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] }
foreach my $preloaded (0, 1)
{
	my $how = $preloaded ? 'preloaded' : 'not preloaded';

	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', $preloaded ? "'idem'" : "''");
	$node->adjust_conf('postgresql.conf', 'idem.ttl', "'2 days'");
	$node->restart;
	my ($postmaster, $started) = (postmaster(), $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'));
	foreach my $bad ('soon', '', '-1 day', '1 fortnight', ('9' x 300) . ' years', "\xff\xfe")
	{
		my $log = -s $node->logfile;

		$node->append_conf('postgresql.conf', "idem.ttl = '$bad'");
		$node->reload;
		$node->wait_for_log(qr/received SIGHUP/, $log);
		is(answer('SELECT pg_postmaster_start_time()'), $started, "$how: the server is there after a reload");
	}
	is(postmaster(), $postmaster, "$how: it is the same one");
	# a library that is there to refuse it leaves the one before
	is(answer($kept), $preloaded ? '48' : 'ERROR:  22023', "$how: what calls make of it");
	is(answer($need_none), "claimed\n0", "$how: those that need none");

	$node->adjust_conf('postgresql.conf', 'idem.ttl', "'soon'");
	$node->restart;
	is(answer($kept), 'ERROR:  22023', "$how: a server that starts with a bad one is there");
	is(answer($need_none), "claimed\n0", "$how: and answers calls that need none");
	if ($preloaded)
	{
		$node->safe_psql('postgres', q{UPDATE idem_key SET expires_at = now()});
		ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM idem_key WHERE lease_until IS NULL'),
			"$how: the worker purges");
	}
	$node->adjust_conf('postgresql.conf', 'idem.ttl', "'3 days'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('idem.ttl') = '3 days'}) or die;
	is(answer($kept), '72', "$how: it is mended by a reload");
}

# A bad one in the file does not take the place of the one before.
$node->append_conf('postgresql.conf', q{idem.ttl = '5 days'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('idem.ttl') = '5 days'}) or die;
$node->append_conf('postgresql.conf', q{idem.ttl = 'soon'});
my $offset = -s $node->logfile;
$node->reload;
$node->wait_for_log(qr/invalid value for parameter "idem.ttl": "soon"/, $offset);
is(answer($kept), '120', 'a bad one in the file leaves the one before');
$node->adjust_conf('postgresql.conf', 'idem.ttl', "'5 days'");

# A call that waits too long for another that has the key says whose that is.
my $pid = open2(my $out, my $in, $node->installed_command('psql'), '-XAtq',
	'-d', $node->connstr('postgres'));
$in->autoflush(1);
sub hold
{
	my ($sql) = @_;

	print $in "$sql\n\\echo HELD\n";
	alarm 60;
	while (my $line = <$out>)
	{
		last if $line =~ /HELD/;
	}
	alarm 0;
}
local $SIG{ALRM} = sub { die 'the holder does not answer' };
print $in "SELECT pg_backend_pid();\n";
chomp(my $holder = <$out>);

# What the error of a call says: its SQLSTATE and its detail.
sub refusal
{
	my ($settings, $call) = @_;
	my ($code, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$settings; SELECT $call;");
	my ($state) = $err =~ /ERROR:  (\w{5})/;
	my ($detail) = $err =~ /DETAIL:  (.*)/;

	return join ' ', $state // 'none', $detail // '';
}

hold(q{BEGIN; SELECT outcome FROM idem_claim('row');});
my $told = "Process $holder is at work under the key";
foreach my $settings (q{SET idem.wait_timeout = '100ms'},
	q{SET idem.wait_timeout = '100ms'; SET lock_timeout = '1h'},
	q{SET lock_timeout = '100ms'},
	q{SET lock_timeout = '100ms'; SET idem.wait_timeout = '1h'})
{
	is(refusal($settings, q{idem_claim('row', lease => '1 hour')}), qq{55P03 $told "row".}, "$settings: a claim");
	is(refusal($settings, q{idem_execute('row', 'SELECT 1')}), qq{55P03 $told "row".}, 'and a call');
}
is(refusal(q{SET statement_timeout = '100ms'}, q{idem_claim('row', lease => '1 hour')}),
	qq{57014 $told "row".}, 'statement_timeout');
# while the holder is at work, and has not written the row yet
hold(q{ROLLBACK; SELECT pg_advisory_lock(1);});
my $worker_pid = open2(my $worker_out, my $worker_in, $node->installed_command('psql'), '-XAtq',
	'-d', $node->connstr('postgres'));
$worker_in->autoflush(1);
print $worker_in "SELECT pg_backend_pid();\n";
chomp(my $worker = <$worker_out>);
print $worker_in "SELECT outcome FROM idem_execute('work', 'SELECT pg_advisory_xact_lock(1)');\n";
$node->poll_query_until('postgres',
	"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $worker") or die;
is(refusal(q{SET idem.wait_timeout = '100ms'}, q{idem_execute('work', 'SELECT 1')}),
	qq{55P03 Process $worker is at work under the key "work".}, 'work under way');
hold(q{SELECT pg_advisory_unlock(1);});
chomp(my $done = <$worker_out>);
is($done, 'executed', 'which was not disturbed');
is($node->safe_psql('postgres', q{
		SET idem.wait_timeout = '100ms'; SET lock_timeout = '1h';
		SELECT outcome FROM idem_claim('free', lease => '1 hour'); SHOW lock_timeout}),
	"claimed\n1h", 'who need not wait does not notice');
close $_ foreach $in, $worker_in;
waitpid $_, 0 foreach $pid, $worker_pid;

$node->stop;
done_testing();
