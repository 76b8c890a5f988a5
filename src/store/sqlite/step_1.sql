-- Opwatch's own mark ("opwa"), by which `file` and connect.rs know the database.
PRAGMA application_id = 0x6f707761;

CREATE TABLE target (
    target_row INTEGER PRIMARY KEY,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    operation  TEXT NOT NULL,
    UNIQUE (account, region, operation)
) STRICT;

-- Rounds of groups: one is open until its last task has been over for a while.
CREATE TABLE task_group (
    group_row   INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    round       INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (name, round)
) STRICT;

CREATE INDEX task_group_open ON task_group (name) WHERE finished_at IS NULL;

-- Times are wall milliseconds. `id` and `status` are ANY: a number and its digits as text are two different values, and stay so.
-- Unsigned numbers (`id`, `digest`) are stored as the signed ones of the same 64 bits.
-- AUTOINCREMENT, here and below: a key that was forgotten is never given out again, since others may still hold it.
CREATE TABLE task (
    task_row      INTEGER PRIMARY KEY AUTOINCREMENT,
    target        INTEGER NOT NULL REFERENCES target,
    id            ANY     NOT NULL,
    origin        TEXT    NOT NULL,
    registered_at INTEGER NOT NULL,
    registered_cloud INTEGER,                   -- by the cloud's clock, once that is known
    warned        INTEGER NOT NULL DEFAULT 0,   -- whether it was told as overdue
    settings      TEXT,                         -- JSON; NULL when nothing was asked for
    group_row     INTEGER REFERENCES task_group,
    due           INTEGER NOT NULL,
    since         INTEGER NOT NULL,
    seen          INTEGER,                      -- by the cloud's clock, where that was known
    digest        INTEGER NOT NULL DEFAULT 0,
    status        ANY,
    polls         INTEGER NOT NULL DEFAULT 0,
    errors        INTEGER NOT NULL DEFAULT 0,
    streak        INTEGER NOT NULL DEFAULT 0,
    sequence      INTEGER NOT NULL DEFAULT 0,   -- events so far
    ended_at      INTEGER,                      -- NULL while it is open
    outcome       TEXT,                         -- NULL when it was abandoned
    reason        TEXT,                         -- why it was abandoned
    UNIQUE (target, id)
) STRICT;

CREATE INDEX task_by_group ON task (group_row, ended_at) WHERE group_row IS NOT NULL;

-- Finds the open ones (ended_at IS NULL, in the order of their keys) and the old ones alike.
CREATE INDEX task_by_end ON task (ended_at);

CREATE TABLE event (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    task_row INTEGER REFERENCES task,
    event_id BLOB    NOT NULL,
    kind     TEXT    NOT NULL,
    time     INTEGER NOT NULL,
    body     TEXT    NOT NULL
) STRICT;

CREATE INDEX event_by_task ON event (task_row);

-- The outbox: a row is deleted when its sink has acknowledged the event, or moves to the dead letters.
CREATE TABLE delivery (
    sink     TEXT    NOT NULL,
    seq      INTEGER NOT NULL REFERENCES event,
    attempts INTEGER NOT NULL DEFAULT 0,        -- that failed, as far as that was stored
    tried    INTEGER,                           -- the first one, in milliseconds of sink.active
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_by_seq ON delivery (seq);

CREATE TABLE dead_letter (
    sink     TEXT    NOT NULL,
    seq      INTEGER NOT NULL REFERENCES event,
    at       INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    error    TEXT    NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letter_by_seq ON dead_letter (seq);

-- For how long each sink was used and not held, in milliseconds: `give_up_after` counts on this clock.
CREATE TABLE sink (
    name   TEXT    PRIMARY KEY,
    active INTEGER NOT NULL DEFAULT 0,
    seen   INTEGER                              -- when it was last configured
) STRICT, WITHOUT ROWID;
