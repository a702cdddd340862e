-- How sessions get their pods, how long they live, and why they ended. Adds only: a build that knows
-- V6 alone goes on as before; where a pod is chosen by labels it shows an empty name.

ALTER TABLE sessions
    -- Of `created`. `pod` is '' until one was chosen.
    ADD COLUMN template             text,
    ADD COLUMN selector             jsonb,
    ADD COLUMN idle_timeout_seconds bigint,
    ADD COLUMN expires_at           timestamptz,
    -- Of the last `pod`.
    ADD COLUMN pod_state            text,
    ADD COLUMN pod_message          text,
    -- Of the last `idle_warning`.
    ADD COLUMN idle_ends_at         timestamptz,
    -- Of `ended`; null where an earlier version ended it.
    ADD COLUMN ended_reason         text;
