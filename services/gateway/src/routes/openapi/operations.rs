//! What each route does, takes and answers, beside what its access says.

use axum::http::Method;

use crate::routes;

/// One route.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Keys of `parameters`, without those of the path.
    pub(super) query: &'static [&'static str],
    pub(super) body: Option<Body>,
    /// What it answers when it is done.
    pub(super) answers: &'static [(u16, &'static str, Answer)],
    /// Statuses of problems, beside those of its access, body and query.
    pub(super) problems: &'static [u16],
}

/// What a request brings; names are those of schemas.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    Json(&'static str),
    /// Or none.
    OptionalJson(&'static str),
    Bytes,
}

/// What an answer brings.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Empty,
    Json(&'static str),
    AnyJson,
    Schema,
    Html,
    Page,
    Bytes,
    Screen,
    Events,
}

const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation(Method::GET, path, id, summary)
}

const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation(Method::POST, path, id, summary)
}

const fn operation(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        id,
        summary,
        query: &[],
        body: None,
        answers: &[],
        problems: &[],
    }
}

impl Operation {
    const fn query(mut self, query: &'static [&'static str]) -> Self {
        self.query = query;
        self
    }

    const fn takes(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    const fn answers(mut self, answers: &'static [(u16, &'static str, Answer)]) -> Self {
        self.answers = answers;
        self
    }

    const fn problems(mut self, problems: &'static [u16]) -> Self {
        self.problems = problems;
        self
    }
}

const EVENTS_QUERY: &[&str] = &[
    "last_event_id_header",
    "last_event_id",
    "tail",
    "strict",
    "stderr",
    "times",
    "wait",
];
const SESSION_EVENTS_QUERY: &[&str] = &[
    "stream_id",
    "last_event_id_header",
    "last_event_id",
    "tail",
    "strict",
    "stderr",
    "times",
    "wait",
];
const EVENTS: &[(u16, &str, Answer)] = &[
    (
        200,
        "The events, in the form that `Accept` asks for.",
        Answer::Events,
    ),
    (
        204,
        "The exec is complete, and its end was seen.",
        Answer::Empty,
    ),
];
const TO_CONSOLE: &[(u16, &str, Answer)] = &[(307, "It is there.", Answer::Empty)];
const PAGE: &[(u16, &str, Answer)] = &[
    (200, "The file.", Answer::Page),
    (304, "It is as it was: `If-None-Match`.", Answer::Empty),
];
const ORDERED: &[(u16, &str, Answer)] =
    &[(202, "The order is in the log.", Answer::Json("ExecView"))];

pub(super) const OPERATIONS: &[Operation] = &[
    get(routes::ROOT, "root", "Leads to the console.").answers(TO_CONSOLE),
    get(routes::CONSOLE_BARE, "bareConsole", "Leads to the console.").answers(TO_CONSOLE),
    get(
        routes::CONSOLE,
        "console",
        "The console, a page for people.",
    )
    .answers(PAGE),
    get(
        routes::CONSOLE_FILE,
        "consoleFile",
        "A file of the console.",
    )
    .answers(PAGE)
    .problems(&[404]),
    get(
        routes::CONSOLE_PART,
        "consolePart",
        "A file of the console.",
    )
    .answers(PAGE)
    .problems(&[404]),
    get(routes::HEALTH, "alive", "The process lives.").answers(&[(
        200,
        "It does.",
        Answer::AnyJson,
    )]),
    get(
        routes::READY,
        "ready",
        "Whether it can work, and what it lacks.",
    )
    .answers(&[
        (200, "It can.", Answer::AnyJson),
        (503, "It cannot.", Answer::AnyJson),
    ]),
    get(routes::OPENAPI, "openapi", "This document.").answers(&[(
        200,
        "OpenAPI 3.1.",
        Answer::AnyJson,
    )]),
    get(routes::DOCS, "docs", "This document, for people.").answers(&[(
        200,
        "A page.",
        Answer::Html,
    )]),
    get(routes::ASYNCAPI, "asyncapi", "What consumers find on NATS.").answers(&[(
        200,
        "AsyncAPI 3.",
        Answer::AnyJson,
    )]),
    get(
        routes::SCHEMAS,
        "listSchemas",
        "The schemas of messages and events.",
    )
    .answers(&[(200, "All of them.", Answer::AnyJson)]),
    get(routes::SCHEMA, "getSchema", "One schema.")
        .answers(&[(200, "A JSON Schema.", Answer::Schema)])
        .problems(&[404]),
    post(routes::KEYS, "createKey", "Makes a key; it is shown once.")
        .takes(Body::Json("CreateKey"))
        .answers(&[(201, "The key.", Answer::Json("KeyMade"))]),
    get(routes::KEYS, "listKeys", "The keys, without their secrets.").answers(&[(
        200,
        "All of them.",
        Answer::Json("KeyList"),
    )]),
    operation(
        Method::DELETE,
        routes::KEY,
        "revokeKey",
        "Revokes a key; twice is once.",
    )
    .answers(&[(
        200,
        "It is good for nothing any more.",
        Answer::Json("KeyView"),
    )]),
    post(
        routes::KEY_ROTATE,
        "rotateKey",
        "A new secret; the former one is good for a grace.",
    )
    .takes(Body::OptionalJson("RotateKey"))
    .answers(&[(200, "The new key.", Answer::Json("KeyMade"))])
    .problems(&[409]),
    get(
        routes::PROJECTS,
        "listProjects",
        "The projects that the key is good for, by name.",
    )
    .query(&["limit", "cursor"])
    .answers(&[(200, "A page.", Answer::Json("ProjectViewPage"))]),
    post(
        routes::SESSIONS,
        "createSession",
        "A session: a pod, and the conversation held in it.",
    )
    .takes(Body::Json("CreateSession"))
    .answers(&[(201, "The session.", Answer::Json("SessionView"))]),
    get(routes::SESSIONS, "listSessions", "Sessions, newest first.")
        .query(&[
            "limit",
            "cursor",
            "since",
            "until",
            "status_of_session",
            "as_of",
        ])
        .answers(&[(200, "A page.", Answer::Json("SessionViewPage"))]),
    get(routes::SESSION, "getSession", "One session.").answers(&[(
        200,
        "The session.",
        Answer::Json("SessionView"),
    )]),
    operation(
        Method::DELETE,
        routes::SESSION,
        "endSession",
        "No new exec from here on; twice is once.",
    )
    .query(&["cancel"])
    .answers(&[(200, "The session.", Answer::Json("SessionView"))]),
    post(
        routes::EXEC,
        "exec",
        "Runs a command. The same stream id and body again run nothing.",
    )
    .query(&["idempotency_key"])
    .takes(Body::Json("ExecRequest"))
    .answers(&[
        (201, "It is in the log.", Answer::Json("ExecAccepted")),
        (200, "It was before.", Answer::Json("ExecAccepted")),
    ])
    .problems(&[409]),
    get(
        routes::EVENTS,
        "sessionEvents",
        "The events of an exec, or of all execs of the session.",
    )
    .query(SESSION_EVENTS_QUERY)
    .answers(EVENTS)
    .problems(&[410]),
    post(
        routes::TICKETS,
        "createTicket",
        "Lets a browser open one stream of events.",
    )
    .takes(Body::OptionalJson("CreateTicket"))
    .answers(&[(201, "The ticket.", Answer::Json("TicketMade"))]),
    get(
        routes::EXECS,
        "listExecs",
        "Execs of a session, newest first.",
    )
    .query(&[
        "limit",
        "cursor",
        "since",
        "until",
        "status_of_exec",
        "outcome",
        "as_of",
    ])
    .answers(&[(200, "A page.", Answer::Json("ExecViewPage"))]),
    get(
        routes::EXEC_VIEW,
        "getExec",
        "One exec, at once or as soon as it has ended.",
    )
    .query(&["wait"])
    .answers(&[(200, "The exec.", Answer::Json("ExecView"))]),
    get(routes::EXEC_EVENTS, "execEvents", "The events of an exec.")
        .query(EVENTS_QUERY)
        .answers(EVENTS)
        .problems(&[410]),
    post(
        routes::CANCEL,
        "cancelExec",
        "Ends an exec and all its processes.",
    )
    .answers(ORDERED)
    .problems(&[409]),
    post(
        routes::SIGNAL,
        "signalExec",
        "Sends a signal to all processes of an exec.",
    )
    .takes(Body::Json("SignalRequest"))
    .answers(ORDERED)
    .problems(&[409]),
    post(
        routes::STDIN,
        "writeStdin",
        "Gives an exec a piece of standard input.",
    )
    .query(&["offset", "end"])
    .takes(Body::Bytes)
    .answers(&[(202, "It is in the log.", Answer::Json("StdinAccepted"))])
    .problems(&[409]),
    post(
        routes::RESIZE,
        "resizeTerminal",
        "Another size for the terminal of an exec.",
    )
    .takes(Body::Json("TerminalRequest"))
    .answers(ORDERED)
    .problems(&[409]),
    get(
        routes::APPROVALS,
        "listApprovals",
        "What the agent of an exec has asked.",
    )
    .query(&["status_of_approval"])
    .answers(&[(200, "All of it.", Answer::Json("ApprovalViewPage"))]),
    get(
        routes::SESSION_APPROVALS,
        "listSessionApprovals",
        "What the agents of a session have asked.",
    )
    .query(&["status_of_approval"])
    .answers(&[(200, "All of it.", Answer::Json("ApprovalViewPage"))]),
    post(
        routes::APPROVAL,
        "answerApproval",
        "Lets an agent use a tool, or not.",
    )
    .takes(Body::Json("AnswerRequest"))
    .answers(&[
        (
            202,
            "The answer is in the log.",
            Answer::Json("ApprovalView"),
        ),
        (200, "It was before.", Answer::Json("ApprovalView")),
    ])
    .problems(&[409]),
    get(
        routes::OUTPUT,
        "getOutput",
        "The exact bytes that an exec printed.",
    )
    .query(&["output_of", "range"])
    .answers(&[
        (200, "All of them.", Answer::Bytes),
        (206, "The range.", Answer::Bytes),
        (304, "What `If-None-Match` names.", Answer::Empty),
    ])
    .problems(&[410, 416]),
    get(
        routes::SCREEN,
        "getScreen",
        "What the terminal of an exec shows.",
    )
    .query(&["at"])
    .answers(&[(200, "The screen.", Answer::Screen)])
    .problems(&[409, 410]),
    get(
        routes::TIMELINE,
        "getTimeline",
        "What became of an exec: asked for, admitted, started, taken over, complete; while it runs, canceled.",
    )
    .answers(&[(200, "All of it.", Answer::Json("FactViewPage"))]),
    get(
        routes::PROJECT_EXECS,
        "listProjectExecs",
        "Execs of all sessions, newest first.",
    )
    .query(&[
        "limit",
        "cursor",
        "since",
        "until",
        "status_of_exec",
        "outcome",
        "session_id",
        "as_of",
    ])
    .answers(&[(200, "A page.", Answer::Json("ExecViewPage"))]),
    get(routes::USAGE, "getUsage", "What agents cost.")
        .query(&["since", "until", "as_of"])
        .answers(&[(200, "The sums.", Answer::Json("ProjectUsage"))]),
    get(
        routes::CONVERSATIONS,
        "listConversations",
        "Conversations, newest first.",
    )
    .query(&["limit", "cursor", "since", "until", "session_id", "as_of"])
    .answers(&[(200, "A page.", Answer::Json("ConversationViewPage"))]),
    get(
        routes::CONVERSATION,
        "getConversation",
        "One conversation with its cost.",
    )
    .query(&["as_of"])
    .answers(&[(200, "The conversation.", Answer::Json("ConversationView"))]),
    get(
        routes::MESSAGES,
        "listMessages",
        "Its messages, oldest first.",
    )
    .query(&["limit", "cursor", "as_of"])
    .answers(&[(200, "A page.", Answer::Json("MessageViewPage"))]),
];
