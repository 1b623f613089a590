# Databases of several encodings and locales, made from a template that has idem, and
# with collations that take different strings for equal: keys, scopes and names are
# told apart byte by byte everywhere, and a request has one fingerprint.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use EveryCall;

my $node = PostgreSQL::Test::Cluster->new('encodings');
$node->init;
$node->start;
my $icu = $node->safe_psql('postgres', q{SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'}) eq 't';

my %database = (
	utf8 => q{ENCODING 'UTF8' LOCALE 'C'},
	latin1 => q{ENCODING 'LATIN1' LOCALE 'C'},
	euc_jp => q{ENCODING 'EUC_JP' LOCALE 'C'},
	sql_ascii => q{ENCODING 'SQL_ASCII' LOCALE 'C'});
$database{icu} = q{ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'} if $icu;

# A template with idem for each, with a key of its own, which copies have too.
my %fingerprint;
foreach my $name (sort keys %database)
{
	$node->safe_psql('postgres', "CREATE DATABASE template_$name $database{$name} TEMPLATE template0 IS_TEMPLATE true");
	$node->safe_psql("template_$name", "CREATE EXTENSION idem; $EveryCall::schema" . q{
		SELECT idem_upsert('before', 'orders', '{"id": 1000}')});
	foreach my $strategy ('wal_log', 'file_copy')
	{
		my $copy = "${name}_$strategy";

		$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template_$name STRATEGY $strategy");
		is($node->safe_psql($copy, q{SELECT outcome, replayed FROM idem_upsert('before', 'orders', '{"id": 1000}')}),
			'inserted|t', "$copy: what was done in the template is known");
		is($node->safe_psql($copy, EveryCall::calls(1)), $EveryCall::answers, "$copy: calls");
		$node->safe_psql('postgres', "DROP DATABASE $copy") if $strategy eq 'file_copy';
	}
	is($node->safe_psql("template_$name", q{SELECT count(*) FROM idem_key}), '1', "$name: the template is as it was");

	# What several encodings can write: é, E with an accent, and without.  A client
	# that speaks UTF-8 is understood.  (EUC_JP has é in its supplement.)
	next if $name eq 'sql_ascii';
	my $key = 'caf\\00e9';
	my $database = "${name}_wal_log";
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	is($node->safe_psql($database, qq{
			SELECT outcome, replayed FROM idem_execute(U&'$key', 'SELECT \$1::text AS v', jsonb_build_array(U&'$key'), scope => U&'$key');
			SELECT outcome, replayed FROM idem_execute(U&'$key', 'SELECT \$1::text AS v', jsonb_build_array(U&'$key'), scope => U&'$key');
			SELECT outcome, replayed FROM idem_execute('cafe', 'SELECT \$1::text AS v', jsonb_build_array(U&'$key'), scope => U&'$key');
			SELECT outcome, replayed FROM idem_execute(U&'CAF\\00c9', 'SELECT \$1::text AS v', jsonb_build_array(U&'$key'), scope => U&'$key')}),
		"executed|f\nexecuted|t\nexecuted|f\nexecuted|f", "$name: keys with letters beyond ASCII");
	$fingerprint{$name} = $node->safe_psql($database,
		qq{SELECT fingerprint, strpos(response::text, U&'$key') > 0, length(key) FROM idem_key WHERE scope = U&'$key' AND key = U&'$key'});
	like($fingerprint{$name}, qr/\|t\|4$/, "$name: kept as they are");
	is($node->safe_psql($database, qq{
			SELECT idem_consume(U&'$key', U&'$key'), idem_consume(U&'$key', U&'$key'), idem_consume(U&'$key', 'cafe');
			SELECT idem_machine_define(U&'$key', U&'\\00e9', jsonb_build_object(U&'\\00e9', jsonb_build_array('e')));
			SELECT idem_machine_graph(U&'$key') LIKE U&'%\\00e9%'}), "t|f|t\nt\nt", "$name: names of consumers and machines");
	my (undef, undef, $err) = $node->psql($database, "\\set VERBOSITY sqlstate\n"
		. qq{SELECT idem_execute(U&'$key', 'SELECT \$1::text AS v', '["cafe"]', scope => U&'$key')});
	like($err, qr/ID001/, "$name: another request is another");
}
# the same key, request and scope: in other bytes, but as UTF-8 the same
is($fingerprint{$_}, $fingerprint{utf8}, "$_: the fingerprint is the same") foreach grep { $_ ne 'utf8' } sort keys %fingerprint;

# Collations that take "A" for "a".
SKIP:
{
	skip 'this PostgreSQL has no ICU', 6 if !$icu;

	$node->safe_psql('icu_wal_log', q{
		CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE DOMAIN word AS text COLLATE blind;
		CREATE TABLE person (name text COLLATE blind PRIMARY KEY, status text COLLATE blind NOT NULL DEFAULT 'PENDING',
			version int NOT NULL DEFAULT 1, note text COLLATE blind);
		SELECT idem_attach('person', 'order', history => true)});
	is($node->safe_psql('icu_wal_log', q{
			SELECT outcome, replayed FROM idem_upsert('q1'::text COLLATE blind, 'person', '{"name": "Ann", "note": "x"}');
			SELECT outcome, replayed FROM idem_upsert('Q1'::text COLLATE blind, 'person', '{"name": "ANN", "note": "X"}');
			SELECT outcome, replayed, result->>'name' FROM idem_upsert('q2'::word, 'person', '{"name": "ann", "note": "X"}');
			SELECT outcome FROM idem_execute('A', 'SELECT 1', scope => 's'::text COLLATE blind);
			SELECT outcome, replayed FROM idem_execute('a', 'SELECT 1', scope => 's'::text COLLATE blind);
			SELECT outcome, replayed FROM idem_execute('A', 'SELECT 1', scope => 'S'::text COLLATE blind)}),
		join("\n", 'inserted|f', 'updated|f', 'unchanged|f|Ann', 'executed', 'executed|f', 'executed|f'),
		'keys are told apart where a collation does not');
	is($node->safe_psql('icu_wal_log', q{
			SELECT idem_consume('c'::text COLLATE blind, 'M'), idem_consume('c'::text COLLATE blind, 'm'), idem_consume('C'::text COLLATE blind, 'm'), idem_consume('C', 'm'::word);
			SELECT string_agg(m, ',') FROM idem_consume_batch('d', ARRAY['x', 'X', 'x']::word[]::text[]) AS m}),
		"t|t|t|f\nx,X", 'and messages');
	is($node->safe_psql('icu_wal_log', q{
			SELECT outcome, from_state, to_state FROM order_transition('person', 'aNN', 'PROCESSING', key => 'q3');
			SELECT count(*) FROM idem_history('person', 'ANN')}),
		"applied|PENDING|PROCESSING\n2", 'rows are found as their table has it');
	my (undef, undef, $err) = $node->psql('icu_wal_log', "\\set VERBOSITY sqlstate\nUPDATE person SET status = 'shipped'");
	like($err, qr/ID201/, 'but states are what they are called');
}

$node->stop;
done_testing();
