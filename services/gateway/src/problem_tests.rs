//! How each error is told.

use axum::body::to_bytes;

use super::*;

fn every() -> Vec<ApiError> {
    let stream = || "one".parse::<StreamId>().unwrap();
    vec![
        ApiError::NoSuchRoute,
        ApiError::MethodNotAllowed,
        ApiError::NotFound("session"),
        ApiError::NoSuchProject,
        ApiError::invalid("invalid_query", "no"),
        ApiError::Conflict {
            code: "stream_id_in_use",
            detail: "no",
        },
        ApiError::StdinRefused(StdinRefused::Gap { next_offset: 3 }),
        ApiError::StdinRefused(StdinRefused::Closed { next_offset: 3 }),
        ApiError::StdinFull { next_offset: 3 },
        ApiError::OrdersFull,
        ApiError::StdinTooLarge,
        ApiError::BodyTooLarge,
        ApiError::CommandTooLarge,
        ApiError::BodyTimeout,
        ApiError::UnsupportedMediaType,
        ApiError::UnsupportedEncoding,
        ApiError::Expired {
            requested: 3,
            first_available: Some(FirstAvailable {
                number: 9,
                before: "20-8-0123abcd".parse().unwrap(),
            }),
        },
        ApiError::OutputExpired {
            requested: 0,
            first_available: Some(7),
        },
        ApiError::BehindEnd { total: 5 },
        ApiError::LogUnavailable,
        ApiError::TooManyStreams,
        ApiError::QueueFull {
            queue_max: 9,
            stream: stream(),
        },
        ApiError::CommandNotStored {
            code: "log_full",
            detail: "no",
            stream: stream(),
        },
        ApiError::CommandUnknown { stream: stream() },
        ApiError::OutcomeUnknown,
        ApiError::ReadModelUnavailable,
        ApiError::NotProjected,
        Refusal::Unauthenticated.into(),
        Refusal::Invalid("no".to_owned()).into(),
        Refusal::OtherProject.into(),
        Refusal::NoSuchKey.into(),
        Refusal::Scope(rdev_contract::key::Scope::Exec).into(),
        Refusal::Beyond.into(),
        Refusal::TooFast(1).into(),
        Refusal::TooManyStreams(1).into(),
        Refusal::IssuerAway.into(),
        Refusal::ForeignHost.into(),
        Refusal::ForeignOrigin.into(),
        ApiError::Internal,
    ]
}

async fn told(error: ApiError) -> (Response, Problem) {
    let response = error.into_response();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let problem = serde_json::from_slice(&body).unwrap();
    (
        Response::from_parts(parts, axum::body::Body::empty()),
        problem,
    )
}

#[tokio::test]
async fn every_error_is_a_problem() {
    for error in every() {
        let (code, detail) = (error.code(), error.to_string());
        let (response, problem) = told(error).await;
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(problem.status, response.status().as_u16());
        assert_eq!(
            (problem.code.as_str(), problem.kind.as_str()),
            (code, "about:blank")
        );
        assert_eq!(problem.detail, detail);
        assert!(!problem.title.is_empty() && !problem.detail.is_empty());
    }
}

#[tokio::test]
async fn a_503_says_when_to_try_again_and_whether_something_happened() {
    for error in every() {
        let retryable = error.is_retryable();
        let (response, problem) = told(error).await;
        assert_eq!(
            response.headers().contains_key(header::RETRY_AFTER),
            retryable
        );
        let is_503 = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(
            problem.outcome_unknown.is_some(),
            is_503,
            "{}",
            problem.code
        );
        assert!(!is_503 || retryable);
        assert_eq!(
            problem.outcome_unknown == Some(true),
            problem.code == "outcome_unknown"
        );
    }
}

#[tokio::test]
async fn the_stream_id_to_try_again_with_is_named() {
    let stream: StreamId = "one".parse().unwrap();
    let (_, problem) = told(ApiError::CommandUnknown { stream }).await;
    assert_eq!(problem.stream_id.as_deref(), Some("one"));
    assert_eq!(problem.outcome_unknown, Some(true));
}
