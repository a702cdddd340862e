-- The sessions of codex, another agent than claude: each has its own to go on with. Adds only: a build
-- that knows V4 alone goes on as before. In a conversation that only codex took part in, such a build
-- shows a claude session of zeros.

ALTER TABLE sessions
    -- Of the `codex_linked` with the latest command.
    ADD COLUMN codex_session_id  uuid,
    ADD COLUMN codex_command_seq bigint;

ALTER TABLE execs
    ADD COLUMN codex_session_id text;

ALTER TABLE conversations
    -- Of the exec of codex with the latest command.
    ADD COLUMN codex_session_id     uuid,
    ADD COLUMN codex_log_created_at timestamptz,
    ADD COLUMN codex_command_seq    bigint;

-- As `execs_usage`, of all agents.
CREATE INDEX execs_usage_of_agents ON execs (project, created_at)
    INCLUDE (outcome, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    WHERE kind IN ('claude', 'codex');
