//! The refusals of the API, worded as the real API server and kubelet word them.
//!
//! Clients decide by `code` and `reason`, people read `message`; both were taken from real
//! clusters (1.34, 1.36) and from the sources of the API server.

use serde_json::{Value, json};

/// A refusal: an HTTP status and the body that goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Refusal {
    fn new(code: u16, reason: &str, message: &str, details: Option<Value>) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": message, "reason": reason, "code": code,
        });
        if let Some(details) = details {
            body["details"] = details;
        }
        Self { code, body }
    }

    pub(crate) fn pod_not_found(name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            &format!("pods {name:?} not found"),
            Some(json!({"name": name, "kind": "pods"})),
        )
    }

    pub(crate) fn secret_not_found(name: &str) -> Self {
        let details = json!({"name": name, "kind": "secrets"});
        let message = format!("secrets {name:?} not found");
        Self::new(404, "NotFound", &message, Some(details))
    }

    pub(crate) fn not_found(resource: &str, name: &str) -> Self {
        let message = format!("{resource} {name:?} not found");
        let details = json!({"name": name, "kind": resource});
        Self::new(404, "NotFound", &message, Some(details))
    }

    pub(crate) fn namespace_not_found(name: &str) -> Self {
        let details = json!({"name": name, "kind": "namespaces"});
        Self::new(
            404,
            "NotFound",
            &format!("namespaces {name:?} not found"),
            Some(details),
        )
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
            Some(json!({})),
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            Some(json!({})),
        )
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message, None)
    }

    pub(crate) fn bad_container(container: &str, pod: &str) -> Self {
        Self::bad_request(&format!("container {container} is not valid for pod {pod}"))
    }

    pub(crate) fn container_needed(pod: &str, containers: &[&str]) -> Self {
        let names = containers.join(" ");
        Self::bad_request(&format!(
            "a container name must be specified for pod {pod}, choose one of: [{names}]"
        ))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized", None)
    }

    pub(crate) fn forbidden(verb: &str, resource: &str, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{resource} {name:?} is forbidden: User \"system:serviceaccount:rdev:rdev-executor\" cannot {verb} \
             resource {resource:?} in API group \"\" in the namespace {namespace:?}"
        );
        Self::new(
            403,
            "Forbidden",
            &message,
            Some(json!({"name": name, "kind": resource})),
        )
    }

    pub(crate) fn already_exists(name: &str) -> Self {
        let details = json!({"name": name, "kind": "pods"});
        let message = format!("pods {name:?} already exists");
        Self::new(409, "AlreadyExists", &message, Some(details))
    }

    pub(crate) fn other_uid(name: &str, asked: &str, found: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on Pod {name:?}: the UID in the precondition ({asked}) does \
             not match the UID in record ({found}). The object might have been deleted and then recreated"
        );
        let details = json!({"name": name, "kind": "pods"});
        Self::new(409, "Conflict", &message, Some(details))
    }

    pub(crate) fn invalid(name: &str, field: &str, why: &str) -> Self {
        let message = format!("Pod {name:?} is invalid: {field}: {why}");
        let causes = json!([{"reason": "FieldValueInvalid", "message": why, "field": field}]);
        let details = json!({"name": name, "kind": "Pod", "causes": causes});
        Self::new(422, "Invalid", &message, Some(details))
    }

    pub(crate) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            &format!("too old resource version: {asked} ({oldest})"),
            None,
        )
    }

    /// What a test told the API to answer instead of running anything.
    pub(crate) fn told(code: u16) -> Self {
        match code {
            503 => Self::new(
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
                Some(json!({})),
            ),
            429 => Self::new(
                429,
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
                Some(json!({"retryAfterSeconds": 1})),
            ),
            _ => Self::internal(
                "error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused",
            )
            .with_code(code),
        }
    }

    pub(crate) fn internal(cause: &str) -> Self {
        let details = json!({"causes": [{"message": cause}]});
        Self::new(
            500,
            "InternalError",
            &format!("Internal error occurred: {cause}"),
            Some(details),
        )
    }

    fn with_code(mut self, code: u16) -> Self {
        self.code = code;
        self.body["code"] = json!(code);
        self
    }

    /// The same refusal as it travels on the status channel of an exec: without a kind, because
    /// the API server does not set one there.
    pub(crate) fn on_channel(mut self) -> Value {
        if let Some(body) = self.body.as_object_mut() {
            body.remove("kind");
            body.remove("apiVersion");
        }
        self.body
    }
}

/// The status of an exec that ended well, or that the API server takes for one.
pub(crate) fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// The status of an exec that ended with another code than 0. It has no `code` of its own.
pub(crate) fn exit_code(code: i32, cause: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: {cause}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}
