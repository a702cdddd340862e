//! What agents ask: whether they may use a tool. Lists of it, and answers.
//!
//! Invariant: of all answers to a question one is stored, whoever gives them: an order names the last
//! one before it, and of two that name the same one the log refuses one.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rdev_bus::{Bus, LogStream, Stored};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{AnsweredBy, Kind};
use rdev_contract::http::{AnswerRequest, ApprovalView, Page};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, Subject, parse_exec};
use rdev_domain::approval::list::{self, AnswerRefused, Question, STATUSES};
use rdev_domain::control;
use serde::Deserialize;

use crate::control::{give, open_exec};
use crate::execs::state_of;
use crate::problem::ApiError;
use crate::request::{By, InApproval, InExec, InSession, Options, StrictJson};
use crate::state::Gateway;

/// Which questions are listed.
#[derive(Deserialize)]
pub(crate) struct ListOptions {
    status: Option<String>,
}

impl ListOptions {
    fn check(&self) -> Result<(), ApiError> {
        match &self.status {
            Some(status) if !STATUSES.contains(&status.as_str()) => {
                let detail = format!("status: give one of {}", STATUSES.join(", "));
                Err(ApiError::invalid("invalid_filter", detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// `GET …/execs/{stream}/approvals`: what the agent of an exec has asked.
pub(crate) async fn of_exec(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    Options(options): Options<ListOptions>,
) -> Result<Json<Page<ApprovalView>>, ApiError> {
    options.check()?;
    let history = gateway.history()?;
    let state = state_of(&history, &exec).await?;
    let has_ended = match state {
        Some(state) => state.complete.is_some(),
        None => match gateway.read_model.exec(&exec).await? {
            Some(_) => true,
            None => return Err(ApiError::NotFound("exec")),
        },
    };
    let mut questions = Vec::new();
    if has_ended {
        questions = asked(history.bus(), &of(&exec)).await?;
    } else {
        let orders = history.bus().kept_orders(&exec).await?;
        questions.extend(asked(history.bus(), &of(&exec)).await?);
        list::with_orders(&mut questions, &exec, &orders);
    }
    let views = questions
        .into_iter()
        .map(|question| list::view(question, has_ended));
    Ok(page(views, &options))
}

/// `GET …/sessions/{session}/approvals`: what the agents of all its execs have asked.
pub(crate) async fn of_session(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    Options(options): Options<ListOptions>,
) -> Result<Json<Page<ApprovalView>>, ApiError> {
    options.check()?;
    gateway.log.session(&project, session).await?;
    let bus = gateway.log.connected()?;
    let kind = |kind| Filter::session_kind(&project, session, kind);
    let mut ended = HashSet::new();
    bus.read_through(LogStream::Exec, &kind(Kind::Complete), |end| {
        ended.extend(parse_exec(&end.value.subject).map(|(exec, _)| exec));
    })
    .await?;
    let mut questions = asked(bus, &kind(Kind::Approval)).await?;
    let unanswered = questions
        .iter()
        .filter(|question| question.answered.is_none() && !ended.contains(&question.exec));
    let open: HashSet<ExecId> = unanswered.map(|question| question.exec.clone()).collect();
    let mut orders = Vec::with_capacity(open.len());
    for exec in open {
        let kept = bus.kept_orders(&exec).await?;
        orders.push((exec, kept));
    }
    if !orders.is_empty() {
        // Again: an order that was gone by then has left its answer in the log.
        questions = asked(bus, &kind(Kind::Approval)).await?;
    }
    for (exec, kept) in &orders {
        list::with_orders(&mut questions, exec, kept);
    }
    let views = questions.into_iter().map(|question| {
        let has_ended = ended.contains(&question.exec);
        list::view(question, has_ended)
    });
    Ok(page(views, &options))
}

fn page(
    views: impl Iterator<Item = ApprovalView>,
    options: &ListOptions,
) -> Json<Page<ApprovalView>> {
    let wanted = options.status.as_deref();
    let is_wanted = |view: &ApprovalView| wanted.is_none_or(|wanted| view.status == wanted);
    Json(Page {
        items: views.filter(is_wanted).collect(),
        next_cursor: None,
    })
}

/// `POST …/execs/{stream}/approvals/{approval}`: answers a question.
pub(crate) async fn answer(
    State(gateway): State<Gateway>,
    InApproval(exec, approval_id): InApproval,
    By(by): By,
    StrictJson(request): StrictJson<AnswerRequest>,
) -> Result<Response, ApiError> {
    let answer = list::parse_answer(request)?;
    let bus = gateway.log.connected()?;
    let mut is_noted = false;
    loop {
        let state = open_exec(&gateway, &exec).await?;
        // Orders first: one that is gone by now has left its answer in the log.
        let orders = bus.kept_orders(&exec).await?;
        let mut questions = asked(bus, &of(&exec)).await?;
        list::with_orders(&mut questions, &exec, &orders);
        let last = orders.last();
        let after = last.map_or(StreamSeq(0), |last| last.sequence);
        let at_first = control::given_with(&state.command.spec);
        let before = last.map_or(at_first, |last| last.value.given);
        let client = AnsweredBy::Client;
        let Some(addition) = list::answer(&questions, &before, &approval_id, &answer, client)?
        else {
            return shown(questions, &approval_id, StatusCode::OK);
        };
        let stored = give(bus, &state, &by, after, &before, addition, &mut is_noted).await?;
        if let Some(stored) = stored {
            list::with_orders(&mut questions, &exec, &[stored]);
            return shown(questions, &approval_id, StatusCode::ACCEPTED);
        }
    }
}

fn shown(
    questions: Vec<Question>,
    approval_id: &str,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let question = questions
        .into_iter()
        .find(|question| question.approval.approval_id == approval_id);
    let question = question.ok_or(ApiError::NotFound("approval"))?;
    Ok((status, Json(list::view(question, false))).into_response())
}

fn of(exec: &ExecId) -> Filter {
    Subject::exec(exec, Kind::Approval).into()
}

/// The questions that these messages hold.
async fn asked(bus: &Bus, filter: &Filter) -> Result<Vec<Question>, ApiError> {
    let mut stored: Vec<Recorded<Stored>> = Vec::new();
    bus.read_through(LogStream::Exec, filter, |message| stored.push(message))
        .await?;
    let mut questions = Vec::new();
    for Recorded { value, .. } in &stored {
        let message = Message::decode(&value.payload).map_err(ApiError::internal)?;
        list::take(&mut questions, &message).map_err(ApiError::internal)?;
    }
    Ok(questions)
}

impl From<AnswerRefused> for ApiError {
    fn from(refused: AnswerRefused) -> Self {
        let (code, detail) = match refused {
            AnswerRefused::Unknown => return Self::NotFound("approval"),
            AnswerRefused::Answered => (
                "already_answered",
                "it was answered otherwise: by a client, by a time-out, or taken back by the agent",
            ),
            AnswerRefused::Canceled => (
                "exec_canceled",
                "the exec is being canceled: nothing is asked any more",
            ),
        };
        Self::Conflict { code, detail }
    }
}
