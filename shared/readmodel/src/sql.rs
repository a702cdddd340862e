//! Every SQL statement. Nobody spells one elsewhere.
//!
//! Shapes are those of the files in `migrations/`. All queries of the gateway take the project as
//! `$1`.

pub(crate) mod audit;
use crate::filter::{ExecStatus, Progress, SessionStatus};

/// Taken for the length of a migration, by the connection. The number is arbitrary, and ours.
pub(crate) const MIGRATIONS_LOCK: &str =
    "SELECT pg_advisory_lock(hashtextextended(current_schema() || '/rdev-migrations', 0))";

/// Held by the connection of the active projector. By schema, because locks are by database.
pub(crate) const LEADER_LOCK: &str =
    "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/rdev-projector', 0))";

pub(crate) const LEADER_UNLOCK: &str =
    "SELECT pg_advisory_unlock(hashtextextended(current_schema() || '/rdev-projector', 0))";

/// Whether the server still answers.
pub(crate) const PING: &str = "SELECT 1";

pub(crate) const POSITIONS: &str =
    "SELECT log, log_created_at, sequence FROM positions ORDER BY log";

/// `$4`: the fold of this build.
pub(crate) const POSITION_BEGIN: &str =
    "INSERT INTO positions (log, log_created_at, sequence, fold_version, moved_at, fold_moved_at)
     VALUES ($1, $2, $3, $4, now(), now()) ON CONFLICT (log) DO NOTHING";

/// `$6`: the fold that made the rows. Of several builds that wrote rows the oldest counts.
pub(crate) const POSITION_MOVE: &str =
    "UPDATE positions SET log_created_at = $4, sequence = $5, moved_at = now(),
        fold_version = CASE WHEN fold_moved_at = moved_at THEN least(fold_version, $6) ELSE 0 END,
        fold_moved_at = now()
     WHERE log = $1 AND log_created_at = $2 AND sequence = $3";

/// Whether no row was made by a fold older than `$1`.
pub(crate) const FOLD_IS_CURRENT: &str =
    "SELECT coalesce(bool_and(fold_version >= $1 AND coalesce(fold_moved_at = moved_at, false)), true)
     FROM positions";

pub(crate) const SESSION_CREATED: &str =
    "INSERT INTO sessions (project, id, pod, namespace, container, created_by, created_at, template,
        selector, idle_timeout_seconds, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     ON CONFLICT (project, id) DO UPDATE SET
        pod = excluded.pod, namespace = excluded.namespace, container = excluded.container,
        created_by = excluded.created_by, created_at = excluded.created_at,
        template = excluded.template, selector = excluded.selector,
        idle_timeout_seconds = excluded.idle_timeout_seconds, expires_at = excluded.expires_at";

pub(crate) const SESSION_POD_TOLD: &str =
    "UPDATE sessions SET pod_state = $3, pod_message = nullif($4, ''),
        pod = CASE WHEN pod = '' THEN coalesce($5, '') ELSE pod END
     WHERE project = $1 AND id = $2";

pub(crate) const SESSION_WARNED: &str =
    "UPDATE sessions SET idle_ends_at = $3 WHERE project = $1 AND id = $2";

/// Of two links the one of the later command is the newer, whatever order they were written in.
pub(crate) const SESSION_LINKED: &str =
    "UPDATE sessions SET claude_session_id = $3, linked_stream = $4, linked_command_seq = $5
     WHERE project = $1 AND id = $2 AND (linked_command_seq IS NULL OR linked_command_seq < $5)";

/// As [`SESSION_LINKED`], for codex.
pub(crate) const SESSION_CODEX_LINKED: &str =
    "UPDATE sessions SET codex_session_id = $3, codex_command_seq = $4
     WHERE project = $1 AND id = $2 AND (codex_command_seq IS NULL OR codex_command_seq < $4)";

/// An end is final: the first one stands.
pub(crate) const SESSION_ENDED: &str =
    "UPDATE sessions SET ended_by = $3, ended_at = $4, ended_reason = $5
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

pub(crate) const EXEC_ANSWERED: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at, result)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (project, session, stream) DO UPDATE SET result = excluded.result";

pub(crate) const EXEC_RESULT: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at,
        result_subtype, result_is_error, total_cost_usd, usage, model_usage)
     VALUES ($1, $2, $3, $4, $5, $6, $7, ($8::text)::numeric, $9, $10)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        result_subtype = excluded.result_subtype,
        result_is_error = excluded.result_is_error, total_cost_usd = excluded.total_cost_usd,
        usage = excluded.usage, model_usage = excluded.model_usage";

pub(crate) const AGENT_BEGUN: &str =
    "INSERT INTO execs (project, session, stream, log_created_at, created_at, cli_version,
        counts_alone)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        cli_version = excluded.cli_version, counts_alone = excluded.counts_alone";

/// What a run took alone is its total without what was counted before it. That is nothing for a new
/// session, and for a version that counts each process alone; else the first result tells it
/// (`$8` to `$12`), and the next ones of the same process go by that.
pub(crate) fn run_counted() -> String {
    let columns = [
        (
            "cost_usd",
            "cost_before",
            "total_cost_usd",
            "($8::text)::numeric",
        ),
        ("input_tokens", "input_before", "$4::bigint", "$9::bigint"),
        (
            "output_tokens",
            "output_before",
            "$5::bigint",
            "$10::bigint",
        ),
        (
            "cache_read_tokens",
            "cache_read_before",
            "$6::bigint",
            "$11::bigint",
        ),
        (
            "cache_write_tokens",
            "cache_write_before",
            "$7::bigint",
            "$12::bigint",
        ),
    ];
    let mut known = Vec::new();
    let mut set = Vec::new();
    for (own, before, total, alone) in columns {
        known.push(format!(
            "CASE WHEN started_at IS NOT NULL AND resume_id IS NULL THEN 0
                ELSE coalesce({total} - {alone}, {before}, CASE WHEN counts_alone THEN 0 END)
             END AS {before}, {total} AS {own}"
        ));
        set.push(format!(
            "{before} = known.{before},
             {own} = CASE WHEN known.{own} >= known.{before} THEN known.{own} - known.{before} END"
        ));
    }
    format!(
        "UPDATE execs SET {}
         FROM (SELECT {} FROM execs WHERE project = $1 AND session = $2 AND stream = $3) known
         WHERE project = $1 AND session = $2 AND stream = $3",
        set.join(", "),
        known.join(", ")
    )
}

pub(crate) const TOOL_ADDED: &str =
    "INSERT INTO tool_messages (project, session, stream, step, id, role, tool_use_id, tool_name,
        parent_tool_use_id, is_error, content, truncated, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
     ON CONFLICT (project, session, stream, step) DO UPDATE SET
        id = excluded.id, role = excluded.role, tool_use_id = excluded.tool_use_id,
        tool_name = excluded.tool_name, parent_tool_use_id = excluded.parent_tool_use_id,
        is_error = excluded.is_error, content = excluded.content,
        truncated = excluded.truncated, created_at = excluded.created_at";

pub(crate) const TOOLS_HELD: &str =
    "UPDATE tool_messages SET conversation = $4, turn_at = execs.created_at FROM execs
     WHERE execs.project = $1 AND execs.session = $2 AND execs.stream = $3
        AND tool_messages.project = $1 AND tool_messages.session = $2
        AND tool_messages.stream = $3";

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
        conversation_id, codex_session_id)
     VALUES ($1, $2, $3, $4, $5, $6, $5, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
        $19)
     ON CONFLICT (project, session, stream) DO UPDATE SET
        complete_seq = excluded.complete_seq, completed_at = excluded.completed_at,
        outcome = excluded.outcome, exit_code = excluded.exit_code, ok = excluded.ok,
        signal = excluded.signal, reason = excluded.reason, duration_ms = excluded.duration_ms,
        stdout_bytes = excluded.stdout_bytes, stderr_bytes = excluded.stderr_bytes,
        stdout_sha256 = excluded.stdout_sha256, stderr_sha256 = excluded.stderr_sha256,
        claude_session_id = excluded.claude_session_id,
        conversation_id = excluded.conversation_id, codex_session_id = excluded.codex_session_id";

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

/// As [`CONVERSATION_HELD`], for codex. Where claude took no part, its session is one of zeros, which
/// every exec of claude's replaces.
pub(crate) const CODEX_CONVERSATION_HELD: &str =
    "INSERT INTO conversations AS held (project, id, session, title, claude_session_id,
        log_created_at, command_seq, codex_session_id, codex_log_created_at, codex_command_seq,
        created_at, updated_at)
     SELECT project, $4, session, $5, '00000000-0000-0000-0000-000000000000', log_created_at, 0,
        $6, log_created_at, coalesce(command_seq, 0), created_at, $7
     FROM execs WHERE project = $1 AND session = $2 AND stream = $3
     ON CONFLICT (project, id) DO UPDATE SET
        codex_session_id = CASE
            WHEN (excluded.codex_log_created_at, excluded.codex_command_seq)
                 < (held.codex_log_created_at, held.codex_command_seq)
            THEN held.codex_session_id ELSE excluded.codex_session_id END,
        codex_command_seq = CASE
            WHEN (excluded.codex_log_created_at, excluded.codex_command_seq)
                 < (held.codex_log_created_at, held.codex_command_seq)
            THEN held.codex_command_seq ELSE excluded.codex_command_seq END,
        codex_log_created_at = greatest(excluded.codex_log_created_at, held.codex_log_created_at),
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

/// Of one stream, or of all.
pub(crate) const POISON_COUNT: &str =
    "SELECT count(*) AS messages FROM poison WHERE $1::text IS NULL OR log = $1";

/// Newest first; without what they hold, which may be much.
pub(crate) const POISON_LIST: &str =
    "SELECT log, log_created_at, sequence, subject, stored_at, reason
     FROM poison ORDER BY stored_at DESC, log, sequence DESC LIMIT $1";

/// Projects that have or had a session, behind `$1` by name: one look into the index for each,
/// however many sessions they have. `$2` is the limit.
pub(crate) const PROJECTS: &str = "WITH RECURSIVE found AS (
        (SELECT project FROM sessions WHERE project > $1 ORDER BY project LIMIT 1)
        UNION ALL
        SELECT (SELECT next.project FROM sessions AS next WHERE next.project > found.project
            ORDER BY next.project LIMIT 1)
        FROM found WHERE found.project IS NOT NULL)
     SELECT project FROM found WHERE project IS NOT NULL LIMIT $2";

/// Sessions in a range of time; `$5` is the limit.
pub(crate) fn sessions(status: Option<SessionStatus>) -> String {
    let condition = match status {
        None => "",
        Some(SessionStatus::Active) => "AND ended_at IS NULL",
        Some(SessionStatus::Ended) => "AND ended_at IS NOT NULL",
    };
    format!(
        "SELECT id, pod, namespace, container, claude_session_id, codex_session_id, created_at,
            ended_at, template, selector, idle_timeout_seconds, expires_at, pod_state,
            pod_message, idle_ends_at, ended_reason
         FROM sessions WHERE project = $1 AND (created_at, id) < ($2, $3) AND created_at >= $4
            {condition}
         ORDER BY created_at DESC, id DESC LIMIT $5"
    )
}

const EXEC_COLUMNS: &str =
    "session, stream, kind, attempts, created_at, started_at, completed_at, outcome,
        exit_code, ok, signal, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256,
        stderr_sha256, claude_session_id, conversation_id, codex_session_id, cli_version,
        usage IS NOT NULL AS has_usage, left(coalesce(command, prompt), 200) AS asked,
        CASE kind WHEN 'git' THEN args[:100] END AS git_args,
        total_cost_usd::float8 AS total_cost_usd, cost_usd::float8 AS cost_usd, input_tokens,
        output_tokens, cache_read_tokens, cache_write_tokens";

/// Execs behind a place (`$2`, `$3`, `$4`: time, session, stream) and not before `$5`; `$6` is the
/// limit, and `$7` the outcome if one is asked for.
pub(crate) fn execs(of_one_session: bool, progress: Progress) -> String {
    let (place, order) = if of_one_session {
        ("session = $3 AND (created_at, stream) < ($2, $4)", "")
    } else {
        (
            "(created_at, session, stream) < ($2, $3, $4)",
            "session DESC,",
        )
    };
    let condition = match progress {
        Progress::Any => "",
        Progress::Status(ExecStatus::Queued) => {
            "AND outcome IS NULL AND started_at IS NULL AND attempts = 0"
        }
        Progress::Status(ExecStatus::Running) => {
            "AND outcome IS NULL AND (started_at IS NOT NULL OR attempts > 0)"
        }
        Progress::Status(ExecStatus::Complete) => "AND outcome IS NOT NULL",
        Progress::Outcome(_) => "AND outcome = $7",
    };
    format!(
        "SELECT {EXEC_COLUMNS}
         FROM execs WHERE project = $1 AND {place} AND created_at >= $5 {condition}
         ORDER BY created_at DESC, {order} stream DESC LIMIT $6"
    )
}

pub(crate) fn exec() -> String {
    format!(
        "SELECT {EXEC_COLUMNS}, usage, model_usage
         FROM execs WHERE project = $1 AND session = $2 AND stream = $3"
    )
}

/// Sums over runs of agents that have ended, of execs that were asked for from `$2` on and before
/// `$3`; `$4` is their session, if they are of one.
pub(crate) fn usage(of_one_session: bool) -> String {
    let condition = if of_one_session {
        "AND session = $4"
    } else {
        ""
    };
    format!(
        "SELECT count(*) AS runs, count(*) FILTER (WHERE cost_usd IS NULL) AS runs_not_known,
            coalesce(sum(cost_usd), 0)::float8 AS cost_usd,
            coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
            coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
            coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
            coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens
         FROM execs WHERE project = $1 AND created_at >= $2 AND created_at < $3 {condition}
            AND kind IN ('claude', 'codex') AND outcome IS NOT NULL AND outcome <> 'rejected'"
    )
}

/// Conversations in a range of time; `$5` is the limit, and `$6` the one that is wanted, if only
/// one is.
pub(crate) fn conversations(only_one: bool) -> String {
    let condition = if only_one { "AND id = $6" } else { "" };
    format!(
        "SELECT id, session, title, claude_session_id, codex_session_id, created_at, updated_at
         FROM conversations WHERE project = $1 AND (created_at, id) < ($2, $3)
            AND created_at >= $4 {condition}
         ORDER BY created_at DESC, id DESC LIMIT $5"
    )
}

pub(crate) const CONVERSATION: &str =
    "SELECT id, session, title, claude_session_id, codex_session_id, created_at, updated_at
     FROM conversations WHERE project = $1 AND id = $2";

/// A turn is its prompt, what its tools said, its answer. `$6` is the place among the tools.
pub(crate) const MESSAGES: &str = "SELECT * FROM (
     (SELECT id, stream, role, content, turn_at, ordinal, 0::bigint AS step, created_at,
        NULL::text AS tool_use_id, NULL::text AS tool_name, NULL::text AS parent_tool_use_id,
        NULL::boolean AS is_error, false AS truncated
     FROM messages WHERE project = $1 AND conversation = $2
        AND (turn_at, stream, ordinal) > ($3, $4, $5)
     ORDER BY turn_at, stream, ordinal LIMIT $7)
     UNION ALL
     (SELECT id, stream, role, content, turn_at, 0::smallint, step, created_at,
        tool_use_id, tool_name, parent_tool_use_id, is_error, truncated
     FROM tool_messages WHERE project = $1 AND conversation = $2
        AND (turn_at, stream, step) > ($3, $4, $6)
     ORDER BY turn_at, stream, step LIMIT $7)
     ) turns ORDER BY turn_at, stream, ordinal, step LIMIT $7";
