# Transactions that have a key and write to a table of another server: a retry is answered
# without it, and not before it is asked for its rights.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('session_foreign');
$node->init;
$node->append_conf('postgresql.conf', q{
	fsync = off
	max_prepared_transactions = 5
	session_preload_libraries = 'idem'
});
$node->start;
plan skip_all => 'postgres_fdw is not installed'
  if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'}) eq '0';

my ($port, $host) = ($node->port, $node->host);
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{
	CREATE TABLE far (id serial PRIMARY KEY, v int NOT NULL);
	INSERT INTO far (v) VALUES (0);
});
$node->safe_psql('postgres', qq{
	CREATE EXTENSION idem;
	CREATE EXTENSION postgres_fdw;
	CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'other');
	CREATE USER MAPPING FOR CURRENT_USER SERVER other;
	CREATE FOREIGN TABLE far (id int, v int NOT NULL) SERVER other OPTIONS (table_name 'far');
	CREATE TABLE near (v int);
});

# Runs a transaction, and gives what it prints, or its error.
sub answer
{
	my ($key, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "BEGIN; SELECT idem_begin('$key'); $sql COMMIT", on_error_stop => 1);
	return $status == 0 ? $out : "$out\n$err";
}

sub far { return $node->safe_psql('other', 'SELECT count(*), sum(v) FROM far') }

# Directly modified by the other server, row by row, and inserted.
my $sql = q{INSERT INTO near VALUES (1);
	UPDATE far SET v = v + 1 RETURNING v;
	UPDATE far SET v = v + 10 WHERE random() >= 0 RETURNING id, v;
	INSERT INTO far (id, v) VALUES (7, 100) RETURNING *;
	DELETE FROM far WHERE id = 7;};
my $first = answer('far', $sql);
is($first, "f\n1\n1|11\n7|100", 'the first is done on the other server');
is(far(), '1|11', 'once');
is(answer('far', $sql), $first =~ s/^f/t/r, 'a retry is answered as the first time');
is(far(), '1|11', 'and the other server has no more');
is($node->safe_psql('postgres', 'SELECT count(*) FROM near'), '1', 'nor has this one');

# The other server need not be there.
$node->safe_psql('postgres', q{ALTER SERVER other OPTIONS (SET dbname 'gone')});
is(answer('far', $sql), $first =~ s/^f/t/r, 'a retry is answered where the other server cannot be reached');
like(answer('new', 'UPDATE far SET v = v + 1;'), qr/database "gone" does not exist/, 'a new one is not');
$node->safe_psql('postgres', q{ALTER SERVER other OPTIONS (SET dbname 'other')});

# What cannot be prepared is not kept.
my ($status, $out, $err) = $node->psql('postgres', q{BEGIN; SELECT idem_begin('two'); UPDATE far SET v = v + 1; PREPARE TRANSACTION 'two'});
like($err, qr/cannot PREPARE a transaction that has operated on postgres_fdw foreign tables/, 'it cannot be prepared');
is($node->safe_psql('postgres', q{SELECT outcome IS NULL FROM idem_lookup('two')}), 't', 'and leaves nothing');
is(far(), '1|11', 'there neither');

# An error on the other server undoes all, key and record.
$node->safe_psql('other', 'ALTER TABLE far ADD CHECK (v < 100)');
like(answer('check', 'INSERT INTO near VALUES (2); UPDATE far SET v = v + 100;'), qr/violates check constraint/, 'an error there');
is($node->safe_psql('postgres', q{SELECT outcome IS NULL FROM idem_lookup('check')}), 't', 'leaves no key');
is($node->safe_psql('postgres', 'SELECT count(*) FROM near'), '1', 'and nothing here');

# The rights on the foreign table are asked for in a retry.
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT ALL ON near, far TO app; GRANT app TO CURRENT_USER;
	CREATE USER MAPPING FOR app SERVER other OPTIONS (password_required 'false', user 'app');
});
$node->safe_psql('other', 'GRANT ALL ON far TO app');
my $as_app = sub { return $node->psql('postgres', q{SET ROLE app; BEGIN; SELECT idem_begin('app'); UPDATE far SET v = v + 1 RETURNING v; COMMIT}, on_error_stop => 1) };
is(($as_app->())[1], "f\n12", 'a role of its own');
is(($as_app->())[1], "t\n12", 'is answered');
$node->safe_psql('postgres', 'REVOKE ALL ON far FROM app');
like(($as_app->())[2], qr/permission denied for foreign table far/, 'unless its rights were taken away');
is(far(), '1|12', 'and it was done once');
done_testing();
