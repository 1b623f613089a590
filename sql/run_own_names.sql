-- What a statement of idem's names is what it means, and one that only looks at a
-- table runs no code of others.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_names;
SET search_path = idem_test_names, public;
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
CREATE ROLE regress_idem_eve;
GRANT USAGE, CREATE ON SCHEMA idem_test_names TO regress_idem_eve;

-- The rows of a table of eve's are told apart by operators of her own, which a
-- superuser has made those of the type.
SET ROLE regress_idem_eve;
CREATE TYPE grade AS ENUM ('low', 'high');
CREATE FUNCTION compare(grade, grade) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE WARNING 'compared as %', CASE current_user WHEN 'regress_idem_eve' THEN 'eve' ELSE 'another' END;
	RETURN pg_catalog.enum_cmp($1, $2);
END $$;
CREATE FUNCTION less(grade, grade) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT compare($1, $2) < 0';
CREATE FUNCTION same(grade, grade) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT compare($1, $2) = 0';
CREATE OPERATOR < (LEFTARG = grade, RIGHTARG = grade, FUNCTION = less);
CREATE OPERATOR = (LEFTARG = grade, RIGHTARG = grade, FUNCTION = same);
RESET ROLE;
CREATE OPERATOR CLASS grades DEFAULT FOR TYPE grade USING btree AS
	OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 compare(grade, grade);
SET ROLE regress_idem_eve;
CREATE TABLE graded (id grade PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
INSERT INTO graded VALUES ('low');
SELECT idem_attach('graded', 'order', history => true);
-- Eve may look, and a superuser may not.
SELECT idem_allowed('graded', 'low'::text);
SELECT count(*) FROM idem_history('graded', 'low'::text);
RESET ROLE;
SELECT idem_allowed('graded', 'low'::text);
SELECT count(*) FROM idem_history('graded', 'low'::text);
-- Who writes to her table runs what is hers in any case.
SELECT outcome, to_state FROM idem_transition('graded', 'low'::text, 'PROCESSING');
-- As a superuser's, anybody may.
ALTER FUNCTION compare OWNER TO CURRENT_USER;
ALTER FUNCTION less OWNER TO CURRENT_USER;
ALTER FUNCTION same OWNER TO CURRENT_USER;
SELECT idem_allowed('graded', 'low'::text);
SELECT count(*) FROM idem_history('graded', 'low'::text);

DROP SCHEMA idem_test_names CASCADE;
DROP ROLE regress_idem_eve;
