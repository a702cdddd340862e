//! Every SQL statement. Nobody spells one elsewhere.
//!
//! Shapes are those of the files in `migrations/`. All queries of the gateway take the project as
//! `$1`.

pub(crate) mod audit;

/// Taken for the length of a migration, by the connection. The number is arbitrary, and ours.
pub(crate) const MIGRATIONS_LOCK: &str =
    "SELECT pg_advisory_lock(hashtextextended(current_schema() || '/rdev-migrations', 0))";

/// Held by the connection of the active projector. By schema, because locks are by database.
pub(crate) const LEADER_LOCK: &str =
    "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/rdev-projector', 0))";

/// Whether the server still answers.
pub(crate) const PING: &str = "SELECT 1";

pub(crate) const POSITIONS: &str =
    "SELECT log, log_created_at, sequence FROM positions ORDER BY log";

pub(crate) const POSITION_BEGIN: &str = "INSERT INTO positions (log, log_created_at, sequence)
     VALUES ($1, $2, $3) ON CONFLICT (log) DO NOTHING";

pub(crate) const POSITION_MOVE: &str =
    "UPDATE positions SET log_created_at = $4, sequence = $5, moved_at = now()
     WHERE log = $1 AND log_created_at = $2 AND sequence = $3";

pub(crate) const SESSION_CREATED: &str =
    "INSERT INTO sessions (project, id, pod, namespace, container, created_by, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (project, id) DO UPDATE SET
        pod = excluded.pod, namespace = excluded.namespace, container = excluded.container,
        created_by = excluded.created_by, created_at = excluded.created_at";

/// Of two links the one of the later command is the newer, whatever order they were written in.
pub(crate) const SESSION_LINKED: &str =
    "UPDATE sessions SET claude_session_id = $3, linked_stream = $4, linked_command_seq = $5
     WHERE project = $1 AND id = $2 AND (linked_command_seq IS NULL OR linked_command_seq < $5)";

/// An end is final: the first one stands.
pub(crate) const SESSION_ENDED: &str = "UPDATE sessions SET ended_by = $3, ended_at = $4
     WHERE project = $1 AND id = $2 AND ended_at IS NULL";

pub(crate) const EXEC_COMMANDED: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at,
        kind, command, prompt, args, cwd, timeout_seconds, requested_by, command_seq)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        log_created_at = excluded.log_created_at, created_at = excluded.created_at,
        kind = excluded.kind, command = excluded.command, prompt = excluded.prompt,
        args = excluded.args, cwd = excluded.cwd, timeout_seconds = excluded.timeout_seconds,
        requested_by = excluded.requested_by, command_seq = excluded.command_seq";

// From here on the exec's row is there, unless retention removed the command before it was read:
// then the row begins with what is left.

pub(crate) const EXEC_STARTED: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at,
        attempts, executor, argv, resume_id, pod, started_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $5)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        attempts = excluded.attempts, executor = excluded.executor, argv = excluded.argv,
        resume_id = excluded.resume_id, pod = excluded.pod, started_at = excluded.started_at";

pub(crate) const EXEC_RESUMED: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at, attempts, executor)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        attempts = excluded.attempts, executor = excluded.executor";

pub(crate) const EXEC_RESULT: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at,
        result, result_subtype, result_is_error, total_cost_usd, usage, model_usage)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ($9::text)::numeric, $10, $11)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        result = excluded.result, result_subtype = excluded.result_subtype,
        result_is_error = excluded.result_is_error, total_cost_usd = excluded.total_cost_usd,
        usage = excluded.usage, model_usage = excluded.model_usage";

pub(crate) const FRAGMENT_ADDED: &str =
    "INSERT INTO fragments (project, session, stream, part, content) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (project, session, stream, part) DO UPDATE SET content = excluded.content";

pub(crate) const FRAGMENTS_TAKEN: &str =
    "DELETE FROM fragments WHERE project = $1 AND session = $2 AND stream = $3
     RETURNING part, content";

/// Also forgets the parts of a line whose last one never came.
pub(crate) const EXEC_COMPLETED: &str = "WITH unfinished AS (
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
        conversation_id = excluded.conversation_id";

/// Of two execs the one with the later command says how the conversation goes on, whichever ended
/// first.
pub(crate) const CONVERSATION_HELD: &str =
    "INSERT INTO conversations AS held (project, id, session, title, claude_session_id,
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
        updated_at = greatest(excluded.updated_at, held.updated_at)";

pub(crate) const USER_MESSAGE: &str =
    "INSERT INTO messages (project, id, conversation, session, stream, role, content, turn_at,
        ordinal, created_at)
     SELECT project, $4, $5, session, stream, 'user', prompt, created_at, 0, created_at
     FROM execs WHERE project = $1 AND session = $2 AND stream = $3 AND prompt IS NOT NULL
     ON CONFLICT (project, id) DO UPDATE SET
        conversation = excluded.conversation, content = excluded.content,
        turn_at = excluded.turn_at, created_at = excluded.created_at";

pub(crate) const ASSISTANT_MESSAGE: &str =
    "INSERT INTO messages (project, id, conversation, session, stream, role, content, turn_at,
        ordinal, created_at)
     SELECT project, $4, $5, session, stream, 'assistant', result, created_at, 1, $6
     FROM execs WHERE project = $1 AND session = $2 AND stream = $3 AND result IS NOT NULL
     ON CONFLICT (project, id) DO UPDATE SET
        conversation = excluded.conversation, content = excluded.content,
        turn_at = excluded.turn_at, created_at = excluded.created_at";

pub(crate) const POISONED: &str =
    "INSERT INTO poison (log, log_created_at, sequence, subject, payload, stored_at, reason)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (log, log_created_at, sequence) DO UPDATE SET reason = excluded.reason";

pub(crate) const POISON_COUNT: &str = "SELECT count(*) AS messages FROM poison";

pub(crate) const SESSIONS: &str =
    "SELECT id, pod, namespace, container, claude_session_id, created_at, ended_at
     FROM sessions WHERE project = $1 AND (created_at, id) < ($2, $3)
     ORDER BY created_at DESC, id DESC LIMIT $4";

pub(crate) const EXECS: &str =
    "SELECT session, stream, kind, attempts, created_at, started_at, completed_at, outcome,
        exit_code, ok, signal, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256,
        stderr_sha256, claude_session_id, conversation_id
     FROM execs WHERE project = $1 AND session = $2 AND (created_at, stream) < ($3, $4)
     ORDER BY created_at DESC, stream DESC LIMIT $5";

pub(crate) const EXEC: &str =
    "SELECT session, stream, kind, attempts, created_at, started_at, completed_at, outcome,
        exit_code, ok, signal, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256,
        stderr_sha256, claude_session_id, conversation_id
     FROM execs WHERE project = $1 AND session = $2 AND stream = $3";

pub(crate) const CONVERSATIONS: &str =
    "SELECT id, session, title, claude_session_id, created_at, updated_at
     FROM conversations WHERE project = $1 AND (created_at, id) < ($2, $3)
     ORDER BY created_at DESC, id DESC LIMIT $4";

pub(crate) const CONVERSATION: &str =
    "SELECT id, session, title, claude_session_id, created_at, updated_at
     FROM conversations WHERE project = $1 AND id = $2";

pub(crate) const MESSAGES: &str = "SELECT id, stream, role, content, turn_at, ordinal, created_at
     FROM messages WHERE project = $1 AND conversation = $2
        AND (turn_at, stream, ordinal) > ($3, $4, $5)
     ORDER BY turn_at, stream, ordinal LIMIT $6";
