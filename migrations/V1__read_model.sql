-- The read model: what the projector folds from the log, for the lists of the HTTP API.
--
-- Written by the projector alone; read by the gateway and by audits. Every row can be dropped and
-- folded again from the log, and comes out equal: so no row holds a clock reading, a default or a
-- generated id of this database. Times are those of the messages.
--
-- There are no foreign keys: sessions and execs come from two streams of the log, and which of the
-- two is read first must not matter.

CREATE TABLE sessions (
    project           text COLLATE "C" NOT NULL,
    id                uuid             NOT NULL,
    pod               text             NOT NULL,
    namespace         text,
    container         text,
    created_by        jsonb            NOT NULL,
    created_at        timestamptz      NOT NULL,
    -- What the session's conversation continues with: of the `linked` with the latest command.
    claude_session_id  uuid,
    linked_stream      text COLLATE "C",
    linked_command_seq bigint,
    ended_by          jsonb,
    ended_at          timestamptz,
    PRIMARY KEY (project, id)
);

CREATE INDEX sessions_listing ON sessions (project, created_at DESC, id DESC);

CREATE TABLE execs (
    project           text COLLATE "C" NOT NULL,
    session           uuid             NOT NULL,
    stream            text COLLATE "C" NOT NULL,

    -- Of `command`. Null where retention had removed it before it was read.
    kind              text,
    command           text,
    prompt            text,
    args              text[],
    cwd               text,
    timeout_seconds   bigint,
    requested_by      jsonb,
    -- When the stream of the log that holds it was created: sequences compare only within one.
    log_created_at    timestamptz      NOT NULL,
    command_seq       bigint,
    created_at        timestamptz      NOT NULL,

    -- Of `started` and `resumed`.
    attempts          integer          NOT NULL DEFAULT 0,
    executor          text,
    argv              text[],
    resume_id         uuid,
    pod               jsonb,
    started_at        timestamptz,

    -- Of the last `result` that the Claude CLI printed, as it printed it: whether cost is per run or
    -- cumulative over resumes depends on the CLI's version.
    result            text,
    result_subtype    text,
    result_is_error   boolean,
    total_cost_usd    numeric,
    usage             jsonb,
    model_usage       jsonb,

    -- Of `complete`.
    complete_seq      bigint,
    completed_at      timestamptz,
    outcome           text,
    exit_code         integer,
    ok                boolean,
    signal            integer,
    reason            text,
    duration_ms       bigint,
    stdout_bytes      bigint,
    stderr_bytes      bigint,
    stdout_sha256     text,
    stderr_sha256     text,
    claude_session_id text,
    conversation_id   text,
    PRIMARY KEY (project, session, stream)
);

CREATE INDEX execs_listing ON execs (project, session, created_at DESC, stream DESC);

CREATE TABLE conversations (
    project           text COLLATE "C" NOT NULL,
    id                uuid             NOT NULL,
    session           uuid             NOT NULL,
    title             text             NOT NULL,
    -- Of the exec with the latest command; the two columns below say which that is.
    claude_session_id uuid             NOT NULL,
    log_created_at    timestamptz      NOT NULL,
    command_seq       bigint           NOT NULL,
    created_at        timestamptz      NOT NULL,
    updated_at        timestamptz      NOT NULL,
    PRIMARY KEY (project, id)
);

CREATE INDEX conversations_listing ON conversations (project, created_at DESC, id DESC);

CREATE TABLE messages (
    project           text COLLATE "C" NOT NULL,
    id                uuid             NOT NULL,
    conversation      uuid             NOT NULL,
    session           uuid             NOT NULL,
    stream            text COLLATE "C" NOT NULL,
    role              text             NOT NULL,
    content           text             NOT NULL,
    -- The order of a conversation: by command, the prompt before its answer. A prompt that was
    -- asked while the one before it was running still comes after that one's answer.
    turn_at           timestamptz      NOT NULL,
    ordinal           smallint         NOT NULL,
    created_at        timestamptz      NOT NULL,
    PRIMARY KEY (project, id)
);

CREATE INDEX messages_listing ON messages (project, conversation, turn_at, stream, ordinal);

-- Parts of a claude line too long for one message, until its last part is here. A part holds a piece
-- of JSON text, kept as bytes.
CREATE TABLE fragments (
    project           text COLLATE "C" NOT NULL,
    session           uuid             NOT NULL,
    stream            text COLLATE "C" NOT NULL,
    part              bigint           NOT NULL,
    content           bytea            NOT NULL,
    PRIMARY KEY (project, session, stream, part)
);

-- Up to where each stream of the log is in these tables. Moved by compare-and-set in the transaction
-- that writes the rows, which is what makes each message count exactly once.
CREATE TABLE positions (
    log               text        NOT NULL PRIMARY KEY,
    -- A stream that was created anew begins at 1 again and is another one.
    log_created_at    timestamptz NOT NULL,
    sequence          bigint      NOT NULL,
    -- For people; the only clock reading of this database.
    moved_at          timestamptz NOT NULL DEFAULT now()
);

-- Messages that could not be read or stored. They hold nobody up and are not forgotten either.
CREATE TABLE poison (
    log               text        NOT NULL,
    log_created_at    timestamptz NOT NULL,
    sequence          bigint      NOT NULL,
    subject           text        NOT NULL,
    payload           bytea       NOT NULL,
    stored_at         timestamptz NOT NULL,
    reason            text        NOT NULL,
    PRIMARY KEY (log, log_created_at, sequence)
);
