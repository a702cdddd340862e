//! Statements of an audit. They are made from the catalog's tables and columns, so that a table or
//! a column that a migration adds is compared, kept and swapped without a word here.
//!
//! Three schemas: `live` is in use; `image` has copies of its tables as they were at one moment;
//! `fold` is filled from the log.

use crate::scratch::{Column, Schemas, Table};

/// One audit at a time, by schema.
pub(crate) const AUDIT_LOCK: &str =
    "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/rdev-audit', 0))";

pub(crate) const CURRENT_SCHEMA: &str = "SELECT current_schema()::text";

/// A schema's tables with their columns, in order.
pub(crate) const COLUMNS: &str = "SELECT c.relname::text AS table_name,
        a.attname::text AS column_name, format_type(a.atttypid, a.atttypmod) AS column_type,
        coalesce(a.attnum = ANY (i.indkey), false) AS is_key
     FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
     WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attgenerated = ''
     ORDER BY c.relname, a.attnum";

/// Who else may do what with a schema's tables; no name is everybody.
pub(crate) const GRANTS: &str = "SELECT c.relname::text AS table_name,
        acl.privilege_type, acl.is_grantable, quote_ident(r.rolname) AS grantee
     FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL aclexplode(c.relacl) acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
     WHERE n.nspname = $1 AND c.relkind = 'r' AND acl.grantee <> c.relowner";

/// A swap waits no longer than this for readers and writers: others wait behind it.
pub(crate) const SWAP_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '3s'";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

fn listed<'a>(columns: impl IntoIterator<Item = &'a Column>, alias: &str) -> String {
    let names: Vec<_> = columns
        .into_iter()
        .map(|column| format!("{alias}{}", quoted(&column.name)))
        .collect();
    names.join(", ")
}

fn joined(table: &Table) -> String {
    let keys: Vec<_> = table
        .keys()
        .map(|key| {
            let name = quoted(&key.name);
            format!("l.{name} = f.{name}")
        })
        .collect();
    keys.join(" AND ")
}

fn differ(table: &Table) -> String {
    format!(
        "ROW({}) IS DISTINCT FROM ROW({})",
        listed(&table.columns, "l."),
        listed(&table.columns, "f.")
    )
}

pub(crate) fn schema_made(schema: &str) -> String {
    format!(
        "{}; CREATE SCHEMA {}",
        schema_dropped(schema),
        quoted(schema)
    )
}

pub(crate) fn schema_dropped(schema: &str) -> String {
    format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema))
}

/// A copy of a live table in the shape of the folded one; empty if there is no live one.
pub(crate) fn imaged(schemas: &Schemas, table: &Table, live: Option<&Table>) -> String {
    let copy = qualified(&schemas.image, &table.name);
    let Some(live) = live else {
        return format!(
            "CREATE UNLOGGED TABLE {copy} AS SELECT {} FROM {} WITH NO DATA",
            listed(&table.columns, ""),
            qualified(&schemas.fold, &table.name)
        );
    };
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|column| {
            let name = quoted(&column.name);
            if live.columns.iter().any(|found| found.name == column.name) {
                name
            } else {
                format!("NULL::{} AS {name}", column.type_name)
            }
        })
        .collect();
    format!(
        "CREATE UNLOGGED TABLE {copy} AS SELECT {} FROM {}",
        columns.join(", "),
        qualified(&schemas.live, &table.name)
    )
}

/// Where findings go, what each log still holds, the execs that were folded from the archive, and those
/// of which neither has more than a part.
pub(crate) fn notes_made(schemas: &Schemas) -> String {
    let image = quoted(&schemas.image);
    format!(
        "CREATE UNLOGGED TABLE {image}.audit_logs (log text PRIMARY KEY, holds_sessions boolean,
            created_at timestamptz, first bigint, oldest timestamptz);
         CREATE UNLOGGED TABLE {image}.audit_archived (project text COLLATE \"C\", session uuid,
            stream text COLLATE \"C\", PRIMARY KEY (project, session, stream));
         CREATE UNLOGGED TABLE {image}.audit_expired (project text COLLATE \"C\", session uuid,
            stream text COLLATE \"C\", PRIMARY KEY (project, session, stream));
         CREATE UNLOGGED TABLE {image}.audit_found (table_name text, what text, expired boolean,
            key jsonb, columns text[])"
    )
}

pub(crate) fn log_noted(schemas: &Schemas) -> String {
    format!(
        "INSERT INTO {}.audit_logs (log, holds_sessions, created_at, first, oldest)
         VALUES ($1, $2, $3, $4, $5)",
        quoted(&schemas.image)
    )
}

pub(crate) fn archived_noted(schemas: &Schemas) -> String {
    format!(
        "INSERT INTO {}.audit_archived (project, session, stream)
         SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[]) ON CONFLICT DO NOTHING",
        quoted(&schemas.image)
    )
}

/// An exec's messages expire in their order, so one whose first is gone is known in part at most.
pub(crate) fn expired_noted(schemas: &Schemas) -> String {
    let image = quoted(&schemas.image);
    format!(
        "INSERT INTO {image}.audit_expired (project, session, stream)
         SELECT e.project, e.session, e.stream FROM {image}.execs e, {image}.audit_logs g
         WHERE NOT g.holds_sessions AND (e.log_created_at <> g.created_at
            OR coalesce(e.command_seq, e.complete_seq) < g.first OR e.created_at < g.oldest)
            AND NOT EXISTS (SELECT FROM {image}.audit_archived a WHERE a.project = e.project
                AND a.session = e.session AND a.stream = e.stream)"
    )
}

/// Whether the log no longer holds what made the live row `l`.
fn is_expired(schemas: &Schemas, table: &Table) -> String {
    let image = quoted(&schemas.image);
    let has = |name: &str| table.columns.iter().any(|column| column.name == name);
    if has("log") && has("log_created_at") && has("sequence") && has("stored_at") {
        return format!(
            "EXISTS (SELECT FROM {image}.audit_logs g WHERE g.log = l.log
                AND (l.log_created_at <> g.created_at OR l.sequence < g.first
                    OR l.stored_at < g.oldest))"
        );
    }
    let of_exec: Vec<_> = ["project", "session", "stream"]
        .into_iter()
        .filter(|name| has(name))
        .map(|name| format!("e.{name} = l.{name}"))
        .collect();
    if of_exec.len() > 1 {
        return format!(
            "EXISTS (SELECT FROM {image}.audit_expired e WHERE {})",
            of_exec.join(" AND ")
        );
    }
    if has("created_at") {
        // Facts of sessions are kept for ever: gone is what another life of their log held.
        return format!(
            "EXISTS (SELECT FROM {image}.audit_logs g
                WHERE g.holds_sessions AND l.created_at < g.created_at)"
        );
    }
    "false".to_owned()
}

/// Notes every row that is not in both, or not the same in both.
pub(crate) fn compared(schemas: &Schemas, table: &Table) -> String {
    let pairs: Vec<_> = table
        .keys()
        .map(|key| {
            let name = quoted(&key.name);
            let text = key.name.replace('\'', "''");
            format!("'{text}', coalesce(l.{name}, f.{name})")
        })
        .collect();
    let changed: Vec<_> = table
        .columns
        .iter()
        .map(|column| {
            let name = quoted(&column.name);
            let text = column.name.replace('\'', "''");
            format!("CASE WHEN l.{name} IS DISTINCT FROM f.{name} THEN '{text}' END")
        })
        .collect();
    let first_key = table
        .keys()
        .next()
        .map_or_else(String::new, |key| quoted(&key.name));
    format!(
        "INSERT INTO {}.audit_found (table_name, what, expired, key, columns)
         SELECT '{}', CASE WHEN l.{first_key} IS NULL THEN 'missing'
                WHEN f.{first_key} IS NULL THEN 'extra' ELSE 'different' END,
            l.{first_key} IS NOT NULL AND {},
            jsonb_build_object({}),
            CASE WHEN l.{first_key} IS NULL OR f.{first_key} IS NULL THEN '{{}}'
                ELSE array_remove(ARRAY[{}], NULL) END
         FROM {} l FULL JOIN {} f ON {}
         WHERE l.{first_key} IS NULL OR f.{first_key} IS NULL OR {}",
        quoted(&schemas.image),
        table.name.replace('\'', "''"),
        is_expired(schemas, table),
        pairs.join(", "),
        changed.join(", "),
        qualified(&schemas.image, &table.name),
        qualified(&schemas.fold, &table.name),
        joined(table),
        differ(table),
    )
}

/// How many rows a table has in the image and in the fold, and what was noted of it.
pub(crate) fn counted(schemas: &Schemas, table: &Table) -> String {
    let found = format!(
        "FROM {}.audit_found WHERE table_name = '{}'",
        quoted(&schemas.image),
        table.name.replace('\'', "''")
    );
    let of = |what: &str| {
        format!("(SELECT count(*) {found} AND NOT expired AND what = '{what}') AS {what}")
    };
    format!(
        "SELECT (SELECT count(*) FROM {}) AS rows, (SELECT count(*) FROM {}) AS folded,
            {}, {}, {}, (SELECT count(*) {found} AND expired) AS expired",
        qualified(&schemas.image, &table.name),
        qualified(&schemas.fold, &table.name),
        of("missing"),
        of("extra"),
        of("different"),
    )
}

pub(crate) fn differences(schemas: &Schemas) -> String {
    format!(
        "SELECT table_name, what, key, columns FROM {}.audit_found WHERE NOT expired
         ORDER BY table_name, what, key LIMIT $1",
        quoted(&schemas.image)
    )
}

/// Rows of which the log holds nothing any more go over as they were.
pub(crate) fn gone_kept(schemas: &Schemas, table: &Table) -> String {
    let first_key = table
        .keys()
        .next()
        .map_or_else(String::new, |key| quoted(&key.name));
    format!(
        "INSERT INTO {fold} ({}) SELECT {} FROM {} l LEFT JOIN {fold} f ON {}
         WHERE f.{first_key} IS NULL AND {}",
        listed(&table.columns, ""),
        listed(&table.columns, "l."),
        qualified(&schemas.image, &table.name),
        joined(table),
        is_expired(schemas, table),
        fold = qualified(&schemas.fold, &table.name),
    )
}

/// Rows of which the log holds a part keep what they had; what they lacked is taken from the log.
pub(crate) fn parts_kept(schemas: &Schemas, table: &Table) -> Option<String> {
    let kept: Vec<_> = table
        .columns
        .iter()
        .filter(|column| !column.is_key)
        .map(|column| {
            let name = quoted(&column.name);
            format!("{name} = coalesce(l.{name}, f.{name})")
        })
        .collect();
    (!kept.is_empty()).then(|| {
        format!(
            "UPDATE {} f SET {} FROM {} l WHERE {} AND {} AND {}",
            qualified(&schemas.fold, &table.name),
            kept.join(", "),
            qualified(&schemas.image, &table.name),
            joined(table),
            differ(table),
            is_expired(schemas, table),
        )
    })
}

/// Holds the projector up, and no reader.
pub(crate) fn positions_locked(schemas: &Schemas) -> String {
    format!(
        "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
        qualified(&schemas.live, "positions")
    )
}

/// The number of the last migration of a schema.
pub(crate) fn version(schema: &str) -> String {
    format!(
        "SELECT coalesce(max(version), 0)::bigint AS version FROM {}",
        qualified(schema, "refinery_schema_history")
    )
}

pub(crate) fn moved(table: &str, from: &str, to: &str) -> String {
    format!(
        "ALTER TABLE {} SET SCHEMA {}",
        qualified(from, table),
        quoted(to)
    )
}

pub(crate) fn granted(
    schema: &str,
    table: &str,
    privilege: &str,
    grantee: Option<&str>,
    is_grantable: bool,
) -> String {
    format!(
        "GRANT {privilege} ON {} TO {}{}",
        qualified(schema, table),
        grantee.unwrap_or("PUBLIC"),
        if is_grantable {
            " WITH GRANT OPTION"
        } else {
            ""
        }
    )
}
