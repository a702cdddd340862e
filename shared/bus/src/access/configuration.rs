//! The part of a nats-server's configuration that says who is let in, and to what.

use rdev_contract::id::ProjectId;
use rdev_contract::subject::{COPIED, EXEC_STREAM, Filter, SESSION_STREAM};
use serde_json::{Map, Value, json};

use super::copies::{CONSUMERS_MAX, MEMORY_MAX_BYTES, STORE_MAX_BYTES};
use super::{Access, Role, copies, rights};

/// Connections at once, of all consumers of a project.
const CONNECTIONS_MAX: u32 = 100;
/// Core subscriptions at once of one such connection.
const SUBSCRIPTIONS_MAX: u32 = 1000;

/// One more user of the log's account, who may do everything there: for people on their own machine,
/// and for tests.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
    /// Whoever says nothing about who it is is this user.
    pub is_default: bool,
}

impl Access {
    /// The account of all services, and of the log.
    pub const ACCOUNT: &str = "rdev";

    /// The text for the server's configuration file: the accounts and their users.
    #[must_use]
    pub fn configuration(&self, login: Option<&Login>) -> String {
        let mut accounts = Map::new();
        accounts.insert(Self::ACCOUNT.to_owned(), self.services(login));
        for (project, key) in &self.consumers {
            accounts.insert(account_of(project), consumers(project, key));
        }
        let mut text = format!("accounts: {:#}\n", Value::Object(accounts));
        if let Some(login) = login.filter(|login| login.is_default) {
            text += &format!("no_auth_user: {}\n", json!(login.user));
        }
        text
    }

    fn services(&self, login: Option<&Login>) -> Value {
        let user = |(role, key): (&Role, &String)| match rights::of_role(*role) {
            Some(rights) => json!({"nkey": key, "permissions": rights.permissions(key)}),
            None => json!({"nkey": key}),
        };
        let mut users: Vec<_> = self.roles.iter().map(user).collect();
        let of_login = |login: &Login| json!({"user": login.user, "password": login.password});
        users.extend(login.map(of_login));
        let mut exports = vec![json!({"stream": format!("{COPIED}.>")})];
        for stream in [EXEC_STREAM, SESSION_STREAM] {
            exports.push(json!({"service": format!("$JS.API.CONSUMER.CREATE.{stream}.>")}));
            exports.push(json!({"service": format!("$JS.FC.{stream}.>")}));
        }
        let imports = self.consumers.keys().map(|project| {
            json!({
                "service": {"account": account_of(project), "subject": "$JS.API.STREAM.>"},
                "to": format!("{}.STREAM.>", copies::api_of(project)),
            })
        });
        json!({
            "jetstream": "enabled",
            "users": users,
            "exports": exports,
            "imports": imports.collect::<Vec<_>>(),
        })
    }
}

fn account_of(project: &ProjectId) -> String {
    format!("project-{project}")
}

/// The account of a project's consumers: it gets that project's messages from the log's account, and
/// nothing else of that can be reached from it.
fn consumers(project: &ProjectId, public_key: &str) -> Value {
    let service = |subject: String| json!({"account": Access::ACCOUNT, "subject": subject});
    let delivered = format!("{}.>", copies::delivered_to(project));
    let mut imports = vec![json!({"stream": service(delivered)})];
    for (stream, filter) in [
        (EXEC_STREAM, Filter::project_execs(project)),
        (SESSION_STREAM, Filter::project_sessions(project)),
    ] {
        let request = format!("CONSUMER.CREATE.{stream}.*.{filter}");
        imports.push(json!({
            "service": service(format!("$JS.API.{request}")),
            "to": format!("{}.{request}", copies::SOURCE_API),
        }));
        imports.push(json!({"service": service(format!("$JS.FC.{stream}.>"))}));
    }
    json!({
        "jetstream": {
            "max_memory": MEMORY_MAX_BYTES,
            "max_store": STORE_MAX_BYTES,
            "max_streams": 2,
            "max_consumers": CONSUMERS_MAX,
        },
        "limits": {
            "max_connections": CONNECTIONS_MAX,
            "max_subscriptions": SUBSCRIPTIONS_MAX,
        },
        "users": [{
            "nkey": public_key,
            "permissions": rights::of_consumers(project).permissions(public_key),
        }],
        "exports": [{"service": "$JS.API.STREAM.>"}],
        "imports": imports,
    })
}
