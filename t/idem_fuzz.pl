# A role that may do nothing but log in, and make things in a schema of its own,
# calls every function of the extension with whatever the catalog lets it: in
# statements, and in all ways that go round the parser's look at a call.  The
# server has to stay up, nothing may end as an internal error, and what belongs to
# others is neither changed nor told, also where the owner of idem's tables has
# put nonsense into what is remembered of that role.
#
# IDEM_FUZZ_SECONDS is how long, IDEM_FUZZ_SEED which calls, and IDEM_FUZZ_FUNCTIONS
# a pattern of the functions that are to be called, all by default.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Fuzz qw(statement call pick set_catalog);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant {
	SESSIONS => 2,
	STATEMENTS => 150,    # of a session
	MARKER => 'CANARY',
};

my $seed = $ENV{IDEM_FUZZ_SEED} // 20261128;
my $seconds = $ENV{IDEM_FUZZ_SECONDS} // 20;
my $only = $ENV{IDEM_FUZZ_FUNCTIONS} // '';

diag "IDEM_FUZZ_SEED=$seed IDEM_FUZZ_SECONDS=$seconds";

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init;
$node->append_conf('postgresql.conf', q{
	fsync = off
	log_line_prefix = '%m [%p] %e '
	log_statement = none
	deadlock_timeout = 50ms
	max_prepared_transactions = 4
	restart_after_crash = on
});
$node->start;

$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/lib/fuzz_others.sql"));

# Whether what an administrator attached to idem's tables runs.
sub audit
{
	my ($how) = @_;

	$node->safe_psql('postgres', join('; ', map { "ALTER TABLE $_ $how TRIGGER audit" } 'idem_key',
		'idem_history', 'idem_message'));
}

my @snapshot = (
	q{SELECT k FROM idem_key k WHERE k.key LIKE 'stolen-%' OR k.key LIKE 'CANARY%' ORDER BY scope, key},
	q{SELECT m FROM idem_message m WHERE consumer = 'hidden' ORDER BY message_id},
	q{SELECT o FROM idem_offset o WHERE consumer = 'hidden' ORDER BY topic, partition},
	q{SELECT c FROM idem_consumer c WHERE owner::text <> 'regress_fuzz' ORDER BY consumer},
	q{SELECT m FROM idem_machine m WHERE owner::text <> 'regress_fuzz' ORDER BY name},
	q{SELECT e FROM idem_machine_edge e WHERE machine IN ('order', 'theirs') ORDER BY machine, from_state,
		to_state},
	q{SELECT h FROM idem_history h WHERE target::oid = 'hidden.machined'::regclass ORDER BY id},
	q{SELECT s FROM hidden.secret s ORDER BY id},
	q{SELECT id, content FROM hidden.partial WHERE id <= 5 ORDER BY id},
	q{SELECT f FROM hidden.fenced f WHERE owner <> 'regress_fuzz' ORDER BY id},
	q{SELECT m FROM hidden.machined m ORDER BY id},
	q{SELECT relname, relacl, relowner::regrole FROM pg_class
		WHERE relowner <> 'regress_fuzz'::regrole AND relnamespace::regnamespace::text NOT LIKE 'pg_%' ORDER BY oid},
	q{SELECT proname, proacl, prosrc, proowner::regrole FROM pg_proc
		WHERE proowner <> 'regress_fuzz'::regrole AND oid > 16000 ORDER BY oid},
	q{SELECT rolname, rolsuper, rolcreaterole FROM pg_authid ORDER BY oid});

sub snapshot { return join "\n", map { $node->safe_psql('postgres', $_) } @snapshot }

my $own = slurp_file("$FindBin::RealBin/lib/fuzz_own.sql");

# The owner of idem's tables puts into the role's rows what was never there.
sub tamper
{
	my $responses = q{(ARRAY['null', '1', '"x"', '[]', '{}', '[1, [2]]', '{"result": 1}', '{"outcome": "no"}',
		'{"processed": "x"}', '{"version": 1e400}', '{"id": {}}', NULL]::jsonb[])[1 + floor(random() * 12)]};
	my $some = 'random() < 0.3';
	my $numbers = q{(ARRAY[0, -1, 1, 2, 9223372036854775807, -9223372036854775808,
		NULL])[1 + floor(random() * 7)]};
	my $times = q{(ARRAY['infinity', '-infinity', now(), now() + '1 day', '294276-12-31',
		'4714-11-24 BC']::timestamptz[])[1 + floor(random() * 6)]};
	my $mine = "claimed_by::text = 'regress_fuzz' AND $some";

	return pick("UPDATE idem_key SET response = CASE WHEN random() < 0.5 THEN $responses " .
			"ELSE jsonb_build_object('outcome', $responses, 'result', $responses, 'replayed', $responses) END WHERE $mine",
		"UPDATE idem_key SET response = (SELECT jsonb_object_agg(k, $responses) " .
			"FROM jsonb_object_keys(response) k) WHERE jsonb_typeof(response) = 'object' AND $mine",
		"UPDATE idem_key SET outcome = (enum_range(NULL::idem_outcome))[1 + floor(random() * 10)] WHERE $mine",
			"UPDATE idem_key SET fence = coalesce($numbers, 3) WHERE $mine",
		"UPDATE idem_key SET lease_until = $times, expires_at = coalesce($times, now()) WHERE $mine",
			"UPDATE idem_key SET created_at = $times WHERE $mine",
		"UPDATE idem_history SET row_key = coalesce($responses, '[]'), version = coalesce($numbers, 5), " .
			"note = $responses WHERE target::oid IN (SELECT oid FROM pg_class " .
				"WHERE relnamespace = 'fuzz'::regnamespace) AND $some",
		"UPDATE idem_history SET to_state = repeat('x', 100), from_state = NULL, partition = NULL, " .
			"target = 'no.where' WHERE target::oid IN (SELECT oid FROM pg_class " .
				"WHERE relnamespace = 'fuzz'::regnamespace) AND random() < 0.05",
		"UPDATE idem_consumer SET ttl = (ARRAY['-1 day', '0', '178000000 years', NULL, '1 month -30 days', " .
			"'-178000000 years']::interval[])[1 + floor(random() * 6)], late = 'apply' " .
				"WHERE consumer = 'tampered'",
		"UPDATE idem_offset SET next_offset = coalesce($numbers, 1), previous_offset = coalesce($numbers, " .
			"1), first_offset = coalesce($numbers, 1), epoch = $numbers WHERE consumer = 'tampered'",
		"UPDATE idem_message SET expires_at = coalesce($times, now()) WHERE consumer <> 'hidden'",
		"UPDATE idem_machine SET states = (ARRAY['{}', '{A}', '{A,A}', '{NULL}', '{{A,B},{C,D}}', " .
			"'[5:6]={A,B}', '{x}'])[1 + floor(random() * 7)]::text[] WHERE name = 'tampered'",
		"UPDATE idem_machine SET initial = (ARRAY['', 'x', 'B'])[1 + floor(random() * 3)] " .
			"WHERE name = 'tampered'",
		"UPDATE idem_machine_edge SET guard = (ARRAY['', 'no(', 'fuzz.none(fuzz.composed)', " .
			"'pg_catalog.pg_sleep(double precision)', 'fuzz.guard(fuzz.plain)', 'pg_catalog.count()', " .
				"'fuzz.evils(text)', 'public._idem_row_jsonb(record)', 'public.idem_lifecycle()', '((((', " .
				"'x\" y'])[1 + floor(random() * 11)] WHERE machine = 'tampered'",
		"UPDATE idem_machine_edge SET to_state = to_state || 'x' " .
			"WHERE machine = 'tampered' AND random() < 0.5 AND to_state NOT LIKE '%x'",
		"DELETE FROM idem_machine_edge WHERE machine = 'tampered' AND random() < 0.3",
			"DELETE FROM idem_machine WHERE name = 'tampered' AND random() < 0.2",
		"UPDATE idem_machine SET owner = 'regress_fuzz' WHERE name = 'tampered'");
}

# Looks of others at the tables of the role: no code of it may run as they.
sub looks
{
	my $target = pick('evil_t', 'evil_checked', 'evil_triggered', 'evil_domained', 'evil_generated',
		'evil_guarded');

	return pick("SELECT idem_allowed('fuzz.$target', 1)", "SELECT idem_history('fuzz.$target', 1)",
		"SELECT idem_attach('fuzz.$target', 'mine')", "SELECT idem_attach('fuzz.$target', 'guarded')",
		"SELECT idem_detach('fuzz.$target')", "SELECT idem_lookup('k1')", "SELECT idem_seen('mine', 'x')",
			"SELECT idem_machine_graph('guarded')");
}

# A file in the binary format of COPY, with one value of random bytes.
sub binary_file
{
	my ($file) = @_;
	my @parts = ("\0", "\0\0\0\1", 'fuzz', 'plain', '.', '"', "\xff", 'regress_fuzz', ' ', 'x' x 70,
		"\0\0\0\0");
	my $value = join('', map { pick(@parts) } 0 .. rand 6);

	open my $out, '>:raw', $file or die $!;
	print $out "PGCOPY\n\377\r\n\0", pack('NN n N', 0, 0, 1, length $value), $value, pack('n', 0xffff);
	close $out;
}

# The functions, the labels of enums and the base types, whatever there is.
my $member = "JOIN pg_depend d ON d.classid = x.tableoid AND d.objid = x.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'idem'";
my @functions = map {
	my ($name, $types, $names, $defaults, $variadic, $result, $source) = split /\|/, $_, -1;
	{ name => $name, types => [ split /;/, $types ], names => [ split /;/, $names, -1 ], defaults => $defaults,
		variadic => $variadic, result => $result, source => $source };
} split /\n/, $node->safe_psql('postgres', "SELECT x.pronamespace::regnamespace || '.' || quote_ident(x.proname),
		(SELECT string_agg(format_type(t, NULL), ';' ORDER BY n)
			FROM unnest(x.proargtypes) WITH ORDINALITY u (t, n)),
		array_to_string(x.proargnames[1 : x.pronargs], ';'), x.pronargdefaults, (x.provariadic <> 0)::int,
		format_type(x.prorettype, NULL), x.prosrc
	FROM pg_proc x $member ORDER BY x.proname, x.oid");
my %labels;
push @{ $labels{ $_->[0] } }, $_->[1] foreach map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres',
	'SELECT format_type(enumtypid, NULL), enumlabel FROM pg_enum ORDER BY oid');
my @bases = split /\n/, $node->safe_psql('postgres',
	"SELECT format_type(x.oid, NULL) FROM pg_type x $member " .
		"WHERE x.typtype = 'b' AND x.typelem = 0 ORDER BY 1");
cmp_ok(scalar @functions, '>', 50, 'the functions of the extension are found');
@functions = grep { $_->{name} =~ /$only/ } @functions;
set_catalog(
	functions => \@functions,
	labels => \%labels,
	composites => [ split /\n/, $node->safe_psql('postgres',
		"SELECT 'public.' || x.typname FROM pg_type x $member WHERE x.typtype = 'c' ORDER BY 1") ]);

my (%states, %called, %answered, @faults, $statements);

# Writes what a session does, and which function each of its lines is about.
sub write_session
{
	my ($file, $turn) = @_;
	my @lines = ('\set VERBOSITY verbose', '\set ON_ERROR_ROLLBACK on',
		'SET search_path = fuzz, public; CREATE TEMP TABLE temporary (id int PRIMARY KEY, status text, version int); ' .
		'CREATE TEMP TABLE audit (n int DEFAULT fuzz.evil(1))');
	my @about = (undef) x @lines;
	my $open = 0;
	my $add = sub { push @lines, $_[0]; push @about, $_[1] };

	for (my $i = 0; $i < STATEMENTS; $i++)
	{
		my $function = rand() < 0.4 ? pick(grep { $_->{name} !~ /\._/ || $only ne '' } @functions) :
			$functions[ ($turn * STATEMENTS + $i) % @functions ];
		my $statement = statement($function);

		if (rand() < 0.06)
		{
			$add->(pick('ROLLBACK', 'ROLLBACK', 'COMMIT',
				"PREPARE TRANSACTION 'x$turn'; ROLLBACK PREPARED 'x$turn'")) if $open;
			$open = rand() < 0.7;
			$add->('BEGIN ISOLATION LEVEL ' . pick('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE') .
				pick(('') x 8, ' READ ONLY', ' DEFERRABLE')) if $open;
		}
		if (rand() < 0.02 && @bases)
		{
			my $base = pick(@bases);
			my $data = "$file.$i.bin";

			binary_file($data);
			$add->("CREATE TEMP TABLE b$i (a $base)");
			$add->("\\copy b$i FROM '$data' (FORMAT binary)");
			$add->("SELECT a, a::text FROM b$i; COPY b$i TO STDOUT");
		}
		$add->('\echo @@' . @lines);
		$add->($statement, $function->{name});
		# as a client does that got no answer
		$add->($statement) if rand() < 0.1;
	}
	$add->('ROLLBACK');
	$add->('SELECT 1 AS alive');
	open my $out, '>:utf8', $file or die $!;
	print $out map { /^\\/ ? "$_\n" : "$_;\n" } @lines;
	close $out;
	return (\@lines, \@about);
}

sub slurp_lines { open my $in, '<', $_[0] or return (); my @lines = <$in>; return @lines }

# Starts a psql that does what the file says.
sub start_session
{
	my ($file, $role) = @_;
	my $pid = fork() // die $!;

	return $pid if $pid;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', "$file.out";
	open STDERR, '>', "$file.err";
	exec $node->installed_command('psql'), '-XAtq', '-U', $role, '-d', $node->connstr('postgres'), '-f', $file;
}

# Looks through what a session was answered.
sub judge
{
	my ($session) = @_;
	my @lines = @{ $session->{lines} };
	my @errors = slurp_lines("$session->{file}.err");
	my (%failed, $line);
	my $at = 0;
	my $fault = sub { push @faults, "$_[0]\n    $lines[ $_[1] - 1 ]" if @faults < 200 };

	foreach (@errors)
	{
		$line = $1 if /^psql:.*?:(\d+): /;
		$fault->(s/\s+$//r, $line // 1)
			if /server closed the connection|connection to server was lost|FUZZ-|PANIC|@{[MARKER]}/;
		next unless /^psql:.*?:(\d+): (?:ERROR|FATAL):  (\w{5}): (.*)/;
		$states{$2}++;
		$failed{$1} = 1;
		$fault->("$2: $3", $1) if $2 eq 'XX000';
	}
	foreach (slurp_lines("$session->{file}.out"))
	{
		$at = $1 + 1 if /^@@(\d+)$/;
		$fault->("told: $_" =~ s/\s+$//r, $at) if $at && /@{[MARKER]}/;
	}
	for (my $i = 0; $i < @lines; $i++)
	{
		my $name = $session->{about}[$i];
		next if !defined $name;
		$statements++;
		$called{$name}++;
		$answered{$name}++ if !$failed{ $i + 1 };
	}
}

my $before = snapshot();
my $end = time + $seconds;
my $turn = 0;

# so often at least that every function has its turn
for (my $round = 0; time < $end || $round < 4; $round++)
{
	srand($seed * 1000003 + $round);
	$node->safe_psql('postgres', $own);
	audit($round % 3 == 2 ? 'ENABLE' : 'DISABLE');
	$node->safe_psql('postgres',
		'REVOKE INSERT (name) ON idem_machine FROM regress_fuzz; ' .
			'REVOKE INSERT (consumer) ON idem_consumer FROM regress_fuzz') if $round % 2;
	my @sessions = map {
		my $file = $node->basedir . "/session$_.sql";
		my ($lines, $about) = write_session($file, $turn++);
		{ file => $file, lines => $lines, about => $about };
	} 1 .. SESSIONS;
	my @pids = map { start_session($_->{file}, 'regress_fuzz') } @sessions;

	# meanwhile
	my @others = ('\set VERBOSITY verbose', "SET lock_timeout = '100ms'; SET client_min_messages = warning;",
		map { pick(tamper(), tamper(), looks()) . ';' } 1 .. 25);
	my ($rc, $out, $err) = $node->psql('postgres', join("\n", @others), on_error_stop => 0);
	foreach (split /\n/, $err)
	{
		push @faults, $_ . (/:(\d+): / ? "\n    as postgres: $others[ $1 - 1 ]" : '')
			if /XX000|FUZZ-|server closed|could not connect|PANIC/;
	}

	waitpid $_, 0 foreach @pids;
	judge($_) foreach @sessions;
	$node->poll_query_until('postgres', 'SELECT 1', '1');    # it may have crashed
	my $after = snapshot();
	if ($after ne $before)
	{
		my %was = map { $_ => 1 } split /\n/, $before;
		my %is = map { $_ => 1 } split /\n/, $after;
		push @faults, (map { "changed in round $round: $_" } grep { !$is{$_} } sort keys %was),
			(map { "new in round $round: $_" } grep { !$was{$_} } sort keys %is);
		last;
	}
	unlink glob($node->basedir . '/*.bin');
}

# Whatever nobody was told.
foreach (slurp_lines($node->logfile))
{
	push @faults, $_ if /was terminated by signal|PANIC:|TRAP:| XX000 (?:ERROR|FATAL|WARNING)/ && @faults < 200;
}

my %kinds;
$kinds{ s/\d+/N/gr } //= $_ foreach @faults;
is(join("\n", map { $kinds{$_} } sort keys %kinds), '',
	'no internal error, no lost connection, nothing told or done of what others have');
is(join(' ', grep { !$called{$_} } map { $_->{name} } @functions), '', 'every function was called');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server is up');

diag sprintf "%d statements in %d sessions, about %d functions, of which %d answered", $statements, $turn,
	scalar keys %called, scalar keys %answered;
note 'never answered: ', join(' ', grep { !$answered{$_} } sort keys %called);
note 'states: ', join(', ', map { "$_ $states{$_}" } sort keys %states);

$node->stop;
done_testing();
