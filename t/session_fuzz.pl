# Random programs in transactions that have a key, sent twice, with the data changed
# between: the second time all is answered as the first time, and nothing is written.
#
#   IDEM_PROGRAMS=10000 IDEM_SEED=1 prove t/session_fuzz.pl
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{IDEM_SEED} // 20261128;
my $programs = $ENV{IDEM_PROGRAMS} // 100;
my $batch = 50;

note "IDEM_SEED=$seed";
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('session_fuzz');
$node->init;
# what else takes transaction ids would be taken for writes of a replay
$node->append_conf('postgresql.conf', q{
	fsync = off
	# without the library, SET LOCAL idem.key does nothing
	session_preload_libraries = 'idem'
	autovacuum = off
	idem.worker = off
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE a (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 100),
		at timestamptz DEFAULT clock_timestamp(), u uuid DEFAULT gen_random_uuid());
	CREATE TABLE b (a int REFERENCES a ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
		x float8 DEFAULT random(), i interval DEFAULT '1 day 02:03:04.5', z bytea DEFAULT '\xff00');
	CREATE TABLE p (id bigserial, k int, v text) PARTITION BY LIST (k);
	CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0, 1);
	CREATE TABLE p1 PARTITION OF p DEFAULT;
	CREATE TABLE log (what text);
	CREATE TABLE item (id int PRIMARY KEY, n int);
	CREATE VIEW av AS SELECT id, v FROM a;
	CREATE RULE av AS ON INSERT TO av DO INSTEAD (
		INSERT INTO a (v) VALUES (new.v); INSERT INTO log VALUES ('rule ' || new.v));
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO log VALUES (TG_OP || coalesce(NEW.v, OLD.v));
		RETURN coalesce(NEW, OLD);
	END $$;
	CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON a FOR EACH ROW EXECUTE FUNCTION note();
	CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		line record;
	BEGIN
		FOR line IN INSERT INTO log VALUES ('late ' || NEW.v) RETURNING what LOOP
			UPDATE log SET what = line.what || '!' WHERE what = line.what;
		END LOOP;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON p DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION late();
	CREATE FUNCTION put(v text, n int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		found int;
	BEGIN
		BEGIN
			INSERT INTO a (v, n) VALUES (put.v, put.n) RETURNING id INTO found;
		EXCEPTION WHEN unique_violation THEN
			UPDATE a SET n = 1 WHERE a.v = put.v RETURNING id INTO found;
		END;
		FOR found IN SELECT a.id FROM a WHERE a.v = put.v LOOP
			UPDATE a SET n = 2 WHERE a.id = found;
		END LOOP;
		RETURN found;
	END $$;
	CREATE FUNCTION rows(k int) RETURNS SETOF p LANGUAGE sql AS $$
		INSERT INTO p (k, v) SELECT $1, 'r' || n FROM generate_series(1, 3) AS n RETURNING *
	$$;
	CREATE FUNCTION fails(v text) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO log VALUES (v);
		RAISE EXCEPTION 'refused: %', v USING ERRCODE = 'P0123', HINT = 'none';
	END $$;
	CREATE PROCEDURE two(v text, INOUT last int) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM put(v || '1', 1);
		last := put(v || '2', 2);
	END $$;
});

sub pick { return $_[rand @_] }
sub word { return 'w' . int(rand 30) }
sub number { return int(rand 12) }

my $cursors = 0;

# Statements that may fail are sent in a savepoint.
my @statements = (
	sub { "INSERT INTO a (v, n) VALUES ('@{[word()]}', @{[number()]}) RETURNING *" },
	sub { "INSERT INTO a (v, n) VALUES ('@{[word()]}', @{[number() * 12]})" },
	sub { "INSERT INTO a (v) VALUES ('@{[word()]}') ON CONFLICT (v) DO UPDATE SET n = 7 RETURNING id, n, at" },
	sub { "INSERT INTO av (v) VALUES ('@{[word()]}')" },
	sub { "UPDATE a SET n = n + 1 WHERE v < '@{[word()]}' RETURNING id, n" },
	sub { "UPDATE a SET n = @{[number()]} WHERE v = '@{[word()]}'" },
	sub { "UPDATE p SET k = @{[number()]} WHERE k = @{[number() % 3]} RETURNING *" },
	sub { "DELETE FROM a WHERE v = '@{[word()]}' RETURNING v, u" },
	sub { "INSERT INTO b (a) SELECT id FROM a ORDER BY id LIMIT @{[number()]} RETURNING *" },
	sub { "INSERT INTO b (a) VALUES (@{[number()]})" },
	sub { "INSERT INTO p (k, v) SELECT n, '@{[word()]}' FROM generate_series(0, @{[number()]}) AS n" },
	sub { "WITH new AS (INSERT INTO p (k, v) VALUES (@{[number()]}, 'c') RETURNING id) SELECT id, now() FROM new" },
	sub { "MERGE INTO item USING (VALUES (@{[number()]})) AS s (id) ON item.id = s.id WHEN MATCHED THEN UPDATE SET n = n + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0)" },
	sub { "SELECT put('@{[word()]}', @{[number()]})" },
	sub { "SELECT put(v, 3) FROM a ORDER BY id LIMIT @{[number()]}" },
	sub { "SELECT * FROM rows(@{[number()]})" },
	sub { "SELECT fails('@{[word()]}')" },
	sub { "CALL two('@{[word()]}', NULL)" },
	sub { "DO \$\$ BEGIN PERFORM put('@{[word()]}', 5); END \$\$" },
	sub { "EXECUTE ins ('@{[word()]}', @{[number()]})" },
	sub { "EXECUTE sel (@{[number()]})" },
	sub { 'TRUNCATE log' },
	sub { "NOTIFY idem_fuzz, '@{[word()]}'" },
	sub { "SELECT pg_notify('idem_fuzz', '@{[word()]}')" },
	sub { "SELECT outcome, replayed, result FROM idem_upsert('u@{[number()]}', 'item', '{\"id\": @{[number()]}, \"n\": 1}')" },
	sub { "SELECT * FROM idem_execute('e@{[number()]}', 'UPDATE item SET n = n + 1 RETURNING n')" },
	sub { "SELECT idem_consume('fuzz', 'm@{[number()]}')" },
	sub { "SELECT nextval('a_id_seq'), lastval() > 0" },
	sub { "SELECT nextval('a_id_seq'), currval('a_id_seq')" },
	sub { 'SELECT random(), gen_random_uuid(), clock_timestamp(), now()' },
	sub { 'SELECT * FROM a ORDER BY id' },
	sub { 'SELECT count(*), sum(n) FROM a' },
	sub { 'SELECT * FROM b ORDER BY x' },
	sub { "SELECT id, v FROM a WHERE v = '@{[word()]}' FOR UPDATE" },
	sub { 'SELECT what FROM log ORDER BY 1' },
	sub { "SELECT k, array_agg(v ORDER BY id), (array_agg(p ORDER BY id))[1] FROM p GROUP BY k ORDER BY k" },
	sub { "SELECT set_config('idem_fuzz.x', '@{[word()]}', true)" },
	sub { 'SELECT pg_try_advisory_xact_lock(7777)' },
	sub { "SET LOCAL DateStyle = 'SQL, DMY'" },
	sub { "SET LOCAL extra_float_digits = 0" },
	sub { "SET LOCAL IntervalStyle = 'iso_8601'" },
	sub { "SET LOCAL bytea_output = 'escape'" },
	sub { "SET LOCAL TimeZone = '@{[pick('Asia/Kathmandu', 'America/St_Johns', 'UTC')]}'" },
);

sub cursor
{
	my $name = 'c' . $cursors++;
	my @lines = ("DECLARE $name NO SCROLL CURSOR FOR @{[pick('SELECT id, v, at FROM a ORDER BY id',
		'SELECT * FROM rows(2)', q{SELECT put(v, 4) FROM a ORDER BY id LIMIT 3})]};");

	push @lines, "FETCH @{[1 + number() % 4]} FROM $name;", block(0, 1) for 0 .. number() % 3;
	push @lines, "MOVE 1 FROM $name;" if rand() < 0.3;
	push @lines, "FETCH ALL FROM $name;";
	push @lines, "CLOSE $name;" if rand() < 0.5;
	return @lines;
}

# Statements, and savepoints around some of them.
sub block
{
	my ($depth, $count) = @_;
	my @lines;

	for (1 .. $count)
	{
		my $kind = rand();
		my $savepoint = "s$depth";

		if ($depth < 4 && $kind < 0.2)
		{
			push @lines, "SAVEPOINT $savepoint;", block($depth + 1, 1 + number() % 4),
			  (rand() < 0.5 ? "ROLLBACK TO $savepoint;" : "RELEASE $savepoint;");
		}
		elsif ($kind < 0.25 && $depth == 0)
		{
			push @lines, cursor();
		}
		else
		{
			push @lines, "SAVEPOINT e$depth;", pick(@statements)->() . ';',
			  '\if :ERROR', "\\echo :SQLSTATE", "ROLLBACK TO e$depth;", '\else', "RELEASE e$depth;", '\endif';
		}
	}
	return @lines;
}

sub program
{
	my ($key) = @_;
	my $level = pick('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');
	my $begin = rand() < 0.5 ? "SELECT idem_begin('$key') IS NOT NULL;" : "SET LOCAL idem.key = '$key';";

	$cursors = 0;
	return ("BEGIN ISOLATION LEVEL $level;",
		(rand() < 0.1 ? ('SAVEPOINT first;', $begin, 'ROLLBACK TO first;') : ()), $begin,
		"INSERT INTO a (v, n) VALUES ('$key', 1) RETURNING *;",
		block(0, 2 + number()), (rand() < 0.5 ? 'SET CONSTRAINTS ALL IMMEDIATE;' : ()), 'COMMIT;');
}

# The lines with blanks and comments that a tracer might put there.
sub traced
{
	return map {
		my $line = $_;

		$line =~ s{ (VALUES|FROM|SET|RETURNING) }{ /* trace @{[int(rand 1000)]} */  $1\t} if $line !~ /^(?:\\|DO|SET)/ && rand() < 0.3;
		$line;
	} @_;
}

# Runs the programs; returns what each printed.
sub run_all
{
	my (@programs) = @_;
	my $script = "PREPARE ins (text, int) AS INSERT INTO a (v, n) VALUES (\$1, \$2) RETURNING id;
PREPARE sel (int) AS SELECT v, \$1 FROM a WHERE n > \$1 ORDER BY id;
\\set SHOW_CONTEXT never
";
	my ($out, $err);

	$script .= join "\n", "\\echo ==== $_->{key}", @{ $_->{lines} }, '' for @programs;
	# in one stream, so that errors stay in their place
	IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=0' ],
		'<', \$script, '>&', \$out);
	$out =~ s/^Asynchronous notification.*\n//mg;
	my (undef, %outputs) = split /^==== (.*)\n/m, $out;
	return \%outputs;
}

# The first line that differs, and those before it.
sub difference
{
	my @first = split /\n/, $_[0];
	my @second = split /\n/, $_[1];
	my $i = 0;

	$i++ while $i < @first && $i < @second && $first[$i] eq $second[$i];
	return ('the first difference:', map { "  $_" } @first[($i < 5 ? 0 : $i - 5) .. $i - 1],
		"first:  " . ($first[$i] // '(end)'), "second: " . ($second[$i] // '(end)'));
}

my $sums = join ' UNION ALL ', map {
	"SELECT '$_', count(*)::text || coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM $_ AS t"
} qw(a b p log item idem_key idem_message);
my $state = "$sums UNION ALL SELECT 'xid', pg_snapshot_xmax(pg_current_snapshot())::text"
	# of long tables several processes read at once
	. ' ORDER BY 1';

sub change
{
	$node->safe_psql('postgres', q{
		DELETE FROM a WHERE random() < 0.3;
		UPDATE a SET n = 50, at = now() WHERE random() < 0.5;
		INSERT INTO a (v, n) SELECT 'new' || random(), 0 FROM generate_series(1, 3);
		DELETE FROM p WHERE random() < 0.5;
		UPDATE item SET n = n + 100;
		DELETE FROM item WHERE random() < 0.3;
		SELECT setval('a_id_seq', nextval('a_id_seq') + 1000);
		TRUNCATE log;
	});
}

my $done = 0;
my $wrong = 0;
my $committed = 0;
while ($done < $programs && $wrong == 0)
{
	my $count = $programs - $done < $batch ? $programs - $done : $batch;
	my @first = map { my $key = 'fuzz-' . ($done + $_); { key => $key, lines => [ program($key) ] } } 1 .. $count;
	my $outputs = run_all(@first);

	change();
	my $before = $node->safe_psql('postgres', $state);
	my $known = $node->safe_psql('postgres', q{SELECT key FROM idem_key WHERE key LIKE 'fuzz-%'});
	my %known = map { $_ => 1 } split /\n/, $known;
	# one that failed as a whole has left nothing to be answered
	my @second = map { { key => $_->{key}, lines => [ traced(@{ $_->{lines} }) ] } } grep { $known{ $_->{key} } } @first;
	my $again = run_all(@second);
	my $after = $node->safe_psql('postgres', $state);

	foreach my $program (@second)
	{
		my $key = $program->{key};

		$committed++;
		next if $outputs->{$key} eq $again->{$key};
		$wrong++;
		is($again->{$key}, $outputs->{$key}, "$key: the second answer is the first");
		diag(join "\n", difference($outputs->{$key}, $again->{$key}), @{ $program->{lines} });
		last;
	}
	if ($before ne $after)
	{
		$wrong++;
		is($after, $before, 'a replay writes nothing');
	}
	$done += $count;
}
is($wrong, 0, "$done programs, $committed of them committed and sent again");
cmp_ok($committed, '>', $done / 2, 'most programs commit');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'the server went through it all');
done_testing();
