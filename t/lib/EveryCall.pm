# Calls in all parts of idem, for tests of what is around it: with what they answer
# where nothing is in their way.
package EveryCall;
use strict;
use warnings;

# What the calls work on; of a role that may create it.
our $schema = q{
	CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING',
		version int NOT NULL DEFAULT 1, note text);
	SELECT idem_attach('orders', 'order', history => true);
};

# The calls, each time about row $n, and under keys of its own.
sub calls
{
	my ($n) = @_;

	return qq{
		SELECT outcome, replayed FROM idem_upsert('u$n', 'orders', '{"id": $n, "note": "x"}');
		SELECT outcome, replayed FROM idem_upsert('u$n', 'orders', '{"id": $n, "note": "x"}');
		SELECT outcome, replayed FROM idem_upsert('v$n', 'orders', '{"id": $n, "note": "y"}', ttl => '1 microsecond');
		SELECT outcome, replayed FROM idem_upsert('v$n', 'orders', '{"id": $n, "note": "y"}');
		SELECT ordinal, outcome, replayed FROM idem_upsert_batch('{w$n, u$n}', 'orders',
			ARRAY['{"id": $n, "note": "y"}', '{"id": $n, "note": "x"}']::jsonb[]);
		SELECT outcome, replayed FROM order_transition('orders', $n, 'PROCESSING', key => 't$n');
		SELECT outcome, replayed FROM order_transition('orders', $n, 'PROCESSING', key => 't$n');
		SELECT outcome, replayed FROM idem_update('orders', $n, '{"status": "SHIPPED"}', key => 'p$n');
		SELECT outcome FROM idem_transition('orders', $n, 'SHIPPED', expected_state => 'PROCESSING', status => 'status');
		SELECT idem_allowed('orders', $n, '"note"');
		SELECT outcome, replayed, result FROM idem_execute('x$n', 'SELECT 1 AS one');
		SELECT outcome, replayed, result FROM idem_execute('x$n', 'SELECT 1 AS one');
		SELECT outcome, fence FROM idem_claim('c$n', '"r"', lease => '1 hour');
		SELECT outcome, fence FROM idem_claim('c$n', '"r"', lease => '1 hour');
		SELECT idem_checkpoint('c$n', 1, 'half', '1');
		SELECT idem_complete('c$n', '"done"', 1);
		SELECT outcome, response FROM idem_lookup('c$n');
		SELECT outcome FROM idem_wait('c$n', '1 s');
		SELECT name, data FROM idem_checkpoints('c$n');
		SELECT outcome, fence FROM idem_claim('l$n', lease => '1 microsecond');
		SELECT outcome, fence FROM idem_claim('l$n', lease => '1 hour');
		SELECT idem_fail('l$n', '"no"', 2);
		SELECT idem_consumer_define('mail $n', '7 days');
		SELECT idem_consume('mail $n', 'm'), idem_consume('mail $n', 'm'), idem_seen('mail $n', 'm');
		SELECT string_agg(id, ' ' ORDER BY id) FROM idem_consume_batch('mail $n', ARRAY['m', 'n', 'o']) AS id;
		SELECT idem_advance('mail $n', 'log', 0, 0, 9), idem_offset('mail $n', 'log', 0);
		SELECT idem_emit('log $n', '"m"') > 0;
		SELECT count(*) FROM idem_outbox_read('mail $n', 'log $n', 0);
		SELECT idem_outbox_leave('mail $n', 'log $n'), idem_outbox_leave('mail $n', 'log $n');
		SELECT idem_scope_define('scope $n');
		SELECT outcome FROM idem_execute('x$n', 'SELECT 1', scope => 'scope $n');
		SELECT idem_machine_define('lamp $n', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
		SELECT idem_machine_graph('lamp $n') ~ 'ON';
		SELECT idem_machine_drop('lamp $n');
		SELECT version, to_state FROM idem_history('orders', $n);
		SELECT outcome FROM idem_execute('e$n', 'SELECT 1', ttl => '1 microsecond');
		SELECT outcome FROM idem_execute('f$n', 'SELECT 1', scope => 'forget $n');
		SELECT idem_forget('f$n', 'forget $n'), idem_forget('f$n', 'forget $n');
		SELECT outcome FROM idem_execute('f$n', 'SELECT 1', scope => 'forget $n');
		SELECT * FROM idem_forget_scope('forget $n');
		SELECT idem_http_key('"$n"') = '$n', idem_http_status('ID001');
	};
}

our $answers = join "\n", 'inserted|f', 'inserted|t', 'updated|f', 'unchanged|f', '1|unchanged|f', '2|inserted|t',
	'applied|f', 'applied|t', 'updated|f', 'noop', 'DELIVERED', 'executed|f|[{"one": 1}]', 'executed|t|[{"one": 1}]', 'claimed|1', 'in_progress|',
	'', 't', 'completed|"done"', 'completed', 'half|1', 'claimed|1', 'claimed|2', 't', '', 't|f|t', 'n o', '0|10', 't', '0', 't|f', '', 'executed', 't', 't',
	't', '1|PENDING', '3|PROCESSING', '4|SHIPPED', 'executed', 'executed', 't|f', 'executed', '1|0', 't|422';

1;
