-- Every statement of builds that know V1 alone, as they send it. Never changed: such a build may be
-- running beside a newer one.

-- POSITIONS
SELECT log, log_created_at, sequence FROM positions ORDER BY log;

-- POSITION_BEGIN
INSERT INTO positions (log, log_created_at, sequence)
VALUES ($1, $2, $3) ON CONFLICT (log) DO NOTHING;

-- POSITION_MOVE
UPDATE positions SET log_created_at = $4, sequence = $5, moved_at = now()
WHERE log = $1 AND log_created_at = $2 AND sequence = $3;

-- SESSION_CREATED
INSERT INTO sessions (project, id, pod, namespace, container, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (project, id) DO UPDATE SET
pod = excluded.pod, namespace = excluded.namespace, container = excluded.container,
created_by = excluded.created_by, created_at = excluded.created_at;

-- SESSION_LINKED
UPDATE sessions SET claude_session_id = $3, linked_stream = $4, linked_command_seq = $5
WHERE project = $1 AND id = $2 AND (linked_command_seq IS NULL OR linked_command_seq < $5);

-- SESSION_ENDED
UPDATE sessions SET ended_by = $3, ended_at = $4
WHERE project = $1 AND id = $2 AND ended_at IS NULL;

-- EXEC_COMMANDED
INSERT INTO execs (project, session, stream, log_created_at, created_at,
kind, command, prompt, args, cwd, timeout_seconds, requested_by, command_seq)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (project, session, stream) DO UPDATE SET
log_created_at = excluded.log_created_at, created_at = excluded.created_at,
kind = excluded.kind, command = excluded.command, prompt = excluded.prompt,
args = excluded.args, cwd = excluded.cwd, timeout_seconds = excluded.timeout_seconds,
requested_by = excluded.requested_by, command_seq = excluded.command_seq;

-- EXEC_STARTED
INSERT INTO execs (project, session, stream, log_created_at, created_at,
attempts, executor, argv, resume_id, pod, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $5)
ON CONFLICT (project, session, stream) DO UPDATE SET
attempts = excluded.attempts, executor = excluded.executor, argv = excluded.argv,
resume_id = excluded.resume_id, pod = excluded.pod, started_at = excluded.started_at;

-- EXEC_RESUMED
INSERT INTO execs (project, session, stream, log_created_at, created_at, attempts, executor)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (project, session, stream) DO UPDATE SET
attempts = excluded.attempts, executor = excluded.executor;

-- EXEC_RESULT
INSERT INTO execs (project, session, stream, log_created_at, created_at,
result, result_subtype, result_is_error, total_cost_usd, usage, model_usage)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ($9::text)::numeric, $10, $11)
ON CONFLICT (project, session, stream) DO UPDATE SET
result = excluded.result, result_subtype = excluded.result_subtype,
result_is_error = excluded.result_is_error, total_cost_usd = excluded.total_cost_usd,
usage = excluded.usage, model_usage = excluded.model_usage;

-- FRAGMENT_ADDED
INSERT INTO fragments (project, session, stream, part, content) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, session, stream, part) DO UPDATE SET content = excluded.content;

-- FRAGMENTS_TAKEN
DELETE FROM fragments WHERE project = $1 AND session = $2 AND stream = $3
RETURNING part, content;

-- EXEC_COMPLETED
WITH unfinished AS (
DELETE FROM fragments WHERE project = $1 AND session = $2 AND stream = $3)
INSERT INTO execs (project, session, stream, log_created_at, created_at,
complete_seq, completed_at, outcome, exit_code, ok, signal, reason, duration_ms,
stdout_bytes, stderr_bytes, stdout_sha256, stderr_sha256, claude_session_id,
conversation_id)
VALUES ($1, $2, $3, $4, $5, $6, $5, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (project, session, stream) DO UPDATE SET
complete_seq = excluded.complete_seq, completed_at = excluded.completed_at,
outcome = excluded.outcome, exit_code = excluded.exit_code, ok = excluded.ok,
signal = excluded.signal, reason = excluded.reason, duration_ms = excluded.duration_ms,
stdout_bytes = excluded.stdout_bytes, stderr_bytes = excluded.stderr_bytes,
stdout_sha256 = excluded.stdout_sha256, stderr_sha256 = excluded.stderr_sha256,
claude_session_id = excluded.claude_session_id,
conversation_id = excluded.conversation_id;

-- CONVERSATION_HELD
INSERT INTO conversations AS held (project, id, session, title, claude_session_id,
log_created_at, command_seq, created_at, updated_at)
SELECT project, $4, session, $5, $6, log_created_at, coalesce(command_seq, 0), created_at, $7
FROM execs WHERE project = $1 AND session = $2 AND stream = $3
ON CONFLICT (project, id) DO UPDATE SET
claude_session_id = CASE
WHEN (excluded.log_created_at, excluded.command_seq)
>= (held.log_created_at, held.command_seq)
THEN excluded.claude_session_id ELSE held.claude_session_id END,
command_seq = CASE
WHEN (excluded.log_created_at, excluded.command_seq)
>= (held.log_created_at, held.command_seq)
THEN excluded.command_seq ELSE held.command_seq END,
log_created_at = greatest(excluded.log_created_at, held.log_created_at),
created_at = least(excluded.created_at, held.created_at),
updated_at = greatest(excluded.updated_at, held.updated_at);

-- USER_MESSAGE
INSERT INTO messages (project, id, conversation, session, stream, role, content, turn_at,
ordinal, created_at)
SELECT project, $4, $5, session, stream, 'user', prompt, created_at, 0, created_at
FROM execs WHERE project = $1 AND session = $2 AND stream = $3 AND prompt IS NOT NULL
ON CONFLICT (project, id) DO UPDATE SET
conversation = excluded.conversation, content = excluded.content,
turn_at = excluded.turn_at, created_at = excluded.created_at;

-- ASSISTANT_MESSAGE
INSERT INTO messages (project, id, conversation, session, stream, role, content, turn_at,
ordinal, created_at)
SELECT project, $4, $5, session, stream, 'assistant', result, created_at, 1, $6
FROM execs WHERE project = $1 AND session = $2 AND stream = $3 AND result IS NOT NULL
ON CONFLICT (project, id) DO UPDATE SET
conversation = excluded.conversation, content = excluded.content,
turn_at = excluded.turn_at, created_at = excluded.created_at;

-- POISONED
INSERT INTO poison (log, log_created_at, sequence, subject, payload, stored_at, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (log, log_created_at, sequence) DO UPDATE SET reason = excluded.reason;

-- POISON_COUNT
SELECT count(*) AS messages FROM poison;

-- SESSIONS
SELECT id, pod, namespace, container, claude_session_id, created_at, ended_at
FROM sessions WHERE project = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4;

-- EXECS
SELECT session, stream, kind, attempts, created_at, started_at, completed_at, outcome,
exit_code, ok, signal, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256,
stderr_sha256, claude_session_id, conversation_id
FROM execs WHERE project = $1 AND session = $2 AND (created_at, stream) < ($3, $4)
ORDER BY created_at DESC, stream DESC LIMIT $5;

-- EXEC
SELECT session, stream, kind, attempts, created_at, started_at, completed_at, outcome,
exit_code, ok, signal, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256,
stderr_sha256, claude_session_id, conversation_id
FROM execs WHERE project = $1 AND session = $2 AND stream = $3;

-- CONVERSATIONS
SELECT id, session, title, claude_session_id, created_at, updated_at
FROM conversations WHERE project = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4;

-- CONVERSATION
SELECT id, session, title, claude_session_id, created_at, updated_at
FROM conversations WHERE project = $1 AND id = $2;

-- MESSAGES
SELECT id, stream, role, content, turn_at, ordinal, created_at
FROM messages WHERE project = $1 AND conversation = $2
AND (turn_at, stream, ordinal) > ($3, $4, $5)
ORDER BY turn_at, stream, ordinal LIMIT $6;
