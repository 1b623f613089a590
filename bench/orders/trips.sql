CREATE TABLE request (
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
	fingerprint bigint NOT NULL,
	key text COLLATE "C" PRIMARY KEY,
	response jsonb
);
CREATE INDEX ON request (expires_at);
