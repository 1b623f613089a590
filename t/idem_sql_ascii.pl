# A database that does not know what its bytes mean takes them as they are: as
# keys, scopes and ids, and in what is asked for.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('sql_ascii');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0;
	CREATE DATABASE utf8 ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;
});
$node->safe_psql($_, q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id text PRIMARY KEY, v text);
	INSERT INTO t VALUES ('a', '');
}) foreach 'bytes', 'utf8';

# In Latin-1, so no UTF-8.
my $key = "caf\xe9";
my $other = "caf\xe8";

sub ask
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('bytes', $sql);

	return $out ne '' ? $out : $err =~ s/.*ERROR:  //sr;
}

foreach my $call (
	qq{idem_upsert('KEY', 't', '{"id": "KEY", "v": "KEY"}', scope => 'KEY')},
	qq{idem_execute('run KEY', 'UPDATE t SET v = \$1 WHERE id = \$1', '["KEY"]', scope => 'KEY')},
	qq{idem_update('t', 'KEY', '{"v": "new KEY"}', key => 'update KEY', scope => 'KEY')})
{
	my ($name) = $call =~ /(\w+)/;

	is(ask("SELECT replayed FROM $_"), 'f', "$name: the first call") foreach $call =~ s/KEY/$key/gr;
	is(ask("SELECT replayed FROM $_"), 't', "$name: a replay") foreach $call =~ s/KEY/$key/gr;
	is(ask("SELECT replayed FROM $_"), 'f', "$name: another byte, another key") foreach $call =~ s/KEY/$other/gr;
}
is(ask(qq{SELECT outcome FROM idem_claim('c', '"$key"', lease => '1 hour')}), 'claimed', 'a claim');
is(ask(qq{SELECT outcome FROM idem_claim('c', '"$key"', lease => '1 hour')}), 'in_progress', 'the same request');
like(ask(qq{SELECT outcome FROM idem_claim('c', '"$other"', lease => '1 hour')}), qr/different request/, 'another one');
is(ask(qq{SELECT count(*) FROM idem_key WHERE key = '$key' AND scope = '$key'}), '1', 'kept byte for byte');
is(ask(qq{SELECT idem_consume('$key', '$key'), idem_consume('$key', '$other'), idem_consume('$key', '$key')}),
	't|t|f', 'messages');
is(ask(qq{SELECT idem_derive_key('$key') <> idem_derive_key('$other'), idem_derive_key('$key') = idem_derive_key('$key')}),
	't|t', 'derived keys');
is(ask(q{SELECT idem_derive_key('a', 'b')}), $node->safe_psql('utf8', q{SELECT idem_derive_key('a', 'b')}),
	'where bytes are characters everywhere, a derived key is the same');
my $asked = q{SELECT outcome FROM idem_execute('k', 'SELECT 1');
	SELECT fingerprint FROM idem_key WHERE key = 'k'};
is(ask($asked), $node->safe_psql('utf8', $asked), 'and so is a fingerprint');

$node->stop;
done_testing();
