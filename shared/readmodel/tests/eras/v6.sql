-- What builds that know V6 send beside the statements of V1, of that which later builds send in another
-- form. Never changed: such a build may be running beside a newer one.

-- SESSIONS_OF_V6
SELECT id, pod, namespace, container, claude_session_id, codex_session_id, created_at,
ended_at
FROM sessions WHERE project = $1 AND (created_at, id) < ($2, $3) AND created_at >= $4
ORDER BY created_at DESC, id DESC LIMIT $5;
