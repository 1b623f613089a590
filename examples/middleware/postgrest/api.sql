-- Idempotency-Key for PostgREST, in SQL alone, on top of shop.sql: see docs/http.md.
-- PostgREST shows the schema api, works as the role web, and has made sure of the tenant, who is the sub
-- of the token.
CREATE SCHEMA api;
CREATE ROLE web;
GRANT USAGE ON SCHEMA api TO web;

CREATE FUNCTION tenant() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT current_setting('request.jwt.claims', true)::json->>'sub'
$$;

-- A refusal is kept like any response, so it is a row, too: problem says why, where there is no order.
CREATE VIEW api.orders AS
SELECT id, (SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity)) FROM order_items
			WHERE order_id = orders.id) AS items, NULL::text AS problem
FROM orders WHERE tenant = tenant();

-- Ends the request with a status, and the transaction: nothing of it is kept.
CREATE FUNCTION http_end(status int, message text, retry_after int = NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE SQLSTATE 'PGRST' USING
		MESSAGE = json_build_object('code', status::text, 'message', message),
		DETAIL = json_build_object('status', status,
			'headers', json_strip_nulls(json_build_object('Retry-After', retry_after::text)));
END $$;

CREATE FUNCTION place_order_once() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
	header	text := current_setting('request.headers', true)::json->>'idempotency-key';
	request	jsonb := jsonb_build_object('path', current_setting('request.path', true), 'row', to_jsonb(NEW));
	headers	jsonb := '[]';
	claim	record;
	placed	record;
	status	int;
BEGIN
	SELECT c.*, greatest(1, ceil(extract(epoch FROM c.lease_until - now())))::int AS seconds INTO claim
	FROM idem_claim(idem_http_key(header), request, scope => tenant(), wait => false) AS c;

	IF claim.outcome = 'in_progress' THEN
		PERFORM http_end(409, 'This Idempotency-Key is in progress', claim.seconds);
	ELSIF claim.outcome <> 'claimed' THEN
		NEW := jsonb_populate_record(NEW, claim.response->'row');
		status := claim.response->>'status';
		headers := '[{"Idempotent-Replayed": "true"}]';
	ELSE
		BEGIN
			placed := place_order(tenant(), NEW.items);
			IF placed.sold_out IS NOT NULL THEN
				RAISE EXCEPTION '% is sold out', placed.sold_out USING ERRCODE = 'PT409';
			END IF;
			NEW := jsonb_populate_record(NEW, jsonb_build_object('id', placed.id, 'problem', NULL));
			status := 201;
		EXCEPTION WHEN OTHERS THEN	-- what was written is undone, the claim is not
			status := idem_http_status(SQLSTATE);
			IF status >= 500 THEN
				RAISE;
			END IF;
			NEW := jsonb_populate_record(NULL::api.orders, jsonb_build_object('problem', SQLERRM));
		END;
		IF status < 400 THEN
			PERFORM idem_complete(idem_http_key(header), jsonb_build_object('status', status, 'row', NEW), scope => tenant());
		ELSE
			PERFORM idem_fail(idem_http_key(header), jsonb_build_object('status', status, 'row', NEW), scope => tenant());
		END IF;
	END IF;

	PERFORM set_config('response.status', status::text, true),
		set_config('response.headers', (headers || jsonb_build_object('Location', '/orders?id=eq.' || NEW.id))::text, true);
	RETURN NEW;
EXCEPTION
	WHEN SQLSTATE 'PGRST' THEN
		RAISE;
	WHEN OTHERS THEN	-- without DETAIL, which may name a role
		status := idem_http_status(SQLSTATE);
		IF status < 500 THEN
			PERFORM http_end(status, SQLERRM);
		END IF;
		RAISE LOG 'order not placed: % %', SQLSTATE, SQLERRM;
		PERFORM http_end(status, 'Not executed', CASE status WHEN 503 THEN 1 END);
END $$;

-- or anybody could make a trigger of it, and order for others
REVOKE EXECUTE ON FUNCTION place_order_once() FROM PUBLIC;
CREATE TRIGGER once INSTEAD OF INSERT ON api.orders FOR EACH ROW EXECUTE FUNCTION place_order_once();
GRANT SELECT, INSERT ON api.orders TO web;
