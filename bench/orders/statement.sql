-- What can be had without a function, in one statement: the key is looked for, and
-- where it is absent the order and the key are inserted.  (Two sessions that use a key
-- at once get an error, 23505, and a retry has to be sent by the client.)
CREATE TABLE request (
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	fingerprint bigint NOT NULL,
	key text COLLATE "C" PRIMARY KEY,
	response jsonb NOT NULL
);
CREATE INDEX ON request (expires_at);
