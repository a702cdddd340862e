//! What became of an exec, fact by fact: asked for, admitted, started, taken over, canceled, complete.
//!
//! Read from the log, or from the archive behind it, which tells of several take-overs the last one.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use rdev_bus::{LogStream, Stored};
use rdev_contract::control::Order;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{Kind, event_name};
use rdev_contract::http::{FactView, Page};
use rdev_contract::id::ExecId;
use rdev_contract::subject::{Subject, parse_exec};
use serde_json::{Value, json};

use crate::history::History;
use crate::problem::ApiError;
use crate::request::InExec;
use crate::state::Gateway;

/// An order of that name is the only one that the timeline tells of.
const CANCEL: &str = "cancel";

/// `GET …/execs/{stream}/timeline`.
pub(crate) async fn of_exec(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
) -> Result<Json<Page<FactView>>, ApiError> {
    let history = gateway.history()?;
    let mut items = facts(&history, &exec).await?;
    let has_ended = items
        .last()
        .is_some_and(|last| last.event == Kind::Complete.token());
    if items.is_empty() && gateway.read_model.exec(&exec).await?.is_none() {
        return Err(ApiError::NotFound("exec"));
    }
    if !has_ended {
        items.extend(cancel(&history, &exec).await?);
    }
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

async fn facts(history: &History, exec: &ExecId) -> Result<Vec<FactView>, ApiError> {
    let mut stored = history.bus().last_of_each_kind(exec).await?;
    if stored
        .iter()
        .any(|message| kind_of(message) == Some(Kind::Resumed))
    {
        stored.retain(|message| kind_of(message) != Some(Kind::Resumed));
        let resumed = Subject::exec(exec, Kind::Resumed).into();
        let bus = history.bus();
        bus.read_through(LogStream::Exec, &resumed, |message| stored.push(message))
            .await?;
    }
    // Facts may expire one by one: where the first is gone, so may others be.
    let is_whole = stored
        .iter()
        .any(|message| kind_of(message) == Some(Kind::Command));
    if !is_whole {
        let held: BTreeSet<_> = stored.iter().map(|message| message.sequence).collect();
        let archived = history.archived_kinds(exec).await?.into_iter();
        stored.extend(archived.filter(|message| !held.contains(&message.sequence)));
    }
    stored.sort_by_key(|message| message.sequence);
    let mut facts = Vec::new();
    for message in &stored {
        if kind_of(message).is_some_and(is_shown) {
            facts.push(fact(&message.value)?);
        }
    }
    Ok(facts)
}

fn kind_of(message: &Recorded<Stored>) -> Option<Kind> {
    let (_, kind) = parse_exec(&message.value.subject).ok()?;
    kind.parse().ok()
}

const fn is_shown(kind: Kind) -> bool {
    match kind {
        Kind::Command | Kind::Admitted | Kind::Started | Kind::Resumed | Kind::Complete => true,
        Kind::Output | Kind::Claude | Kind::Codex | Kind::Approval => false,
    }
}

fn fact(stored: &Stored) -> Result<FactView, ApiError> {
    let message = Message::decode(&stored.payload).map_err(ApiError::internal)?;
    let mut events = message.events.iter();
    let end = events.find(|event| event.name == event_name::COMPLETE);
    let data = message.data.or_else(|| end.and_then(|end| end.data));
    let data = data.map_or("null", |data| data.get());
    let mut data: Value = serde_json::from_str(data).map_err(ApiError::internal)?;
    if message.head.known_kind() == Some(Kind::Command) {
        keep_private(&mut data);
    }
    Ok(FactView {
        event: message.head.kind,
        at: message.head.at,
        attempt: message.head.attempt,
        data,
    })
}

/// What may be long, or is not for everybody who may look, is not shown: only that it was there.
fn keep_private(command: &mut Value) {
    let Some(members) = command.as_object_mut() else {
        return;
    };
    if let Some(stdin) = members.get_mut("stdin") {
        *stdin = Value::Null;
    }
    if let Some(env) = members.get_mut("env").and_then(Value::as_object_mut) {
        env.values_mut().for_each(|value| *value = Value::Null);
    }
}

/// The order to end it, while it is kept.
async fn cancel(history: &History, exec: &ExecId) -> Result<Option<FactView>, ApiError> {
    let orders = history.bus().kept_orders(exec).await?;
    let cancel = orders
        .into_iter()
        .find_map(|order| match order.value.order {
            Order::Cancel { reason } => Some(FactView {
                event: CANCEL.to_owned(),
                at: order.value.at,
                attempt: 0,
                data: json!({ "by": order.value.by, "reason": reason }),
            }),
            Order::Signal { .. }
            | Order::Stdin { .. }
            | Order::Resize { .. }
            | Order::Answer { .. }
            | Order::Unknown => None,
        });
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_environment_stay_where_they_are() {
        let mut command = json!({"type": "shell", "command": "x", "stdin": "s", "env": {"A": "b"}});
        keep_private(&mut command);
        assert_eq!(
            command,
            json!({"type": "shell", "command": "x", "stdin": null, "env": {"A": null}})
        );
    }
}
