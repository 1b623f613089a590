# The background worker of a standby waits for the promotion.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.worker = off
idem.purge_naptime = '20ms'
});
$primary->start;
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'idem.worker = on');
$standby->start;

$primary->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY);
	SELECT outcome FROM idem_upsert('live', 't', '{"id": 1}');
	SELECT outcome FROM idem_upsert('expired', 't', '{"id": 2}', ttl => '1 microsecond');
});
$primary->wait_for_catchup($standby);

is($standby->safe_psql('postgres', q{
	SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'idem%'}),
	'0', 'no worker on a standby');
foreach my $call ('idem_purge()', 'idem_worker_start()',
	q{idem_upsert('live', 't', '{"id": 1}')})
{
	my ($rc, $out, $err) = $standby->psql('postgres',
		"\\set VERBOSITY sqlstate\nSELECT $call");
	like($err, qr/ERROR:\s+25006/, "$call is refused there");
}

$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT array_agg(key) = '{live}' FROM idem_key}),
	'it begins to purge on promotion');
is($primary->safe_psql('postgres', 'SELECT count(*) FROM idem_key'), '2',
	'the former primary has it switched off');

$standby->stop;
$primary->stop;
done_testing();
