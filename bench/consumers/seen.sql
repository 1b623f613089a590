-- The table of messages that have been consumed, as one would make it.
CREATE TABLE seen (
	expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
	consumer text COLLATE "C",
	message_id text COLLATE "C",
	PRIMARY KEY (consumer, message_id)
);
CREATE INDEX ON seen (expires_at);
