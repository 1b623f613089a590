-- "*" in the description of a machine: what every state leads to
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_every;
SET search_path = test_every, public;
\set SHOW_CONTEXT never
CREATE VIEW edge AS SELECT from_state, to_state, guard FROM idem_machine_edge WHERE machine = 'test every'
ORDER BY from_state, to_state;

SELECT idem_machine_define('test every', 'new', '{"new": ["open"], "open": ["done"], "*": ["cancelled"]}');
TABLE edge;
SELECT states FROM idem_machine WHERE name = 'test every';
SELECT idem_machine_graph('test every');
-- the same, said one by one
SELECT idem_machine_define('test every', 'new', '{"new": ["open", "cancelled"], "open": ["cancelled", "done"], "done": ["cancelled"]}');
SELECT idem_machine_define('test every', 'new', '{"*": ["cancelled"], "new": ["open"], "open": ["done"], "done": []}');

CREATE TABLE things (id int PRIMARY KEY, status text DEFAULT 'new', version int NOT NULL DEFAULT 1);
SELECT idem_attach('things', 'test every');
INSERT INTO things VALUES (1), (2);
SELECT idem_allowed('things', 1);
UPDATE things SET status = 'open';
UPDATE things SET status = 'done' WHERE id = 1;
SELECT idem_allowed('things', 1);
SELECT * FROM idem_transition('things', 1, 'cancelled');
SELECT * FROM idem_transition('things', 1, 'cancelled');
SELECT idem_allowed('things', 1);
UPDATE things SET status = 'open' WHERE id = 1;

-- a loop is there only where it is said, and what a state says for itself counts
CREATE FUNCTION is_even(things, note jsonb) RETURNS boolean LANGUAGE sql AS $$SELECT $1.id % 2 = 0$$;
CREATE FUNCTION is_odd(things, note jsonb) RETURNS boolean LANGUAGE sql AS $$SELECT $1.id % 2 = 1$$;
SELECT idem_machine_define('test every', 'new', '{
	"new": ["open"],
	"open": ["open", {"to": "cancelled", "guard": "is_even"}],
	"done": ["done"],
	"*": ["open", "done", {"to": "cancelled", "guard": "is_odd"}]
}');
TABLE edge;
-- nothing but that, and no machine of one state
SELECT idem_machine_define('test every', 'cancelled', '{"*": ["cancelled"]}', force => true);
SELECT idem_machine_graph('test every');
SELECT idem_machine_define('test every', 'new', '{"new": [], "*": []}', force => true);
TABLE edge;
-- which is no state
SELECT idem_machine_define('test every', '*', '{"*": ["open"]}');
SELECT idem_machine_define('test every', 'new', '{"new": ["*"]}');
SELECT idem_machine_define('test every', 'new', '{"new": ["open"], "*": ["*"]}');
SELECT idem_machine_define('test every', 'new', '{"new": ["open"], "*": ["open", "open"]}');
SELECT idem_machine_define('test every', 'new', '{"new": ["open"], "*": "open"}');
SELECT idem_machine_define('test every', 'new', '{"new": ["open"], "*": [{"to": "open", "guard": "none"}]}');
-- many states that all lead to many
SELECT idem_machine_define('test every', 's1', jsonb_build_object('s1', '[]'::jsonb, '*',
	(SELECT jsonb_agg('s' || n) FROM generate_series(1, 120) AS n)), force => true);
SELECT count(*), count(*) FILTER (WHERE from_state = to_state) AS loops FROM edge;

SET client_min_messages = warning;
DROP SCHEMA test_every CASCADE;
SELECT idem_machine_drop('test every');
