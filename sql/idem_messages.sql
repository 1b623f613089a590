-- What beginners meet: each error says what is wrong, where, and what to do.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_messages;
SET search_path = idem_test_messages, public;
CREATE TABLE message_orders (
	id bigint PRIMARY KEY,
	customer text NOT NULL,
	total numeric NOT NULL CONSTRAINT positive CHECK (total > 0),
	"shippedOn" date,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('message_orders', 'order');
CREATE TABLE message_generated (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL UNIQUE,
	length int GENERATED ALWAYS AS (char_length(name)) STORED);
CREATE SCHEMA message_other;
CREATE TABLE message_other.audit (id bigint, reason text NOT NULL);

CREATE FUNCTION pg_temp.said(statement text) RETURNS TABLE (line text)
LANGUAGE plpgsql AS $$
DECLARE
	parts text[];
	names text[] := '{ERROR,DETAIL,HINT,CONTEXT,SCHEMA,TABLE,COLUMN,CONSTRAINT}';
BEGIN
	EXECUTE statement;
	RETURN QUERY SELECT 'no error';
EXCEPTION WHEN OTHERS THEN
	-- of a context, what comes before the functions around it
	DECLARE
		code text; message text; detail text; hint text; context text;
		s text; t text; c text; k text;
	BEGIN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
			context = PG_EXCEPTION_CONTEXT, s = SCHEMA_NAME, t = TABLE_NAME,
			c = COLUMN_NAME, k = CONSTRAINT_NAME;
		parts := ARRAY[code || ' ' || message,
			regexp_replace(detail, ' at [-0-9]+ .* by role "[^"]*"', ' at TIME by role ROLE'),
			hint, split_part(context, E'\nSQL statement ', 1), s, t, c, k];
		IF context LIKE 'SQL statement%' OR context LIKE '%said(text)%' THEN
			parts[4] := '';
		END IF;
		RETURN QUERY SELECT format('%s: %s', n, p)
			FROM unnest(names, parts) AS u(n, p) WHERE p <> '';
	END;
END $$;

SELECT outcome FROM idem_upsert('m1', 'message_orders', '{"id": 1, "customer": "ada", "total": 10}');
INSERT INTO message_generated (name) VALUES ('one');

-- an upsert of some columns of a row that is there
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m2', 'message_orders', '{"id": 1, "total": 11}')$$);
-- but not where a trigger writes elsewhere: that is no matter of the upsert's
CREATE FUNCTION message_audit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO message_other.audit VALUES (new.id); RETURN new; END $$;
CREATE TRIGGER audit BEFORE INSERT ON message_orders FOR EACH ROW EXECUTE FUNCTION message_audit();
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m2', 'message_orders', '{"id": 2, "customer": "bob", "total": 11}')$$);
DROP TRIGGER audit ON message_orders;
-- what the table generates
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m3', 'message_generated', '{"id": 1, "name": "two"}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m3', 'message_generated', '{"length": 1, "name": "two"}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_generated', 1, '{"length": 1}')$$);
-- values and constraints
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m4', 'message_orders', '{"id": 2, "customer": "bob", "total": "ten"}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m4', 'message_orders', '{"id": 2, "customer": "bob", "total": -1}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"total": -1}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"total": "ten"}')$$);
-- columns that are nearly right, and one that is not
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m5', 'message_orders', '{"id": 2, "custommer": "bob", "total": 1}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m5', 'message_orders', '{"id": 2, "customer": "bob", "total": 1, "shipped_on": null}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"Total": 2}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"quantity": 2}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"ix": 2}')$$);
SELECT * FROM pg_temp.said(format($$SELECT idem_update('message_orders', 1, '{"%s": 2}')$$, repeat('é', 40)));
-- JSON that was encoded twice
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m6', 'message_orders', to_jsonb('{"id": 2}'::text))$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, to_jsonb('{"total": 2}'::text))$$);
SELECT * FROM pg_temp.said($$SELECT idem_execute('m6', 'SELECT $1::int', to_jsonb('[1]'::text))$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m6', 'message_orders', '"orders"')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m6', 'message_orders', '[{"id": 2}]')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m6', 'message_orders', '{"id": 2}', merge => '"{}"')$$);
-- a key that another call has used
SELECT * FROM pg_temp.said($$SELECT idem_claim('m1', lease => '1 minute')$$);
SELECT * FROM pg_temp.said($$SELECT idem_execute('m1', 'SELECT 1')$$);
SELECT * FROM pg_temp.said($$SELECT idem_complete('m1', '{}', 1)$$);
SELECT outcome FROM idem_execute('m7', 'SELECT 1');
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m7', 'message_orders', '{"id": 1, "customer": "ada", "total": 10}')$$);
SELECT outcome FROM order_transition('message_orders', 1, 'PROCESSING', key => 'm8');
SELECT * FROM pg_temp.said($$SELECT idem_execute('m8', 'SELECT 1')$$);
SELECT outcome FROM idem_claim('m9', lease => '1 minute');
SELECT * FROM pg_temp.said($$SELECT idem_execute('m9', 'SELECT 1')$$);
-- a claim that was never made
SELECT * FROM pg_temp.said($$SELECT idem_complete('m10', '{}', 1)$$);
-- arguments in another order
SELECT * FROM pg_temp.said($$SELECT idem_upsert('message_orders', 'm1', '{"id": 1}')$$);
SELECT * FROM pg_temp.said($$SELECT order_transition('1', 'message_orders', 'PROCESSING')$$);
SELECT * FROM pg_temp.said($$SELECT idem_transition('message_orders', 'SHIPPED', '1')$$);
-- the name of the table as the key serves one request, and no other
SELECT outcome FROM idem_upsert('message_orders', 'message_orders', '{"id": 3, "customer": "eve", "total": 1}');
SELECT * FROM pg_temp.said($$SELECT idem_upsert('message_orders', 'message_orders', '{"id": 4, "customer": "eve", "total": 1}')$$);
-- errors of idem's own name the table
SELECT * FROM pg_temp.said($$SELECT order_transition('message_orders', 1, 'DELIVERED')$$);
SELECT * FROM pg_temp.said($$SELECT order_transition('message_orders', 1, 'SHIPPED', 1)$$);
SELECT * FROM pg_temp.said($$SELECT order_transition('message_orders', 9, 'SHIPPED')$$);
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"total": 2}', 1)$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m11', 'message_orders', '{"customer": "ada"}', conflict => '{customer}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m11', 'message_other.audit', '{"id": 1, "reason": "x"}')$$);
SELECT * FROM pg_temp.said($$UPDATE message_orders SET status = 'DELIVERED' WHERE id = 1$$);
-- a trigger's error is under the statement that it was raised in, as ever
CREATE FUNCTION message_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'refused' USING errcode = '23502'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON message_orders FOR EACH ROW EXECUTE FUNCTION message_refuse();
SELECT * FROM pg_temp.said($$SELECT idem_update('message_orders', 1, '{"total": 3}')$$);
SELECT * FROM pg_temp.said($$SELECT idem_upsert('m12', 'message_orders', '{"id": 1, "customer": "ada", "total": 4}')$$);
SELECT * FROM pg_temp.said($$SELECT order_transition('message_orders', 1, 'SHIPPED')$$);

DELETE FROM idem_key WHERE key ~ '^m[0-9]+$' OR key = 'message_orders';
DROP SCHEMA idem_test_messages, message_other CASCADE;
