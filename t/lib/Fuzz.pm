# Random statements that call functions: directly, and in every way by which a
# role can have a function called that the parser has not looked at as it looks
# at a call.  All randomness is rand()'s, so a seed says which statements.

package Fuzz;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(value call statement set_catalog pick);

# What there is: type => [labels] of enums, [names] of composite types, and the
# functions that can be called.
my (%labels, @composites, @functions);

sub set_catalog
{
	my (%catalog) = @_;

	%labels = %{ $catalog{labels} };
	@composites = @{ $catalog{composites} };
	@functions = @{ $catalog{functions} };
}

sub pick { return $_[ rand @_ ] }
sub one_in { return rand($_[0]) < 1 }

# What a call may say of errors, of others, and of its answer.
sub guarded
{
	return pick('', '', ", remember_errors => '{" . pick('22,23,42,0A,P0,ID', 'P0001', '40', 'x') . "}'") .
		pick('', '', ', wait => false') . pick('', '', ', store_response => false');
}

sub quote
{
	my ($text) = @_;

	return "'" . ($text =~ s/'/''/gr) . "'";
}

# Commands for what runs them; $1 is the first parameter.  fuzz.evil() calls what
# the session's setting fuzz.call says.
my @commands = (
	'SELECT 1', 'SELECT $1', 'SELECT $1::int, $2::text', 'SELECT fuzz.evil(1)', '', ';', 'SELECT 1; SELECT 2',
	'INSERT INTO fuzz.plain (status) VALUES (\'A\') RETURNING *', 'INSERT INTO fuzz.plain DEFAULT VALUES',
	'UPDATE fuzz.plain SET amount = $1 WHERE id = 1 RETURNING id, fuzz.evil(id)',
		'DELETE FROM fuzz.plain WHERE id = $1',
	'WITH x AS (INSERT INTO fuzz.plain DEFAULT VALUES RETURNING id) SELECT * FROM x', 'TABLE fuzz.plain',
	'MERGE INTO fuzz.plain p USING fuzz.evil_t e ON p.id = e.id WHEN MATCHED THEN UPDATE SET amount = 1',
	'SELECT * FROM hidden.secret', 'SELECT * FROM hidden.partial', 'SELECT * FROM hidden.fenced',
		'TABLE public.idem_key',
	'BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'PREPARE TRANSACTION \'x\'', 'SET ROLE regress_hidden',
	'SET SESSION AUTHORIZATION postgres', 'RESET SESSION AUTHORIZATION', 'RESET ALL', 'DISCARD ALL',
		'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
	'COPY fuzz.plain TO STDOUT', 'COPY fuzz.plain FROM STDIN', 'LISTEN x', 'VACUUM',
		'DO $$BEGIN PERFORM fuzz.evil(1); END$$',
	'CALL fuzz.commits()', 'CALL fuzz.evils($1)', 'EXPLAIN ANALYZE SELECT fuzz.evil(1)',
		'DECLARE c CURSOR FOR SELECT 1', 'FETCH ALL c', 'EXECUTE p',
	'PREPARE p AS SELECT 1', 'DEALLOCATE ALL', 'CREATE TABLE fuzz.made (a int)',
		'CREATE TABLE fuzz.made AS SELECT fuzz.evil(1)',
	'SELECT row(1, row(2)), ARRAY[[1]], NULL::fuzz.pair, \'1 sec\'::interval', 'SELECT',
		'SELECT FROM fuzz.plain', 'SELECT p FROM fuzz.plain p',
	'SELECT 1 AS a, 2 AS a', 'SELECT 1/0', 'VALUES ($1, $2), ($3, $9)', 'SELECT $0', 'SELECT $65536',
		'DROP TABLE fuzz.plain', 'TRUNCATE fuzz.evil_t',
	'ALTER TABLE fuzz.plain ADD COLUMN x int', 'SHOW ALL', 'SHOW work_mem', 'LOCK TABLE fuzz.plain', 'NOTIFY x',
		'LOAD \'idem\'',
	'CREATE EXTENSION idem', 'DROP EXTENSION idem', 'SELECT * FROM public.idem_execute(\'k1\', \'SELECT 1\')',
	'SELECT * FROM public.idem_check(\'INSERT INTO fuzz.plain DEFAULT VALUES\')',
		'SELECT * FROM fuzz.evil_view',
	'UPDATE fuzz.evil_t SET status = \'B\'', 'SELECT pg_advisory_lock(1)', 'CHECKPOINT',
	'SELECT set_config(\'search_path\', \'\', false)', 'SELECT * FROM generate_series(1, 1000)',
		'INSERT INTO fuzz.plain (id) SELECT 5 ON CONFLICT DO NOTHING');

my @relations = (
	# own, and shared with others
	('fuzz.plain') x 6, ('fuzz.machined') x 4, ('fuzz.orders') x 4, ('fuzz.evil_t') x 3,
	qw(fuzz.composed fuzz.keyed fuzz.parted fuzz.parted_1 fuzz.parent fuzz.child fuzz.domained fuzz."we""ird t'ab"
	fuzz.dropped fuzz.generated fuzz.empty fuzz.deferred fuzz.policed fuzz.wide fuzz.ruled fuzz.stringy fuzz.evil_view
	fuzz.evil_checked fuzz.evil_triggered fuzz.evil_policed fuzz.evil_domained fuzz.evil_generated fuzz.many
	hidden.partial hidden.fenced hidden.shared hidden.orders),
	# nobody's, others', and no tables
	qw(hidden.secret hidden.secret_pkey hidden.machined fuzz.foreign fuzz.view fuzz.materialized fuzz.plain_id_seq fuzz.plain_pkey
	fuzz.pair pg_temp.temporary pg_class pg_authid pg_proc pg_largeobject pg_statistic information_schema.tables
	pg_stat_activity public.idem_key public.idem_message public.idem_history public.idem_machine public.idem_consumer public.idem_offset public.idem_outbox public.idem_outbox_era public.idem_outbox_position public.idem_key_pkey
	public.idem_history_id_seq public.idem_outbox_id_seq pg_toast.pg_toast_1255));

my @keys = ((map { "'k$_'" } 1 .. 12) x 3, "'stolen-1'", "'stolen-2'", "'stolen-3'", "repeat('k', 255)",
	"repeat('k', 256)",
	"repeat(chr(233), 127)", "repeat(chr(233), 128)", "''", 'NULL', "gen_random_uuid()::text",
		"'0190163d-8694-739b-aea5-966c26f8ad91'", "E'\\n'");
my @states = map { "'$_'" } ('A', 'B', 'C', 'D', 'PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED', '', 'a',
	'x' x 70);
my @machines = map { "'$_'" } ('mine', 'order', 'guarded', 'theirs', 'tampered', '', 'none', 'm1', 'm2',
	'x' x 300);
my @columns = map { "'$_'" } ('id', 'status', 'version', 'amount', 'tags', 'payload', 'ctid', 'tableoid', '',
	'no', 'we"ird', '*', 'tenant', 'flag', 'at');

my @json = ('null', 'true', '1', '-1', '"x"', '""', '[]', '{}', '[null]', '[[]]', '[{}]', '{"": null}',
	'{"id": 1}', '{"id": "1"}', '{"id": null}',
	'{"id": 1.5}', '{"id": 1e400}', '{"id": [1]}', '{"id": {"id": 1}}', '{"id": 99999999999999999999}',
		'{"tenant": 1, "id": 1}', '{"id": 1, "tenant": "x"}',
	'{"id": 1, "status": "B"}', '{"id": 2, "status": "PROCESSING"}', '{"id": 3, "version": 7}',
		'{"id": 4, "no": 1}', '{"id": 1, "ctid": "(0,1)"}',
	'{"id": 1, "payload": {"a": [1, {"b": null}]}}', '{"id": 1, "tags": ["a", "b", "a"]}',
		'{"id": 1, "tags": [["a"], ["b"]]}', '{"id": 1, "tags": "{a,b}"}',
	'{"id": 1, "tags": [["a"], ["b", "c"]]}', '{"id": 1, "amount": "NaN"}', '{"id": 1, "amount": 1e1000}',
		'{"id": 1, "at": "infinity"}', '{"id": 1, "flag": true}',
	'{"id": 1, "pair": {"a": 1, "b": "x"}}', '{"id": 1, "pair": "(1,x)"}', '{"id": 1, "pair": [1, 2]}',
		'{"amount": 5}', '{"status": "B"}', '{"tags": ["z"]}', '{"payload": null}',
	'{"amount": "max"}', '{"tags": "union"}', '{"payload": "union"}',
		'{"amount": "min", "tags": "union", "id": "set"}', '{"at": "max"}', '{"amount": "no"}', '{"id": "max"}',
			'{"status": "max"}',
	'{"A": ["B"]}', '{"A": ["B", "C"], "B": ["A"]}', '{"A": [{"to": "B", "guard": "fuzz.guard"}]}',
		'{"A": [{"to": "B", "guard": "fuzz.evil_guard"}], "B": ["A", "C"], "C": ["A"]}',
	'{"A": [{"to": "B", "guard": "pg_sleep"}]}', '{"A": [{"to": 1}]}', '{"A": "B"}', '{"*": ["X"]}',
		'{"A": [null]}', '{"PENDING": ["PROCESSING"], "PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED"]}',
	'[1, "a", null, true, [1], {"a": 1}]', '["1", "2"]', '[1]', '["x"]', '{"a": {"b": {"c": {}}}}',
		'[1.0, 1, 1.00, 1e0]', '"0190163d-8694-739b-aea5-966c26f8ad91"', '["2020-01-01"]', '"\ud83d\ude00"');

my %pool = (
	text => sub {
		return one_in(4) ? quote(pick(@commands)) : one_in(3) ? pick(@keys) : one_in(3) ? quote(pick(@json)) :
			one_in(3) ? quote(pick(@relations)) :
			pick(@states, @machines, @columns, "'1'", "'-1'", "'9223372036854775808'", "'1e400'", "'NaN'",
				"'%s%n'", 'chr(1114111)', "repeat('x', 3000)",
				"repeat(md5('x'), 40000)", "'\\x'", "'\$1'", "'a' COLLATE \"C\"", "'fuzz.guard'", "'reject'",
					"'apply'");
	},
	jsonb => sub {
		return pick("(repeat('[', 5000) || repeat(']', 5000))::jsonb",
			"(repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb",
			"(SELECT jsonb_object_agg('f' || n, n) FROM generate_series(1, 2000) n)",
				"jsonb_build_object('id', repeat('x', 9000))",
			"(SELECT to_jsonb(p) FROM fuzz.plain p LIMIT 1)", "to_jsonb(repeat('y', 2000000))") if one_in(12);
		return quote(pick(@json)) . '::jsonb';
	},
	bigint => sub { pick(0 .. 5, -1, '9223372036854775807', '(-9223372036854775808)', '2147483648',
		'4294967296', "'0x10'", 1 .. 5) },
	integer => sub { pick(0 .. 5, -1, '2147483647', '(-2147483648)') },
	smallint => sub { pick(0 .. 3, -1, "'32767'::smallint") },
	boolean => sub { pick('true', 'false') },
	interval => sub { "'" . pick('1 day', '0', '-1 day', '1 microsecond', '178000000 years', '-178000000 years',
		'2147483647 months 2147483647 days', '1 month -30 days', '1 mon -1 day +00:00:01',
			'-1 mon 31 days', '2562047788:00:54.775807', '1 hour', '5 seconds', 'infinity', '100 years',
				'2147483647 days -2147483648 months') . "'::interval" },
	'timestamp with time zone' => sub { "'" . pick('now', 'infinity', '-infinity', '4714-11-24 00:00:00+00 BC',
		'294276-12-31 23:59:59.999999+00', 'epoch', '2000-01-01', 'tomorrow', '2026-02-29 00:00') .
			"'::timestamptz" },
	uuid => sub { pick('gen_random_uuid()', "'0190163d-8694-739b-aea5-966c26f8ad91'::uuid",
		"'00000000-0000-0000-0000-000000000000'::uuid") },
	name => sub { pick(@columns, 'current_user', "repeat('n', 80)") . '::name' },
	regclass => sub { one_in(15) ? pick("0::regclass", "999999999::regclass", "4294967295::oid::regclass",
		"1262::regclass", "'fuzz.plain'::regclass::oid") : quote(pick(@relations)) . '::regclass' },
	regrole => sub { pick('current_user::text', "'regress_hidden'", "0", "99999999") . '::regrole' },
	oid => sub { one_in(2) ? pick(0, 1, 10, 23, 25, 2205, 2249, 4294967295, 16384) . '::oid' :
		quote(pick(@relations)) . '::regclass::oid' },
	tid => sub { "'" . pick('(0,0)', '(0,1)', '(0,2)', '(4294967295,65535)', '(1,1)') . "'::tid" },
	cstring => sub { pick("''", "'x'", "'fuzz.plain'", "'12345'", "'-'", "'public.idem_key'",
		"'regress_hidden'", "E'a\\nb'", "'\"'", "'{1,2}'", "'a.b.c.d'", "'\"a\".\"'", "'hidden.secret'") .
			'::cstring' },
	bytea => sub { pick("''", "'\\x00'", "'\\x00000000'", "'\\xffffffff'", "'\\x000040006100'", "'\\x61'") .
		'::bytea' },
	numeric => sub { pick(0, 1, "'NaN'", "'infinity'", '1e500', '-0.0', '1.50') . '::numeric' },
	'double precision' => sub { pick(0, 1, "'NaN'", "'infinity'", '1e300') . '::float8' },
	date => sub { "'" . pick('today', 'infinity', '4714-11-24 BC') . "'::date" },
	point => sub { "'(1,2)'::point" },
	int2vector => sub { pick("'1 2'", "''", "'1'") . '::int2vector' },
	oidvector => sub { pick("'1 2'", "''", "'23'") . '::oidvector' },
	record => sub { pick('ROW()', 'ROW(1, 2)', "ROW('a', NULL)", 'ROW(ROW(1))', 'ROW(1, ARRAY[1])',
		'(SELECT p FROM fuzz.plain p LIMIT 1)', '(SELECT p FROM fuzz.dropped p LIMIT 1)',
			"ROW(1, 'x')::fuzz.pair", 'NULL::fuzz.pair', 'NULL::fuzz.empty',
				'(SELECT w FROM fuzz.wide w LIMIT 1)', "ROW('{1}'::fuzz.ints)", "'\\x'::bytea",
					"(1, 'x')::fuzz.checked_pair",
			'(SELECT c FROM pg_class c LIMIT 1)', "(SELECT x FROM (SELECT 1 AS a, 2 AS a) x)",
				'json_populate_record(NULL::fuzz.pair, \'{}\')', 'fuzz.anyrow()') },
	json => sub { quote(pick(@json)) . '::json' },
	int4range => sub { "'[1,5)'::int4range" },
	'fuzz.ints' => sub { pick("'{1,2}'", "'{}'") . '::fuzz.ints' },
	internal => sub { 'NULL' },
);
# Arrays whose declared type is anyarray, so that only they know what they are of.
sub sample { "(SELECT most_common_" . pick('vals', 'vals', 'vals', 'elems') .
	" FROM pg_catalog.pg_stats WHERE schemaname = 'fuzz' AND tablename = 'sampled' AND attname = '" . pick('b',
		'i', 't', 'n', 'p', 'a', 'o') . "')" }

my @element_types = ('text', 'jsonb', 'bigint', 'integer', 'boolean', 'timestamp with time zone', 'uuid',
	'name', 'numeric', 'bytea', 'oid', 'point', 'json', 'interval', 'double precision');
my @any_types = (@element_types, 'record', 'regclass', 'tid', 'cstring', 'int2vector', 'oidvector', 'int4range',
	'fuzz.ints', 'date', 'regrole', 'smallint');

# By what an argument is called, whatever that means: so that calls get further
# than to the check of their arguments.
my %named = (
	key => sub { pick(@keys) },
	scope => sub { pick('NULL', 'NULL', "''", "'s1'", "'s2'", "repeat('s', 255)", "repeat('s', 256)") },
	command => sub { quote(pick(@commands)) },
	machine => sub { pick(@machines) },
	to_state => sub { pick(@states) },
	initial => sub { pick(@states) },
	consumer => sub { pick("'c1'", "'c2'", "'mine'", "'tampered'", "'hidden'", "'free'", 'NULL', "''",
		"repeat('c', 256)", "repeat('c', 255)") },
	topic => sub { pick("'t1'", "'t2'", "''", "repeat('t', 300)") },
	late => sub { pick("'reject'", "'apply'", "'no'", 'NULL') },
	status => sub { pick("'status'", @columns) },
	version => sub { pick("'version'", @columns) },
	fence => sub { pick('1', '2', 'NULL', '3', '0', '-1') },
	lease => sub { pick("'1 hour'", "'1 microsecond'", 'NULL', "'-1 s'", "'300 years'", "'infinity'") },
	conflict => sub { pick('NULL', "'{id}'", "'{}'", "'{status}'", "'{id,id}'", "'{no}'", "'{tenant,id}'",
		"'{{id},{id}}'", "'[0:0]={id}'", "'{NULL}'") },
	id => sub { pick("'1'", "'2'", "'3'", "'0190163d-8694-739b-aea5-966c26f8ad91'", q('{"tenant": 1, "id": 1}'),
		q('{"id": 2}')) },
	ids => sub { pick(q(ARRAY['1', '2']), q(ARRAY['{"id": 1}', '{"id": 2}', '{"id": 1}']), q('{}'),
		q(ARRAY[NULL, '1']), q(ARRAY[['1', '2'], ['3', '4']]), q('[-3:-2]={1,2}')) },
);

# The same for calls that are to be made as people make them, mostly.
my @tables = (('fuzz.plain') x 3, ('fuzz.machined') x 3, ('fuzz.orders') x 3, 'fuzz.composed', 'fuzz.parted',
	'fuzz.parent', 'fuzz.keyed', 'fuzz.dropped', 'fuzz.generated', 'fuzz.deferred',
	'fuzz.policed', 'fuzz.domained', 'fuzz.stringy', 'fuzz.evil_guarded', 'fuzz.evil_t', 'fuzz.evil_triggered',
		'hidden.orders', 'hidden.shared', 'hidden.fenced', 'hidden.partial');
my %ids = (
	text => sub { "'" . int(1 + rand 5) . "'" },
	bigint => sub { int(1 + rand 5) },
	jsonb => sub { pick('\'{"id": ' . int(1 + rand 5) . '}\'', '\'{"tenant": 1, "id": ' . int(1 + rand 3) .
		'}\'') . '::jsonb' },
	uuid => sub { 'uuid \'00000000-0000-0000-0000-00000000000' . int(1 + rand 3) . "'" },
	anycompatiblearray => sub { pick("ARRAY['1', '2', '3']::jsonb[]", "'{1,2,3}'", 'ARRAY[1, 2, 3]',
		"ARRAY['3', '1']::varchar[]", 'ARRAY[2, 1]::bigint[]', q(ARRAY['{"tenant": 1, "id": 2}', '{"id": 1}']),
		q(ARRAY['{"id": 2, "tenant": 1}']::jsonb[]), "ARRAY[uuid '00000000-0000-0000-0000-000000000001']") },
);
my %sane = (
	target => sub { quote(pick(@tables)) . '::regclass' },
	id => sub { $ids{ $_[0] } ? $ids{ $_[0] }->() : value($_[0], '') },
	ids => sub { $ids{ $_[0] } ? $ids{ $_[0] }->() : value($_[0], '') },
	key => sub { $_[0] eq 'uuid' ? $ids{uuid}->() : "'k" . int(rand 80) . "'" },
	scope => sub { pick('NULL', 'NULL', "'s1'") },
	ttl => sub { pick('NULL', "'1 day'", "'1 microsecond'") },
	lease => sub { pick("'1 hour'", "'1 microsecond'", 'NULL') },
	command => sub { quote($commands[ rand 14 ]) },
	params => sub { pick("'[]'", "'[1]'", q('["1", "x"]')) },
	data => sub { my $n = int(1 + rand 8); pick(qq('{"id": $n, "status": "A"}'), qq('{"id": $n, "amount": $n}'),
		qq('{"id": $n, "tenant": 1}'), qq('{"id": $n}')) },
	patch => sub { pick(q('{"amount": 5}'), q('{"amount": null}'), q('{"status": "B"}'), q('{"tags": ["a"]}'),
		q('{"version": 3}'), q('{}')) },
	merge => sub { pick('NULL', 'NULL', q('{}'), q('{"amount": "max"}'), q('{"tags": "union"}')) },
	conflict => sub { pick('NULL', "'{id}'") },
	to_state => sub { pick("'A'", "'B'", "'C'", "'PROCESSING'", "'SHIPPED'") .
		($_[0] eq 'anyenum' ? '::' . pick('fuzz.mood', 'public.order_status') : '') },
	expected_version => sub { pick('NULL', 'NULL', 1, 2, 3) },
	expected_versions => sub { pick('NULL', "'{1,1,1}'", "'{1,NULL,2}'") },
	note => sub { pick('NULL', q('{"a": 1}'), q('"x"')) },
	fence => sub { pick('1', '2', 'NULL') },
	consumer => sub { pick("'free'", "'mine'", "'tampered'", "'c1'") },
	message_id => sub { "'m" . int(rand 50) . "'" },
	machine => sub { pick("'mine'", "'guarded'", "'tampered'", "'order'") },
);
our $sane = 0;    # is the call to be one of those?

sub array
{
	my ($type) = @_;
	my $element = sub { value($type, '') };
	my $shape = int rand 9;

	return "NULL::$type" . '[]' if $shape == 0;
	return "'{}'::$type" . '[]' if $shape == 1;
	return 'array_fill(' . $element->() . ", ARRAY[3], ARRAY[-5])::$type" . '[]' if $shape == 2;
	return 'ARRAY[[' . $element->() . ', ' . $element->() . '], [' . $element->() . ', NULL]]::' . $type .
		'[]' if $shape == 3;
	return "array_fill(NULL::$type, ARRAY[2, 1, 2], ARRAY[0, 7, 2147483640])" if $shape == 4;
	return 'array_fill(' . $element->() . ", ARRAY[20000])::$type" . '[]' if $shape == 5 && one_in(5);
	return "ARRAY[NULL, NULL]::$type" . '[]' if $shape == 6;
	return 'ARRAY[' . join(', ', map { $element->() } 0 .. rand 4) . "]::$type" . '[]';
}

# An expression of a type, or of another.
sub value
{
	my ($type, $name) = @_;

	return ($sane{$name} // $named{$name} // sub { simple_value($type,
		$name) })->($type) if $sane && !one_in(12);
	return simple_value($type, $name);
}

sub simple_value
{
	my ($type, $name) = @_;

	return $named{$name}->() if $name ne '' && $named{$name} && !one_in(4);
	return 'NULL' . ($type =~ /^(any|record|internal|"any")/ ? '' : "::$type") if one_in(15);
	return "'" . pick('', 'x', '{}', '1', '(', '0x', '{1,NULL}') . "'" if one_in(60);
	return value(pick(@any_types),
		'') if $type eq '"any"' || $type =~ /^any/ && $type !~ /^any(compatible)?array$|^anyenum$/ || one_in(60);
	return value(pick(keys %labels), '') if $type eq 'anyenum';
	return sample() if $type =~ /^any(compatible)?array$/ && one_in(4);
	return one_in(8) ? pick( "'1 2'::int2vector", "'23 25'::oidvector", "'{1,2}'::fuzz.ints",
		"ARRAY[ROW(1, 2)]", "ARRAY[$pool{record}->()]", "ARRAY['a']::name[]", "'{}'", "ARRAY['1'::cstring]",
			"ARRAY[ARRAY[]::int[]]", "ARRAY['(1,2),(3,4)'::box]", 'ARRAY[NULL::fuzz.pair]') :
				array(pick(@element_types)) if $type =~ /^any(compatible)?array$/;
	return array($1) if $type =~ /^(.+)\[\]$/;
	return $pool{$type}->() if $pool{$type};
	return quote(pick(@{ $labels{$type} }, 'no', '')) . "::$type" if $labels{$type};
	return pick($pool{cstring}->() =~ s/::cstring$//r, "'" . join('.', map { pick('fuzz', 'plain', '"', 'a b',
		'hidden', 'secret', '') } 0 .. rand 3) . "'", "'x'", "'regress_hidden'", "''", "'0'", "'-'") .
			"::$type";
}

# A call of a function: positional first, then some others by their names.
sub call
{
	my ($function, @columns) = @_;
	my @types = @{ $function->{types} };
	my @names = @{ $function->{names} };
	my $needed = @types - $function->{defaults};
	my @arguments;
	local $sane = one_in(2);
	my $positional = int($needed + rand(@types - $needed + 1));

	$positional = int rand($positional + 1) if one_in(3) && @names == @types && !grep { $_ eq '' } @names;
	for (my $i = 0; $i < @types; $i++)
	{
		my $value = @columns && one_in($sane ? 12 : 3) ? pick(@columns) : value($types[$i], $names[$i] // '');

		next if $i >= $positional && $i >= $needed && one_in(2);
		push @arguments, $i < $positional ? $value :
			"\"$names[$i]\" => $value" if $i < $positional || ($names[$i] // '') ne '';
	}
	$arguments[-1] = 'VARIADIC ' .
		$arguments[-1] if $function->{variadic} && @arguments == @types && !one_in(4);
	pop @arguments if @arguments && one_in(100);
	return "$function->{name}(" . join(', ', @arguments) . ')';
}

my @table_columns = ('p.id', 'p.status', 'p.version', 'p.amount', 'p.tags', 'p.payload', 'p.ctid', 'p.tableoid',
	'p', 'p.at', 'p.flag', 'p.*');
my @evil_targets = ('fuzz.evil_t', 'fuzz.evil_checked', 'fuzz.evil_triggered', 'fuzz.evil_policed',
	'fuzz.evil_view', 'fuzz.evil_domained', 'fuzz.evil_generated', 'fuzz.evil_guarded');

# The ways to call.  Each gets a function and returns a statement, or several.
my @direct = (
	sub { 'SELECT * FROM ' . call(@_) },
	sub { 'SELECT * FROM ' . call(@_) },
	sub { 'SELECT * FROM ' . call(@_) },
	sub { 'SELECT ' . call(@_) },
	sub { 'SELECT (' . call(@_) . ').*' },
	sub { 'SELECT ' . call(@_, @table_columns) . ' FROM fuzz.plain p' },
	sub { 'SELECT p.id FROM fuzz.plain p WHERE ' . call(@_, @table_columns) . ' IS NOT NULL' },
	sub { 'SELECT p.id FROM fuzz.plain p WHERE p.id = 1 AND ' . call(@_, @table_columns) },
	sub { 'UPDATE fuzz.plain p SET amount = 1 WHERE ' . call(@_, @table_columns) . pick('', ' IS NULL') },
	sub { 'DELETE FROM fuzz.evil_t p WHERE ' . call(@_, 'p.id', 'p.status', 'p', 'p.ctid', 'p.tableoid') .
		pick('', ' IS NULL') },
	sub { "INSERT INTO fuzz.plain (id, status) VALUES (1, 'A') ON CONFLICT (id) DO UPDATE SET amount = 2 " .
		"WHERE " .
		call(@_, 'plain.id', 'excluded.status', 'plain.ctid', 'plain.version') . ' RETURNING id' },
	sub { 'MERGE INTO fuzz.plain p USING fuzz.evil_t e ON p.id = e.id WHEN MATCHED AND ' . call(@_,
		@table_columns) . " IS NULL THEN UPDATE SET status = 'A'" },
	sub { 'SELECT f FROM fuzz.plain p, LATERAL ' . call(@_, grep { $_ ne 'p.*' } @table_columns) .
		' AS f LIMIT 2' },
	sub { 'SELECT count(*) FILTER (WHERE ' . call(@_, 'p.id', 'p.status', 'p') . ' IS NULL), max(' . call(@_) .
		'::text) OVER () FROM fuzz.plain p GROUP BY p.id' },
	sub { 'VALUES (' . call(@_) . '), (' . call(@_) . ')' },
	sub { 'EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) SELECT ' . call(@_, 'p.id', 'p.ctid', 'p.tableoid') .
		' FROM fuzz.plain p WHERE ' . call(@_, @table_columns) . ' IS NOT NULL' },
	sub { 'COPY (SELECT * FROM ' . call(@_) . ') TO STDOUT' . pick('', ' (FORMAT csv)') },
	sub { 'DO $do$BEGIN PERFORM ' . call(@_) .
		'; EXCEPTION WHEN OTHERS THEN IF SQLSTATE LIKE \'XX%\' THEN RAISE; END IF; PERFORM ' . call(@_) .
			'; END$do$' },
	sub { 'SELECT fuzz.try(' . quote(call(@_)) . ', ' . int(rand 3) . ')' },
	sub { 'DECLARE c CURSOR FOR SELECT ' . call(@_, 'p.id', 'p') .
		' FROM fuzz.plain p; FETCH 1 FROM c; FETCH BACKWARD 1 FROM c; CLOSE c' },
	sub { 'WITH x AS MATERIALIZED (SELECT ' . call(@_) .
		' AS f), y AS (INSERT INTO fuzz.plain (status) SELECT \'A\' FROM x RETURNING id) SELECT * FROM x, y' },
	sub { 'SELECT * FROM ROWS FROM (' . call(@_) . ', ' . call(pick(@functions)) . ') WITH ORDINALITY' },
	sub { my $f = call(@_); "SELECT * FROM public.idem_execute(" . pick(@keys) . ', ' . quote("SELECT $f") .
		guarded() . ')' },
	sub { my $f = call(@_); "SELECT * FROM public.idem_check(" . quote("SELECT * FROM $f") . ')' },
	sub {
		my ($function) = @_;
		my @types = @{ $function->{types} };
		my @parameters = map { /^(any|"any"|record|internal|cstring)/ ? pick('int[]', 'text[]', 'fuzz.pair',
			'text') : $_ } @types;
		return 'PREPARE q' . (@types ? '(' . join(', ', @parameters) . ')' : '') .
			" AS SELECT $function->{name}(" . join(', ', map { "\$$_" } 1 .. @types) . '); ' .
			join('; ', map { 'EXECUTE q' . (@types ? '(' . join(', ', map { value($_, '') } @parameters) . ')' :
				'') } 1 .. 3) . '; DEALLOCATE q';
	},
	# in a statement of idem's own
	sub {
		my $target = pick(@evil_targets);
		return "SELECT set_config('fuzz.call', " . quote(call(@_)) . ", false), set_config('fuzz.caught', '" .
			int(rand 3) . "', false); " .
			pick("SELECT * FROM public.idem_upsert(" . pick(@keys) . ", '$target', '" .
				pick('{"id": 1, "status": "B"}', '{"id": 1}', '{"id": 77, "status": "A", "amount": 1}',
					'{"id": 1, "amount": ' . int(rand 9) . '}') .
				"', merge => " . pick('NULL', "'{}'", q('{"amount": "max"}')) . guarded() . ')',
				"SELECT * FROM public.idem_transition('$target', " . pick(1, "'1'", q('{"id": 1}'), "'2'") .
					", " . pick("'B'", "'A'", "'C'") . ')',
				"SELECT * FROM public.idem_transition_batch('$target', ARRAY['1', '2']::jsonb[], 'B')",
				"SELECT * FROM public.idem_allowed('$target', 1)",
					"SELECT * FROM public.idem_history('$target', 1)",
				"SELECT * FROM public.idem_update('$target', 1, '{\"amount\": " . int(rand 9) . "}')",
				"SELECT * FROM public.idem_execute(" . pick(@keys) .
					", 'UPDATE $target SET amount = amount + 1 RETURNING *'" . guarded() . ')',
				"SELECT * FROM public.idem_check('INSERT INTO $target (status) VALUES (''A'')')");
	},
);

# What the catalog of types lets one write in a definition for an argument.
sub some_type { return pick('integer', 'bigint', 'text', 'jsonb', 'fuzz.pair', 'fuzz.ints', 'fuzz.mood',
	'fuzz.plain', 'text[]', 'integer[]', 'anyarray', 'anyelement', 'anycompatiblearray', 'record', 'oid',
		'regclass', 'bytea',
		'int2vector', 'oidvector', 'internal', 'cstring', 'public.idem_table', 'public.idem_role',
			'public.idem_outcome', 'name', 'tid', 'boolean', @composites) }

sub argument_type
{
	my ($declared) = @_;

	return pick('integer[]', 'int2vector', 'anyarray', 'anyarray',
		'fuzz.pair[]') if $declared eq 'anyarray' && !one_in(3);
	return pick('fuzz.pair', 'fuzz.plain', 'record', 'fuzz.dropped') if $declared eq 'record' && !one_in(3);
	return pick('integer', 'text', 'fuzz.pair', '"any"') if $declared eq '"any"' && !one_in(3);
	return one_in(6) ? some_type() : $declared;
}

my $made = 0;    # things that were given a name

# Definitions, each followed by what makes use of it.
my @definitions = (
	sub {    # aggregate
		my ($function) = @_;
		my %same;    # as the parser wants it of arguments of one type
		my @types = map { one_in(8) ? argument_type($_) :
			($same{$_} //= argument_type($_)) } @{ $function->{types} };
		my $state = shift(@types) // some_type();
		my $name = 'fuzz.agg' . ++$made;
		my @options = ("sfunc = $function->{name}", "stype = $state");
		push @options, "$_ = " . pick(@functions)->{name} foreach grep { one_in(6) } qw(finalfunc combinefunc);
		push @options, 'serialfunc = ' . pick(@functions)->{name}, 'deserialfunc = ' .
			pick(@functions)->{name} if one_in(8);
		push @options, 'initcond = ' . pick("'{}'", "'1'", "'[]'", "'(1,x)'", "''") if one_in(3);
		push @options, 'parallel = safe' if one_in(2);
		push @options, pick('finalfunc_extra', 'finalfunc_modify = read_write', 'hypothetical') if one_in(4);
		push @options, "msfunc = $function->{name}", "mstype = $state", 'minvfunc = ' .
			pick(@functions)->{name} if one_in(6);
		my @arguments = map { value(/\bany/ ? 'integer[]' : $_, '') } @types;
		my $call = "$name(" . (@arguments ? join(', ', @arguments) : '*') . ')';
		return "CREATE AGGREGATE $name(" . (@types ? join(', ', @types) : '*') . ') (' . join(', ', @options) .
			"); SELECT $call FROM generate_series(1, 3); " .
			"SELECT $call OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM generate_series(1, " .
				"4) n; SELECT $call FROM fuzz.many" .
			(@types <= 1 ?
				"; SELECT $name(v) FROM (SELECT most_common_vals AS v FROM pg_catalog.pg_stats " .
					"WHERE schemaname = 'fuzz' AND tablename = 'sampled' ORDER BY random()) s" :
					'');
	},
	sub {    # aggregate with the function at its end
		my ($function) = @_;
		my $type = argument_type($function->{types}[0] // 'integer');
		my $name = 'fuzz.agg' . ++$made;
		my $concrete = $type =~ /\bany/ ? 'integer[]' : $type;
		return "CREATE FUNCTION $name" . "_s($type, $type) RETURNS $type LANGUAGE " .
			pick("sql AS 'SELECT \$2'", "plpgsql AS 'BEGIN RETURN coalesce(\$1, \$2); END'") . "; " .
			"CREATE AGGREGATE $name($type) (sfunc = $name" . "_s, stype = $type, " . pick('finalfunc',
				'combinefunc', 'finalfunc') . " = $function->{name}" . pick('', ', finalfunc_extra',
					', parallel = safe') . "); " .
			"SELECT $name(" . value($concrete, '') . ") FROM generate_series(1, 2); SELECT $name(" .
				value($concrete, '') . ') OVER (ORDER BY n) FROM generate_series(1, 3) n';
	},
	sub {    # operator
		my ($function) = @_;
		my @types = map { argument_type($_) } @{ $function->{types} }[ 0, 1 ? $#{ $function->{types} } > 0 ? 1 :
			0 : 0 ] if @{ $function->{types} };
		@types = @types[ 0, 1 ];
		$_ //= 'integer' foreach @types;
		my $name = '@#' . ('@' x (1 + $made++ % 30));
		my $unary = @{ $function->{types} } == 1 || one_in(8);
		return "CREATE OPERATOR fuzz.$name (function = $function->{name}, " . ($unary ? "rightarg = $types[0]" :
			"leftarg = $types[0], rightarg = $types[1]") .
			(one_in(4) ? pick(", restrict = $function->{name}", ', join = ' . pick(@functions)->{name},
				', restrict = eqsel, join = eqjoinsel', ', merges, hashes') : '') . '); ' .
			'SELECT ' . ($unary ? '' : value($types[0], '')) . " OPERATOR(fuzz.$name) " . value($types[-1],
				'') .
			"; SELECT * FROM fuzz.plain p WHERE p.id OPERATOR(fuzz.$name) 1; " .
				"SELECT p OPERATOR(fuzz.$name) p, p.tags OPERATOR(fuzz.$name) ANY (ARRAY[p.tags]) " .
					"FROM fuzz.plain p";
	},
	sub {    # cast
		my ($function) = @_;
		my $from = argument_type($function->{types}[0] // 'integer');
		my $source = pick('fuzz.pair', 'fuzz.mood', 'fuzz.plain', 'fuzz.ints', $from, $from);
		my $target = pick($function->{result}, $function->{result}, 'fuzz.mood', 'fuzz.pair', some_type());
		return "CREATE CAST ($source AS $target) " . pick("WITH FUNCTION $function->{name}(" . join(', ',
			@{ $function->{types} }) . ')', "WITH FUNCTION $function->{name}($from)", 'WITH INOUT',
				'WITHOUT FUNCTION') .
			pick('', ' AS IMPLICIT', ' AS ASSIGNMENT') . '; SELECT CAST(' . value($source, '') .
				" AS $target); SELECT CAST(p AS $target) FROM fuzz.plain p; SELECT CAST(ARRAY[" . value($source,
					'') . "] AS $target" . '[])';
	},
	sub {    # domain
		my ($function) = @_;
		my $type = argument_type($function->{types}[0] // 'integer');
		my $name = 'fuzz.dom' . ++$made;
		return "CREATE DOMAIN $name AS $type " . pick('', 'DEFAULT ' . call($function) . ' ') . 'CHECK (' .
			call($function, 'VALUE') . pick('', ' IS NULL', ' IS NOT NULL') . '); ' .
			'SELECT ' . value($type, '') . "::$name; CREATE TABLE $name" .
				"_t (id int PRIMARY KEY, status $name); INSERT INTO $name" . "_t VALUES (1, " . value($type,
					'') . "); " .
			"SELECT * FROM public.idem_upsert('k1', '$name" . "_t', '" . pick('{"id": 2, "status": 1}',
				'{"id": 2, "status": null}', '{"id": 1}') . "'); ALTER DOMAIN $name ADD CHECK (" .
					call($function, 'VALUE') . ' IS NULL)';
	},
	sub {    # index, statistics, exclusion
		my ($function) = @_;
		my $copy = 'fuzz.copy' . ++$made;
		my $call = call($function, 'id', 'status', 'payload', 'tags', 'amount');
		my $safe = 'fuzz.liar(' . quote(call($function)) . ', id)';
		my $expression = pick($call, $call, $safe);
		return "CREATE TABLE $copy (LIKE fuzz.plain INCLUDING ALL); INSERT INTO $copy (id) VALUES (1), (2); " .
			pick("CREATE INDEX ON $copy (($expression))", "CREATE UNIQUE INDEX ON $copy (id, ($expression))",
				"CREATE INDEX ON $copy (id) WHERE $expression IS NULL",
				"CREATE STATISTICS $copy" . "_stat ON ($expression), id FROM $copy",
					"ALTER TABLE $copy ADD EXCLUDE (($expression) WITH =)",
						"CREATE INDEX ON $copy USING hash (($expression))",
				"CREATE INDEX ON $copy USING gin (($expression))",
					"CREATE INDEX ON $copy USING brin (($expression))",
						"ALTER TABLE $copy ADD CHECK ($expression IS NULL)",
				"ALTER TABLE $copy ADD g text GENERATED ALWAYS AS (($expression)::text) STORED",
					"ALTER TABLE $copy ALTER status SET DEFAULT $expression") .
			"; INSERT INTO $copy (status) VALUES ('B'); ANALYZE $copy; SELECT * " .
				"FROM public.idem_upsert(" . pick(@keys) . ", '$copy', '" . pick(@json) . "'); " .
			"SELECT * FROM public.idem_update('$copy', 1, '{\"amount\": 3}'); DROP TABLE $copy";
	},
	sub {    # trigger, rule, policy, view
		my ($function) = @_;
		my $copy = 'fuzz.copy' . ++$made;
		my $call = call($function, 'new.id', 'new.status', 'new', 'new.payload', 'new.tags', 'old.id');
		my $row = call($function, 'id', 'status', 'payload', 'tags');
		return "CREATE TABLE $copy (LIKE fuzz.plain INCLUDING ALL); INSERT INTO $copy (id) VALUES (1), (2); " .
			pick("CREATE TRIGGER t BEFORE INSERT OR UPDATE ON $copy FOR EACH ROW WHEN ($call IS NULL) " .
				"EXECUTE FUNCTION " .
				pick('fuzz.evil_trigger()', "idem_version('version')"),
				"CREATE RULE r AS ON INSERT TO $copy DO " . pick('ALSO', 'INSTEAD') . " SELECT $call",
					"CREATE POLICY p ON $copy USING ($row IS NULL) WITH CHECK ($row IS NULL)",
				"CREATE VIEW $copy" . "_view AS SELECT *, $row AS f FROM $copy; SELECT * FROM $copy" . "_view",
					"CREATE MATERIALIZED VIEW $copy" . "_matview AS SELECT $row FROM $copy",
				"CREATE TABLE $copy" .
					"_part (LIKE fuzz.plain) PARTITION BY LIST (($row)); CREATE TABLE $copy" .
						"_part_1 PARTITION OF $copy" . "_part DEFAULT; INSERT INTO $copy" .
						"_part (id) VALUES (1)") .
			"; ALTER TABLE $copy ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; SELECT * FROM $copy; " .
			"SELECT * FROM public.idem_upsert(" . pick(@keys) . ", '$copy', '" . pick(@json) . "'); SELECT * " .
				"FROM public.idem_transition('$copy', 1, 'B', 1); DROP TABLE $copy CASCADE";
	},
	sub {    # range, text search, operator class and others
		my ($function) = @_;
		my $name = 'fuzz.made' . ++$made;
		my $type = $function->{types}[0] // 'text';
		my $list = join(', ', @{ $function->{types} });
		return pick("CREATE TYPE $name AS RANGE (subtype = $type, " . pick('subtype_diff', 'canonical') .
			" = $function->{name}); SELECT $name(NULL, NULL); SELECT $name(" . value($type, '') . ', ' .
				value($type, '') . ')',
			"CREATE OPERATOR CLASS $name FOR TYPE $type USING btree AS FUNCTION 1 $function->{name}($list)",
				"CREATE TYPE $name (INPUT = $function->{name}, OUTPUT = $function->{name})",
			"CREATE CONVERSION $name FOR 'UTF8' TO 'LATIN1' FROM $function->{name}",
				"CREATE TEXT SEARCH TEMPLATE $name (LEXIZE = $function->{name})",
					"ALTER FUNCTION $function->{name}($list) SUPPORT $function->{name}",
			"CREATE FUNCTION $name($list) RETURNS $function->{result} LANGUAGE c AS 'idem', " .
				"'$function->{source}'",
				"CREATE FUNCTION $name($list) RETURNS $function->{result} LANGUAGE internal AS '$function->{source}'",
			"CREATE OR REPLACE FUNCTION $function->{name}($list) RETURNS $function->{result} LANGUAGE sql AS 'SELECT NULL'",
				"ALTER FUNCTION $function->{name}($list) OWNER TO CURRENT_USER",
					"DROP FUNCTION $function->{name}($list) CASCADE",
			"CREATE FUNCTION $name(x int DEFAULT length(" . call($function) .
				"::text)) RETURNS int LANGUAGE sql AS 'SELECT x'; SELECT $name()",
					"CREATE FUNCTION $name() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT " . call($function) .
					"::text; END; SELECT $name()",
			"CREATE FUNCTION $name() RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = fuzz AS " .
				quote('SELECT ' . call($function)) . "; SELECT * FROM $name() AS x (a text); SELECT $name()",
			"CREATE TABLE $name (a $type); INSERT INTO $name VALUES (" . value($type, '') .
				"); COPY $name TO STDOUT; CREATE INDEX ON $name (a); SELECT a, a::text, to_jsonb(a) " .
					"FROM $name ORDER BY 1; SELECT * FROM $name x, $name y WHERE x.a = y.a");
	},
	sub {    # triggers, with arguments as nobody would give them
		my $function = pick(grep { $_->{result} eq 'trigger' } @functions);

		return 'SELECT 1' if !$function;
		my $table = pick(grep { /^fuzz|pg_temp|hidden/ } @relations);
		my $level = pick('ROW', 'ROW', 'ROW', 'STATEMENT');
		my $event = pick('INSERT', 'UPDATE', 'DELETE', 'INSERT OR UPDATE', 'INSERT OR UPDATE OR DELETE',
			'TRUNCATE', 'UPDATE OF status');
		my @arguments = map { pick(@machines, @columns, "'status'", "'version'", "'mine'") } 0 .. rand 4;
		pop @arguments if one_in(5);
		@arguments = ("'mine'", "'status'", "'version'", @arguments) if one_in(2);
		return 'CREATE ' . pick('', '', 'CONSTRAINT ') . 'TRIGGER ' . pick('a_trigger', 'zz', '_idem') . ' ' .
			pick('BEFORE', 'AFTER', 'AFTER', 'INSTEAD OF') . " $event ON $table" .
			pick('', '', '', ' REFERENCING NEW TABLE AS n') .
				" FOR EACH $level EXECUTE FUNCTION $function->{name}(" . join(', ', @arguments) .
					"); INSERT INTO $table DEFAULT VALUES; INSERT INTO $table (id) VALUES (1000 + " .
					int(rand 1000) . '); ' .
			"UPDATE $table SET status = 'B'; UPDATE $table SET status = NULL, version = version; " .
				"UPDATE $table SET version = 2147483647; " .
			"SELECT * FROM public.idem_upsert(" . pick(@keys) . ', ' . quote($table) . ', ' .
				quote(pick(@json)) .
			"); DELETE FROM $table WHERE id = 1; TRUNCATE $table";
	},
);

# What changes the tables and settings under idem's feet.
my @changes = (
	sub { 'SET idem.' . pick('ttl', 'scope', 'history_retention', 'purge_batch_size', 'worker', 'max_ttl', 'max_response',
		'wait_timeout', 'nonsense') . ' = ' . pick("'1 day'", 0, -1, "''", "'x'", 2147483647, "'infinity'") },
	sub { 'RESET ALL' },
	sub { 'SET search_path = ' . pick('fuzz, public', 'public', 'pg_temp, fuzz, public', "''",
		'fuzz, pg_catalog, public') },
	sub { 'SET ' . pick('row_security = off', "timezone = 'Europe/Berlin'", "intervalstyle = 'sql_standard'",
		"datestyle = 'German'", 'jit = on', 'enable_indexscan = off', 'plan_cache_mode = force_generic_plan',
			"plan_cache_mode = 'force_custom_plan'",
			'work_mem = 64', 'default_transaction_read_only = off', 'transform_null_equals = on',
				'array_nulls = off', "bytea_output = 'escape'", 'xmloption = content',
					'extra_float_digits = -15', 'standard_conforming_strings = on',
					'check_function_bodies = off', "client_encoding = 'UTF8'") },
	sub { 'ALTER TABLE fuzz.' . pick('plain', 'machined', 'orders', 'parted', 'parent') . ' ' .
		pick('ADD COLUMN x' . ++$made . ' int DEFAULT 5', 'ALTER status DROP DEFAULT',
			'ALTER status SET DEFAULT \'A\'', 'DISABLE TRIGGER USER', 'ENABLE TRIGGER USER',
			'ENABLE ALWAYS TRIGGER ALL', 'ALTER version TYPE bigint', 'ALTER version TYPE numeric',
			'ALTER version TYPE int',
			'ALTER version DROP NOT NULL', 'ALTER status TYPE varchar(7)', 'ALTER status TYPE text',
				'ENABLE ROW LEVEL SECURITY', 'DISABLE ROW LEVEL SECURITY', 'REPLICA IDENTITY NOTHING',
					'SET UNLOGGED', 'SET LOGGED', 'RENAME COLUMN status TO state',
					'RENAME COLUMN state TO status', 'RENAME TO renamed', 'DROP COLUMN amount') },
	sub { 'ALTER TABLE fuzz.renamed RENAME TO ' . pick('plain', 'machined', 'orders') },
	# under a lock, since what two sessions grant at once ends as an internal error of the server's
	sub { my $table = 'fuzz.' . pick('plain', 'orders'); "DO \$\$BEGIN LOCK TABLE $table; REVOKE " .
		pick('SELECT', 'INSERT', 'UPDATE') . " ON $table FROM CURRENT_USER; END\$\$" },
	sub { my $table = 'fuzz.' . pick('plain',
		'orders'); "DO \$\$BEGIN LOCK TABLE $table; GRANT ALL ON $table TO CURRENT_USER; END\$\$" },
	sub { 'SELECT public.idem_attach(' . value('regclass', 'target') . ", 'mine', history => true)" },
	sub { 'DELETE FROM fuzz.' . pick('plain', 'machined', 'orders') . ' WHERE id > ' . int(rand 9) },
	sub { 'INSERT INTO fuzz.' . pick('plain', 'machined', 'orders') .
		' (id) SELECT generate_series(1, 5) ON CONFLICT DO NOTHING' },
	sub { "UPDATE fuzz.plain SET payload = '{\"a\": 1}', tags = '" . pick('{a,b}', '[5:6]={x,y}', '{{a},{b}}',
		'{}', '{NULL}') . "' WHERE id < 3" },
	sub { 'DISCARD ' . pick('PLANS', 'SEQUENCES', 'TEMP') },
	sub { 'CREATE TEMP TABLE ' . pick('plain', 'idem_key', 'idem_machine', 'temporary') .
		" (id int PRIMARY KEY, status text DEFAULT 'A', version int DEFAULT 1)" },
	sub { 'CREATE TABLE fuzz.copy AS SELECT * FROM fuzz.plain; ALTER TABLE fuzz.copy ADD PRIMARY KEY (id); ' .
		'SELECT * FROM public.idem_upsert(\'k2\', \'fuzz.copy\', \'{"id": 1, "status": "C"}\'); DROP TABLE fuzz.copy' },
);

# A statement, or several, that have a function called.
sub statement
{
	my ($function) = @_;

	return pick(@changes)->() if one_in(30);
	# what only idem's own statements call is what such ways are for
	return pick(@definitions)->($function) if one_in($function->{name} =~ /\._/ ? 2 : 5);
	return pick(@direct)->($function);
}

1;
