//! The JSON Schemas of these bodies, for the OpenAPI document.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::{
    AnswerRequest, ApprovalView, ConversationView, CreateSession, CreateTicket, EventsPage,
    ExecAccepted, ExecRequest, ExecView, FactView, MessageView, Page, Problem, ProjectUsage,
    ProjectView, ScreenView, SessionView, SignalRequest, StdinAccepted, TerminalRequest,
    TicketMade,
};
use crate::key::{CreateKey, KeyList, KeyMade, RotateKey};

/// By name, as in `#/components/schemas/{name}`.
#[must_use]
pub fn components() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut taken = settings.clone().for_deserialize().into_generator();
    let mut given = settings.for_serialize().into_generator();
    for add in REQUESTS {
        add(&mut taken);
    }
    for add in ANSWERS {
        add(&mut given);
    }
    let mut all = taken.take_definitions(true);
    all.append(&mut given.take_definitions(true));
    Value::Object(all)
}

type Add = fn(&mut SchemaGenerator);

/// Of these clients may leave out what has a default.
const REQUESTS: [Add; 8] = [
    add::<AnswerRequest>,
    add::<CreateKey>,
    add::<CreateSession>,
    add::<CreateTicket>,
    add::<ExecRequest>,
    add::<RotateKey>,
    add::<SignalRequest>,
    add::<TerminalRequest>,
];
const ANSWERS: [Add; 17] = [
    add::<EventsPage>,
    add::<ExecAccepted>,
    add::<ExecView>,
    add::<KeyList>,
    add::<KeyMade>,
    add::<Page<ApprovalView>>,
    add::<Page<ConversationView>>,
    add::<Page<ExecView>>,
    add::<Page<FactView>>,
    add::<Page<MessageView>>,
    add::<Page<ProjectView>>,
    add::<Page<SessionView>>,
    add::<Problem>,
    add::<ProjectUsage>,
    add::<ScreenView>,
    add::<StdinAccepted>,
    add::<TicketMade>,
];

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
}
