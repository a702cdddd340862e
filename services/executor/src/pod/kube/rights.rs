//! Asks the API server what an executor may do in a namespace.

use std::path::Path;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::super::rights::{Review, Right};
use super::{REQUEST_LIMIT, client};

/// What is asked about: the verb, the resource, its subresource, whether nothing works without it, and
/// whether it is only for pods that are made.
const ASKED: [(&str, &str, &str, bool, bool); 8] = [
    ("get", "pods", "", true, false),
    ("list", "pods", "", true, false),
    ("watch", "pods", "", true, false),
    ("get", "pods", "exec", true, false),
    ("create", "pods", "exec", false, false),
    ("get", "secrets", "", false, false),
    ("create", "pods", "", true, true),
    ("delete", "pods", "", true, true),
];

/// See [`crate::review`].
pub(crate) async fn review(
    kubeconfig: Option<&Path>,
    namespace: &str,
    with_templates: bool,
) -> Result<Review, String> {
    let asking = async {
        let config = client::configuration(kubeconfig).await;
        let config = config.map_err(|error| error.to_string())?;
        let client = client::client(&config).map_err(|error| error.to_string())?;
        let version = client.apiserver_version().await;
        let version = version.map_err(|error| error.to_string())?.git_version;
        let mut rights = Vec::new();
        for (verb, resource, subresource, is_needed, is_for_templates) in ASKED {
            if is_for_templates && !with_templates {
                continue;
            }
            let is_allowed = is_allowed(&client, namespace, verb, resource, subresource).await?;
            let resource = match subresource {
                "" => resource.to_owned(),
                subresource => format!("{resource}/{subresource}"),
            };
            rights.push(Right {
                verb,
                resource,
                is_needed,
                is_allowed,
            });
        }
        Ok(Review { version, rights })
    };
    let asked = tokio::time::timeout(REQUEST_LIMIT, asking).await;
    asked.unwrap_or_else(|_| Err("the API server did not answer in time".to_owned()))
}

async fn is_allowed(
    client: &Client,
    namespace: &str,
    verb: &str,
    resource: &str,
    subresource: &str,
) -> Result<bool, String> {
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: (!subresource.is_empty()).then(|| subresource.to_owned()),
        ..ResourceAttributes::default()
    };
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &question).await;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
