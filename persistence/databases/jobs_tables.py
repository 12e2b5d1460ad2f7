"""The tables of jobs.db: a migration a version (`migrations`).

Triggers keep the two things that follow from a job's row: how many jobs of a queue have which status, so that a count
costs the same however many are finished, and what happened to it, so that no change of a status goes without its event.
"""

# An id is never given twice (AUTOINCREMENT), because whoever holds one may come after its job was removed. Of jobs with
# a deduplication key one is unfinished at a time, and a time of a schedule makes one job. The other indexes are what a
# claim, a list or pruning looks for, without those that it does not: the finished are many.
JOBS_1 = """
CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('waiting', 'delayed', 'active', 'completed', 'failed')),
    -- JSON.
    payload TEXT NOT NULL,
    priority INTEGER NOT NULL,
    deduplication_key TEXT,
    repeatable_key TEXT,
    scheduled_at TEXT,
    attempts INTEGER NOT NULL,
    attempts_max INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    -- Since when it is delayed, and until when.
    delayed_at TEXT,
    due_at TEXT,
    started_at TEXT,
    finished_at TEXT,
    run_id TEXT UNIQUE,
    lease_until TEXT,
    -- From 0 to 1.
    progress REAL,
    -- JSON.
    result TEXT,
    error TEXT,
    CHECK ((status = 'active') = (run_id IS NOT NULL)),
    CHECK ((status = 'active') = (lease_until IS NOT NULL)),
    CHECK ((status = 'delayed') = (due_at IS NOT NULL)),
    CHECK ((status = 'delayed') = (delayed_at IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed')) = (finished_at IS NOT NULL)),
    CHECK ((repeatable_key IS NULL) = (scheduled_at IS NULL))
);
CREATE UNIQUE INDEX jobs_unfinished ON jobs (queue, deduplication_key)
    WHERE deduplication_key IS NOT NULL AND status IN ('waiting', 'delayed', 'active');
CREATE UNIQUE INDEX jobs_scheduled ON jobs (queue, repeatable_key, scheduled_at) WHERE repeatable_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (queue, priority DESC, job_id) WHERE status = 'waiting';
CREATE INDEX jobs_due ON jobs (due_at) WHERE status = 'delayed';
CREATE INDEX jobs_delayed_since ON jobs (delayed_at) WHERE status = 'delayed';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE status = 'active';
CREATE INDEX jobs_completed ON jobs (finished_at) WHERE status = 'completed';
CREATE INDEX jobs_by_status ON jobs (status, job_id);
CREATE INDEX jobs_by_queue ON jobs (queue, status, job_id);
CREATE TABLE job_events (
    event_id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    event TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    at TEXT NOT NULL
);
CREATE INDEX job_events_by_job ON job_events (job_id, event_id);
CREATE TABLE job_log (
    line_id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    at TEXT NOT NULL,
    line TEXT NOT NULL
);
CREATE INDEX job_log_by_job ON job_log (job_id, line_id);
CREATE TABLE job_counts (
    queue TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (queue, status)
) WITHOUT ROWID;
-- The queues that the server last knew, and since when one is paused.
CREATE TABLE job_queues (
    queue TEXT PRIMARY KEY,
    paused_at TEXT
) WITHOUT ROWID;
CREATE TABLE repeatables (
    queue TEXT NOT NULL,
    repeatable_key TEXT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    cron TEXT NOT NULL,
    attempts_max INTEGER NOT NULL,
    -- The time of its schedule up to which nothing is left to do.
    reached_at TEXT NOT NULL,
    PRIMARY KEY (queue, repeatable_key)
) WITHOUT ROWID;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts (queue, status, jobs) VALUES (NEW.queue, NEW.status, 1)
        ON CONFLICT (queue, status) DO UPDATE SET jobs = jobs + 1;
    INSERT INTO job_events (job_id, event, attempts, at) VALUES (NEW.job_id, 'added', NEW.attempts, NEW.changed_at);
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF status ON jobs WHEN OLD.status != NEW.status BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE queue = OLD.queue AND status = OLD.status;
    INSERT INTO job_counts (queue, status, jobs) VALUES (NEW.queue, NEW.status, 1)
        ON CONFLICT (queue, status) DO UPDATE SET jobs = jobs + 1;
    INSERT INTO job_events (job_id, event, attempts, error, at) VALUES (
        NEW.job_id,
        CASE
            WHEN NEW.status = 'active' THEN 'started'
            WHEN NEW.status IN ('completed', 'failed') THEN NEW.status
            WHEN OLD.status = 'delayed' THEN 'due'
            WHEN OLD.status = 'active' AND NEW.error IS NULL THEN 'released'
            ELSE 'retried'
        END,
        NEW.attempts, NEW.error, NEW.changed_at
    );
    -- Who retries without end keeps the last hundred.
    DELETE FROM job_events WHERE job_id = NEW.job_id AND event_id <= (
        SELECT event_id FROM job_events WHERE job_id = NEW.job_id ORDER BY event_id DESC LIMIT 1 OFFSET 100
    );
END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE queue = OLD.queue AND status = OLD.status;
END;
"""
