-- The evidence of each pace key about refusals: whether a wrong setting or the tasks themselves are the cause.
CREATE TABLE evidence (
    pace_key          TEXT    PRIMARY KEY,
    had_good_response INTEGER NOT NULL,         -- whether one of its tasks ever had one
    refused           TEXT    NOT NULL          -- JSON: [[code, [task_row, ...]], ...]
) STRICT, WITHOUT ROWID;
