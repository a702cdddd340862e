-- The tools that claude used, and what its runs cost. Adds only: a build that knows V2 alone goes on as
-- before. Execs that were folded before have nothing in what is new until they are folded again.

-- What claude asked of its tools and what they answered: one row each, beside `messages`, whose
-- readers of V1 know two messages a turn.
CREATE TABLE tool_messages (
    project            text COLLATE "C" NOT NULL,
    session            uuid             NOT NULL,
    stream             text COLLATE "C" NOT NULL,
    -- The number of the event that holds it, and its place in there: the order within the exec.
    step               bigint           NOT NULL,
    id                 uuid             NOT NULL,
    role               text             NOT NULL,
    tool_use_id        text             NOT NULL,
    tool_name          text,
    parent_tool_use_id text,
    is_error           boolean,
    content            text             NOT NULL,
    truncated          boolean          NOT NULL,
    created_at         timestamptz      NOT NULL,
    -- Of the turn that it is part of, once the exec has ended with one.
    conversation       uuid,
    turn_at            timestamptz,
    PRIMARY KEY (project, session, stream, step)
);

CREATE INDEX tool_messages_listing ON tool_messages (project, conversation, turn_at, stream, step)
    WHERE conversation IS NOT NULL;

-- What the Claude CLI says of cost and tokens is of one process in some versions, and of all runs
-- of its session in others. `…_before` is what was counted before this run, null where that is not
-- known for certain; then what this run alone took is not known either.
ALTER TABLE execs
    ADD COLUMN cli_version        text,
    -- Whether this version of the CLI counts each process alone; null where that was not seen.
    ADD COLUMN counts_alone       boolean,
    ADD COLUMN cost_before        numeric,
    ADD COLUMN input_before       bigint,
    ADD COLUMN output_before      bigint,
    ADD COLUMN cache_read_before  bigint,
    ADD COLUMN cache_write_before bigint,
    ADD COLUMN cost_usd           numeric,
    ADD COLUMN input_tokens       bigint,
    ADD COLUMN output_tokens      bigint,
    ADD COLUMN cache_read_tokens  bigint,
    ADD COLUMN cache_write_tokens bigint;

-- Sums are taken from the index alone.
CREATE INDEX execs_usage ON execs (project, created_at)
    INCLUDE (outcome, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    WHERE kind = 'claude';

