# A standby tells which messages have been consumed, and how far a log has been read, as
# far as it has heard; what writes is refused there.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE ROLE other;
	SELECT idem_consumer_define('mine', '7 days');
	SELECT idem_consume('mine', 'm1');
	SELECT idem_consume('any', 'm1'), idem_consume('any', 'expired', '1 microsecond');
	SELECT idem_advance('any', 'log', 0, 0, 9);
});
$primary->wait_for_catchup($standby);

# The SQLSTATE that a statement ends with there.
sub refusal
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");

	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : "none: $out$err";
}

my $seen = q{
	SELECT string_agg(c || ' ' || m || ' ' || idem_seen(c, m), ', ' ORDER BY c, m)
	FROM unnest(ARRAY['any', 'mine']) AS c, unnest(ARRAY['m1', 'm2', 'expired']) AS m};
my $told = 'any expired false, any m1 true, any m2 false, mine expired false, mine m1 true, mine m2 false';

is($standby->safe_psql('postgres', $seen), $told, 'seen, expired, never heard of');
is($standby->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; $seen; COMMIT"), $told,
	'at REPEATABLE READ too');
is($standby->safe_psql('postgres', q{SELECT idem_offset('any', 'log', 0), idem_offset('any', 'log', 1)}), '10|',
	'how far a log was read');
is(refusal("SET ROLE other; SELECT $_"), '42501', "not for all: $_")
	foreach q{idem_seen('mine', 'm1')}, q{idem_offset('mine', 'log', 0)};
is(refusal("SELECT $_"), '25006', "refused: $_")
	foreach q{idem_consume('any', 'm1')}, q{idem_consume('any', 'm2')}, q{idem_consume_batch('any', '{m1}')},
	q{idem_advance('any', 'log', 0, 10, 19)}, q{idem_consumer_define('new')};

# What the primary has in the making, nobody there knows of.
my $psql = $primary->background_psql('postgres', on_error_stop => 1);
$psql->query_safe(q{BEGIN; SELECT idem_consume('any', 'm2')});
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT idem_seen('any', 'm2')}), 'f', 'not committed');
$psql->query_safe('COMMIT');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT idem_seen('any', 'm2')}), 't', 'committed');
$psql->quit;

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', q{
	SELECT idem_consume('any', 'm2'), idem_consume('any', 'm3'), idem_seen('any', 'm3')}), 'f|t|t',
	'promoted, it goes on');

$standby->stop;
done_testing();
