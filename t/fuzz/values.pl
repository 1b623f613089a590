# Prints statements that send random JSON to idem: data, merge rules, patches, ids,
# parameters, definitions of machines.  Most is nearly right, so that it gets far.
#
#   perl values.pl SEED STATEMENTS
use strict;
use warnings;

my ($seed, $statements) = @ARGV;
srand($seed);

sub pick { return $_[ rand @_ ] }
sub one_in { return rand($_[0]) < 1 }
sub text { return q{"} . join('', @_) . q{"} }

my @numbers = qw(0 1 -1 -0 2 3 32767 32768 -32769 2147483647 2147483648 9223372036854775807 9223372036854775808
	1e1 1e400 1e-400 0.1 0.0000000000000000000001 123456789.987 1E2 99999999999999999999999999999999999999);
my @words = ('', 'a', 'sad', 'happy', 'no', 'yes', 'NaN', 'infinity', '-infinity', 'null', '1', '1.5', '0x1', ' 1 ', '2026-01-01',
	'2026-13-01', '1 day', '-1 mon 1 sec', '00000000-0000-0000-0000-000000000001', '10.0.0.1/8', '101', '{1,2}',
	'{{1,2},{3,4}}', '[0:1]={1,2}', '{NULL}', '{\"a\"}', '(1,b,{1})', '(,,)', '[1,5)', 'empty', '\\\\x6162', 'S0', 'S1',
	'\\u00e9', '\\ud83d\\ude00', '\\ud800', '\\u0000', '\\t\\n', 'x' x 300, 'y' x 9000);
my @columns = qw(small big exact real8 truth text short fixed name bytes moment day span uuid inet bits document raw
	numbers texts grid mood pair pairs domain range version);
my %likely = (
	small => \@numbers, big => \@numbers, exact => \@numbers, real8 => \@numbers, truth => [qw(true false "t" "off" 1)],
	moment => [ '"2026-01-01"', '"infinity"', '"2026-01-01 10:00+02"' ], day => ['"2026-02-28"'], span => ['"1 day"', '"-3 mons"'],
	uuid => ['"00000000-0000-0000-0000-000000000001"'], inet => ['"10.0.0.1"'], bits => ['"101"'], bytes => ['"\\\\x00ff"'],
	numbers => [ '[1,2,3]', '[]', '[null]', '"{4,5}"', '[[1],[2]]' ], texts => [ '["a","b"]', '["b"]', '["", null]' ],
	grid => [ '[[1,2],[3,4]]', '"{{1}}"' ], mood => [ '"sad"', '"ok"' ], pair => [ '{"a":1,"b":"x","c":[1.5]}', '"(1,x,)"', '{}' ],
	pairs => [ '[{"a":1},{"b":"y"}]', '[]' ], domain => [ '"yes"', '"no"' ], range => [ '"[1,3)"', '"empty"' ],
	version => [ 1 .. 5 ],
);

sub value
{
	my ($depth) = @_;

	return pick(@numbers, @numbers, 'true', 'false', 'null', map { text($_) } @words) if $depth > 3 || !one_in(4);
	return '[' . join(',', map { value($depth + 1) } 1 .. rand 4) . ']' if one_in(2);
	return ('[' x 2000) . (']' x 2000) if one_in(200);
	return '{' . join(',', map { text(pick('a', 'b', 'c', @words)) . ':' . value($depth + 1) } 1 .. rand 4) . '}';
}

sub column { return one_in(80) ? pick(@words, 'Odd \\"name\\"', 'tableoid', 'ctid', 'xmin', 'generated') : pick(@columns) }

# The columns of the object made last, which rules are mostly about.
my @names;

sub object
{
	my (@fields) = @_;

	@names = map { column() } 1 .. 1 + rand 5;

	push @fields, map { text($_) . ':' . ($likely{$_} && !one_in(5) ? pick(@{ $likely{$_} }) : value(1)) } @names;
	return '{' . join(',', @fields) . '}';
}

sub rule
{
	my ($column) = @_;

	return value(1) if one_in(40);
	return text(pick(qw(set max min union keep))) if one_in(10);
	return text(pick(qw(set keep union))) if $column =~ /^(?:document|numbers|texts|pairs)$/;
	return text(pick(qw(set keep))) if $column =~ /^(?:raw|grid|pair|bits|truth|range)$/;
	return text(pick(qw(set keep max min)));
}

sub rules
{
	my %rules = map { $_ => rule($_) } grep { one_in(2) } @names;

	$rules{ column() } = text('keep') if one_in(20);
	return '{' . join(',', map { text($_) . ":$rules{$_}" } sort keys %rules) . '}';
}

sub state { return one_in(30) ? pick(@words) : 'S' . int rand 5 }

sub edge
{
	return text(state()) unless one_in(4);
	return '{"to":' . text(state()) . (one_in(2) ? '' : ',"guard":' . text(pick('fuzz_guard', 'fuzz_guard(fuzz_order, jsonb)',
		'fuzz_guard(int)', 'length', @words))) . (one_in(10) ? ',' . text(pick(@words)) . ':1' : '') . '}';
}

sub definition
{
	return '{' . join(',', map { text(state()) . ':' . (one_in(20) ? value(1)
		: '[' . join(',', map { edge() } 1 .. rand 4) . ']') } 1 .. rand 6) . '}';
}

# Now and then with a few characters that stand in the wrong place.
sub json
{
	my ($json) = @_;

	if (one_in(15))
	{
		substr($json, rand length $json, rand 3) = pick('', '"', '{', ']', ',', '\\', '0', "\x01") foreach 0 .. rand 2;
	}
	return q{'} . ($json =~ s/'/''/gr) . q{'};
}

sub literal { return q{'} . ($_[0] =~ s/'/''/gr) . q{'} }
sub maybe { return one_in(3) ? $_[0] : 'NULL' }
sub version { return maybe(int rand 6) }

print "SET statement_timeout = '30s';\n";
foreach (1 .. $statements)
{
	my $id = 1 + int rand 20;
	my $kind = rand;

	if ($kind < 0.3)
	{
		my $conflict = one_in(5) ? maybe("ARRAY[" . join(',', map { literal(column()) } 0 .. rand 2) . "]") : 'NULL';

		print 'SELECT fuzz_upsert(' . json(object(qq{"id":$id})) . ', ' . (one_in(2) ? 'NULL' : json(rules())) . ", $conflict, "
			. (one_in(4) ? version() : 'NULL') . ");\n";
	}
	elsif ($kind < 0.5)
	{
		print 'SELECT fuzz_merge(' . json(object(qq{"id":$id})) . ', ' . json(rules()) . ");\n";
	}
	elsif ($kind < 0.65)
	{
		print 'SELECT fuzz_update(' . json(one_in(5) ? value(0) : one_in(2) ? $id : qq({"id":$id})) . ', ' . json(object()) . ', '
			. version() . ");\n";
	}
	elsif ($kind < 0.8)
	{
		print 'SELECT fuzz_define(' . literal(state() =~ s/\\.*//r) . ', ' . json(definition()) . ', '
			. pick('true', 'true', 'false') . ");\n";
	}
	elsif ($kind < 0.9)
	{
		print "SELECT outcome, processed FROM idem_execute(nextval('fuzz_key')::text, 'SELECT \$1::"
			. pick('int', 'text', 'jsonb', 'json', 'int[]', 'fuzz_pair', 'fuzz_pair[]', 'numeric', 'timestamptz', 'fuzz_mood', 'fuzz_short',
				'record', 'anyarray', 'void') . " AS a', " . json('[' . value(0) . ']') . ");\n";
	}
	elsif ($kind < 0.97)
	{
		print "SELECT outcome, to_state FROM idem_transition('fuzz_order', " . json(one_in(4) ? value(0) : $id) . '::jsonb, '
			. literal(state() =~ s/\\.*//r) . ', note => ' . json(value(0)) . ");\n";
	}
	else
	{
		print "SELECT idem_claim(nextval('fuzz_key')::text, " . json(value(0)) . ", '1 s'), idem_complete(currval('fuzz_key')::text, "
			. json(value(0)) . ", 1), idem_lookup(currval('fuzz_key')::text);\n";
	}
}
