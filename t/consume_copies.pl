# What consumers have done is known wherever the database goes: after a dump is
# restored, on a standby, and on that when it takes over.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;

# A database of an ordinary role's, which installs the extension.
$primary->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE regress_reader LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

sub as
{
	my ($role) = @_;

	return (extra_params => [ '-U', $role ]);
}

# The SQLSTATE that a statement ends with.
sub refusal
{
	my ($node, $database, $sql, @more) = @_;
	my ($rc, $out, $err) = $node->psql($database, "\\set VERBOSITY sqlstate\n$sql", @more);

	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : "none: $out$err";
}

$primary->safe_psql('shop', q{
	CREATE SCHEMA queue;
	CREATE EXTENSION idem SCHEMA queue;
	GRANT USAGE ON SCHEMA queue TO regress_reader;
}, as('regress_owner'));
$primary->safe_psql('shop', q{
	GRANT INSERT (consumer) ON queue.idem_consumer TO regress_reader;
}, as('regress_owner'));
$primary->safe_psql('shop', q{
	SELECT queue.idem_consume('mail', 'm3', '1 microsecond');
	SELECT queue.idem_consumer_define('mail', '7 days', 'apply');
	SELECT queue.idem_consume_batch('mail', ARRAY['m1', 'm2']);
	SELECT queue.idem_advance('mail', 'log', 3, 0, 41, epoch => 2);
}, as('regress_reader'));

# Dumped and restored by the role that installed it.
my $everything = q{
	SELECT * FROM queue.idem_consumer;
	SELECT * FROM queue.idem_message ORDER BY 1, 2, 3;
	SELECT * FROM queue.idem_offset};
my $before = $primary->safe_psql('shop', $everything);
my $file = $primary->basedir . '/shop.dump';

$primary->command_ok(
	[ 'pg_dump', '-U', 'regress_owner', '-Fc', '-f', $file, $primary->connstr('shop') ],
	'the role that installed the extension can dump the database');
$primary->safe_psql('postgres', 'CREATE DATABASE copy OWNER regress_owner');
$primary->command_ok(
	[ 'pg_restore', '--exit-on-error', '-U', 'regress_owner', '-d', $primary->connstr('copy'), $file ],
	'and restore it');
is($primary->safe_psql('copy', $everything), $before, 'with every row as it was');
is( $primary->safe_psql('copy', q{
		SELECT string_agg(id, ' ' ORDER BY id) FROM queue.idem_consume_batch('mail', ARRAY['m1', 'm2', 'm3', 'm4']) AS id;
		SELECT queue.idem_advance('mail', 'log', 3, 40, 49, epoch => 3)},
		as('regress_reader')),
	"m3 m4\n42", 'there consumers go on where they were');
is(refusal($primary, 'copy', q{SELECT queue.idem_consume('mail', 'm5')}, as('regress_owner')),
	'42501', 'and are whose they were');

# On a standby one can ask for the offset and for messages, and nothing else.
$primary->wait_for_catchup($standby);
is($standby->safe_psql('shop', q{SELECT queue.idem_offset('mail', 'log', 3)}, as('regress_reader')),
	'42', 'a standby tells how far a consumer has come');
is($standby->safe_psql('shop', q{SELECT queue.idem_offset('mail', 'log', 4) IS NULL}),
	't', 'or that it has not begun');
is(refusal($standby, 'shop', q{SELECT queue.idem_offset('mail', 'log', 3)}, as('regress_owner')),
	'42501', 'but not to others');
is($standby->safe_psql('shop', q{
	SELECT string_agg(queue.idem_seen('mail', m)::text, ' ' ORDER BY m) FROM unnest(ARRAY['m1', 'm3', 'm5']) AS m},
	as('regress_reader')),
	'true false false', 'and which messages have been consumed');
is(refusal($standby, 'shop', q{SELECT queue.idem_seen('mail', 'm1')}, as('regress_owner')),
	'42501', 'again not to others');
foreach my $call (
	q{idem_consume('mail', 'm6')},
	q{idem_consume_batch('mail', ARRAY['m6'])},
	q{idem_advance('mail', 'log', 3, 42, 43)},
	q{idem_consumer_define('mail')},
	q{idem_consumer_drop('mail')})
{
	is(refusal($standby, 'shop', "SELECT queue.$call"), '25006', "$call is refused there");
}

$primary->stop('immediate');
$standby->promote;
is( $standby->safe_psql('shop', q{
		SELECT queue.idem_consume('mail', 'm1');
		SELECT queue.idem_consume('mail', 'm7');
		SELECT queue.idem_advance('mail', 'log', 3, 40, 49, epoch => 3)},
		as('regress_reader')),
	"f\nt\n42", 'promoted, it goes on where the primary was');
is( refusal($standby, 'shop', q{
		SELECT queue.idem_advance('mail', 'log', 3, 50, 59, epoch => 2)}, as('regress_reader')),
	'ID002', 'and fences off who was left behind');

$standby->stop;
done_testing();
