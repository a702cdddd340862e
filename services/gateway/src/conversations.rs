//! Conversations and their messages, from the read model.

use axum::Json;
use axum::extract::State;
use rdev_contract::http::{ConversationView, MessageView, Page};
use rdev_readmodel::ReadModel;

use crate::as_of::UpToDate;
use crate::filter::Wanted;
use crate::problem::ApiError;
use crate::request::{InConversation, InProject, Paging};

/// `GET /projects/{project}/conversations`.
pub(crate) async fn list(
    State(read_model): State<ReadModel>,
    InProject(project): InProject,
    wanted: Wanted,
    Paging(page): Paging,
    _: UpToDate,
) -> Result<Json<Page<ConversationView>>, ApiError> {
    let filter = wanted.conversations()?;
    let page = read_model.conversations(&project, &filter, &page).await?;
    Ok(Json(page))
}

/// `GET /projects/{project}/conversations/{conversation}`.
pub(crate) async fn get(
    State(read_model): State<ReadModel>,
    InConversation(project, conversation): InConversation,
    _: UpToDate,
) -> Result<Json<ConversationView>, ApiError> {
    let found = read_model.conversation(&project, conversation).await?;
    found.map(Json).ok_or(ApiError::NotFound("conversation"))
}

/// `GET /projects/{project}/conversations/{conversation}/messages`.
pub(crate) async fn messages(
    State(read_model): State<ReadModel>,
    InConversation(project, conversation): InConversation,
    Paging(page): Paging,
    _: UpToDate,
) -> Result<Json<Page<MessageView>>, ApiError> {
    let messages = read_model.messages(&project, conversation, &page).await?;
    if messages.items.is_empty()
        && read_model
            .conversation(&project, conversation)
            .await?
            .is_none()
    {
        return Err(ApiError::NotFound("conversation"));
    }
    Ok(Json(messages))
}
