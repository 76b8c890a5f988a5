-- Requests of a person. A paused task is not polled. `extended` replaces the timeout of its settings: milliseconds from the registration.
ALTER TABLE task ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN extended INTEGER;

-- The accounts and sinks that a person paused.
CREATE TABLE paused (
    kind TEXT NOT NULL,                         -- account, sink
    name TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
