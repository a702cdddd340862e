-- What builds that know V3 alone send beside the statements of V1, of that which later builds send in
-- another form. Never changed: such a build may be running beside a newer one.

-- CLAUDE_BEGUN
INSERT INTO execs (project, session, stream, log_created_at, created_at, cli_version,
counts_alone)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (project, session, stream) DO UPDATE SET
cli_version = excluded.cli_version, counts_alone = excluded.counts_alone;

-- EXECS_OF_PROJECT
SELECT session, stream, kind, attempts, created_at, started_at, completed_at, outcome,
exit_code, ok, signal, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256,
stderr_sha256, claude_session_id, conversation_id, cli_version,
total_cost_usd::float8 AS total_cost_usd, cost_usd::float8 AS cost_usd, input_tokens,
output_tokens, cache_read_tokens, cache_write_tokens
FROM execs WHERE project = $1 AND (created_at, session, stream) < ($2, $3, $4)
AND created_at >= $5
ORDER BY created_at DESC, session DESC, stream DESC LIMIT $6;

-- USAGE
SELECT count(*) AS runs, count(*) FILTER (WHERE cost_usd IS NULL) AS runs_not_known,
coalesce(sum(cost_usd), 0)::float8 AS cost_usd,
coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens
FROM execs WHERE project = $1 AND created_at >= $2 AND created_at < $3
AND kind = 'claude' AND outcome IS NOT NULL AND outcome <> 'rejected';
