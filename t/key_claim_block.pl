# A claim without a lease is refused outside a transaction block whatever protocol
# the client speaks, and however often it does.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('claim_block');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE done (n int);
	CREATE FUNCTION work(key text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		outcome text;
	BEGIN
		SELECT c.outcome INTO outcome FROM idem_claim(key) AS c;
		INSERT INTO done VALUES (1);
		RETURN outcome;
	END $$;
});

# Runs a script some times; what error it ended with, if it did.
sub error
{
	my ($protocol, $script) = @_;
	my $file = $node->basedir . '/script.sql';
	my ($out, $err);

	unlink $file;
	append_to_file($file, $script);
	IPC::Run::run(
		[ 'pgbench', '-n', '-M', $protocol, '-t', 20, '-f', $file, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	return $err =~ /ERROR:  (.*)/ ? $1 : '';
}

my $refused = 'a claim without a lease needs a transaction block';
foreach my $protocol ('simple', 'extended', 'prepared')
{
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT outcome FROM idem_claim(:n::text);}), $refused, "$protocol: alone");
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT idem_claim(:n::text);}), $refused, 'in the target list');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT outcome FROM idem_claim(:n::text, lease => '1 hour');}), '', 'with a lease');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		BEGIN;
		SELECT outcome FROM idem_claim(:n::text);
		INSERT INTO done VALUES (1);
		SELECT idem_complete(:n::text, '1');
		COMMIT;}), '', 'in a block');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT work(:n::text);}), '', 'in a function');
}

# A pipeline is one transaction up to where it is synchronized, without a block.
foreach my $protocol ('extended', 'prepared')
{
	is(error($protocol, q{
		\set n random(1, 1000000000)
		\startpipeline
		SELECT outcome FROM idem_claim(:n::text);
		INSERT INTO done VALUES (1);
		SELECT idem_complete(:n::text, '1');
		\endpipeline}), '', "$protocol: in a pipeline");
	is(error($protocol, q{
		\set n random(1, 1000000000)
		\startpipeline
		INSERT INTO done VALUES (1);
		SELECT outcome FROM idem_claim(:n::text);
		\endpipeline}), '', 'at its end');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		\startpipeline
		SELECT outcome FROM idem_claim(:n::text);
		\endpipeline}), $refused, 'alone in it');
}

$node->stop;
done_testing();
