-- An index of a list with a filter. Adds only: a build that knows V5 alone goes on as before.

-- Without it, a rare outcome in a long session is looked for through all of the session.
CREATE INDEX execs_of_session_by_outcome ON execs
    (project, session, outcome, created_at DESC, stream DESC) WHERE outcome IS NOT NULL;
