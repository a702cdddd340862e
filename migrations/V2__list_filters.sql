-- Indexes of lists with filters. Adds only: a build that knows V1 alone goes on as before.

-- All execs of a project; those that have not ended are few, and asked for most.
CREATE INDEX execs_of_project ON execs (project, created_at DESC, session DESC, stream DESC);
CREATE INDEX execs_open ON execs (project, created_at DESC, session DESC, stream DESC)
    WHERE outcome IS NULL;
CREATE INDEX execs_by_outcome ON execs
    (project, outcome, created_at DESC, session DESC, stream DESC) WHERE outcome IS NOT NULL;
CREATE INDEX sessions_active ON sessions (project, created_at DESC, id DESC)
    WHERE ended_at IS NULL;
