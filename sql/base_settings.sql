-- The settings of one call: how long keys are kept, in which scope they are, and
-- how long to wait.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
SELECT length(idem_new_key());
\set SHOW_CONTEXT never

-- How long a key is kept, in hours.
CREATE FUNCTION pg_temp.hours(ttl interval DEFAULT NULL) RETURNS numeric LANGUAGE sql AS $$
	SELECT outcome FROM idem_execute(idem_new_key(), 'SELECT 1', scope => 'setting', ttl => ttl);
	SELECT round(extract(epoch FROM expires_at - created_at) / 3600, 6)
	FROM idem_key WHERE scope = 'setting' ORDER BY created_at DESC LIMIT 1
$$;

-- idem.ttl is an interval in any spelling.
SHOW idem.ttl;
SELECT pg_temp.hours();
SET idem.ttl = '7d';
SELECT pg_temp.hours() / 24 AS days;
SET idem.ttl = '7 days';
SELECT pg_temp.hours() / 24 AS days;
SET idem.ttl = '2h';
SELECT pg_temp.hours();
SET idem.ttl = '1 day 01:30:00';
SELECT pg_temp.hours();
SET idem.ttl = 'P1DT2H';
SELECT pg_temp.hours();
SET idem.ttl = '90 min';
SELECT pg_temp.hours();
SET idem.ttl = 7200;	-- seconds
SELECT pg_temp.hours();
SHOW idem.ttl;
SET idem.ttl = '1 month';
SELECT pg_temp.hours() / 24 AS days;
SET idem.ttl = 'soon';
SET idem.ttl = '';
SET idem.ttl = '0';
SET idem.ttl = '-1 day';
SET idem.ttl = '1 day -25 hours';
SET idem.ttl = '1 fortnight';
SET idem.ttl = '1 day and then another and another and another and another and another and another and another and another and another and another and another and another';
SELECT name, setting, vartype, context, short_desc IS NOT NULL AND extra_desc IS NOT NULL AS described
FROM pg_settings WHERE name IN ('idem.ttl', 'idem.scope', 'idem.max_ttl', 'idem.wait_timeout') ORDER BY name;
RESET idem.ttl;
SELECT pg_temp.hours();

-- A day has 24 hours and a month 30 days, whatever the time zone says: both changes
-- between summer and winter time lie within these.
SET timezone = 'Europe/Berlin';
SELECT pg_temp.hours('200 days'), 200 * 24 AS expected;
SELECT pg_temp.hours('400 days'), 400 * 24 AS expected;
SELECT pg_temp.hours('13 months'), 13 * 30 * 24 AS expected;
SELECT pg_temp.hours('1 month -29 days');
SELECT outcome, round(extract(epoch FROM lease_until - clock_timestamp()) / 3600) AS hours
FROM idem_claim('lease', lease => '200 days', scope => 'setting');
RESET timezone;

-- What is longer than idem.max_ttl is refused.
SET idem.max_ttl = '2d';
SELECT pg_temp.hours('2 days');
SELECT pg_temp.hours('2 days 1 second');
SELECT outcome FROM idem_claim('long', lease => '3 days', ttl => '1 hour', scope => 'setting');
SELECT outcome FROM idem_claim('long', lease => '1 hour', ttl => '1000 years', scope => 'setting');
SELECT outcome FROM idem_claim('long', lease => '1 hour', scope => 'setting');
SELECT idem_extend('long', 1, '3 days', 'setting');
SELECT idem_complete('long', '1', 1, 'setting', ttl => '3 days');
SET idem.ttl = '3d';
SELECT pg_temp.hours();
SELECT pg_temp.hours('1 day');
SELECT outcome FROM idem_lookup('long', 'setting');
SELECT idem_release('long', 1, 'setting');
RESET idem.ttl;
CREATE ROLE regress_idem_ann;
SET ROLE regress_idem_ann;
-- also for messages, unless the consumer is defined so
SELECT idem_consume('setting-max', 'm', '49 hours');
SELECT * FROM idem_consume_batch('setting-max', '{m}', '1000 years');
SELECT idem_consume('setting-max', 'm', '48 hours');
SET idem.max_ttl = 0;
RESET ROLE;
DROP ROLE regress_idem_ann;
-- Nor does a definition make messages of all roles last for longer.
SELECT idem_consumer_define('setting-max', '49 hours');
SELECT idem_consumer_define('setting-max', '1000 years', 'apply');
SELECT idem_consumer_define('setting-max', '48 hours');
SELECT idem_consumer_drop('setting-max');
-- An answer is kept for no longer, however often the lease was extended.
BEGIN;
SELECT outcome FROM idem_claim('longer', lease => '1 hour', ttl => '30 hours', scope => 'setting');
UPDATE idem_key SET created_at = created_at - interval '29 hours', expires_at = expires_at - interval '29 hours'
WHERE scope = 'setting' AND key = 'longer';
SELECT idem_extend('longer', 1, '40 hours', 'setting') IS NOT NULL AS extended;
SELECT idem_complete('longer', '1', 1, 'setting');
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 3600) AS hours FROM idem_lookup('longer', 'setting');
ROLLBACK;
RESET idem.max_ttl;

-- idem.scope is the scope of calls that give none.
SET idem.scope = 'setting of a';
SELECT outcome, replayed FROM idem_execute('same', 'SELECT ''a''');
SET idem.scope = 'setting of b';
SELECT outcome, replayed FROM idem_execute('same', 'SELECT ''b''');
SELECT outcome, replayed, result FROM idem_execute('same', 'SELECT ''a''', scope => 'setting of a');
SELECT outcome FROM idem_claim('claim', lease => '1 hour');
SELECT idem_complete('claim', '1', 1);
SELECT outcome FROM idem_lookup('claim');
SELECT outcome FROM idem_lookup('claim', 'setting of a');
SELECT outcome FROM idem_lookup('claim', '');
SELECT scope, key FROM idem_key WHERE starts_with(scope, 'setting of') ORDER BY scope, key;
\set VERBOSITY sqlstate
SELECT set_config('idem.scope', repeat('s', 256), false);
SELECT length(set_config('idem.scope', repeat('s', 255), false));
SELECT outcome FROM idem_lookup('claim');
RESET idem.scope;
SHOW idem.scope;

-- A time past the end of all is without end.
SELECT outcome, expires_at, lease_until FROM idem_claim('endless', lease => '178000000 years', scope => 'setting');
SELECT idem_extend('endless', 1, '1 hour', scope => 'setting');
SELECT idem_complete('endless', '1', 1, scope => 'setting');
SELECT expires_at FROM idem_lookup('endless', 'setting');

DELETE FROM idem_key WHERE starts_with(scope, 'setting');
