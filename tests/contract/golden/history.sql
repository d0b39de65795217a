BEGIN TRANSACTION;
CREATE TABLE files (
    path BLOB PRIMARY KEY,
    duration_s REAL NOT NULL,
    cpu_s REAL,
    peak_bytes INTEGER,
    last_status TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    outcomes TEXT NOT NULL,
    last_run_id TEXT NOT NULL,
    seen_at REAL NOT NULL
, forking TEXT NOT NULL DEFAULT 'unknown', is_crowded INTEGER NOT NULL DEFAULT 0, forked_duration_s REAL NOT NULL DEFAULT 0.0, forked_cpu_s REAL, forked_peak_bytes INTEGER, forked_runs INTEGER, most_s REAL, most_cpu_s REAL, forked_most_s REAL, forked_most_cpu_s REAL, failing_tests TEXT NOT NULL DEFAULT '', test_times TEXT NOT NULL DEFAULT '', is_indivisible INTEGER NOT NULL DEFAULT 0, measurements TEXT NOT NULL DEFAULT '') WITHOUT ROWID
;
INSERT INTO "files" VALUES(X'6170702F74657374732F61FF2E7079',2.0,NULL,NULL,'PASS',10,5,1,'TP','r1',1000.0,'confirmed',0,1.23456789,0.1,9,1,2.0,NULL,1.23456789,0.1,'','',0,'1.235,9');
CREATE TABLE inputs (
    path BLOB PRIMARY KEY,
    record BLOB NOT NULL
) WITHOUT ROWID
;
COMMIT;
