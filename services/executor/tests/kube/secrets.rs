//! Secrets of a project, and of others.

use rdev_contract::id::{ProjectId, SecretName};
use rdev_executor::pod::kube::KubeBackend;
use rdev_executor::pod::{Backend, PodError, PodIdentity};

use crate::{identity, one_pod};

async fn secret(
    backend: &KubeBackend,
    pod: &PodIdentity,
    name: &str,
) -> Result<Vec<(String, Vec<u8>)>, PodError> {
    let project: ProjectId = "demo".parse().expect("a project");
    let name: SecretName = name.parse().expect("a name");
    let values = backend.secret(&project, pod, &name).await?;
    let plain = values.into_iter().map(|(key, value)| (key, value.0));
    Ok(plain.collect())
}

#[tokio::test]
async fn a_project_reads_its_own_secrets_alone() {
    const LABEL: &str = "rdev.dev/project";
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    standin.add_secret(("default", "own"), (LABEL, "demo"), ("token", "czNjcmV0"));
    standin.add_secret(("default", "foreign"), (LABEL, "other"), ("token", "eA=="));
    standin.add_secret(("default", "plain"), ("app", "demo"), ("token", "eA=="));
    standin.add_secret(("elsewhere", "far"), (LABEL, "demo"), ("token", "eA=="));
    let own = secret(&backend, &pod, "own").await.expect("its own");
    assert_eq!(own, [("token".to_owned(), b"s3cret".to_vec())]);
    // One that is another's and one that is not there cannot be told apart.
    for name in ["foreign", "plain", "far", "none"] {
        let error = secret(&backend, &pod, name).await.expect_err("refused");
        let words = format!(
            "there is no Secret {name} with the label {LABEL}=demo in the namespace default"
        );
        assert_eq!(error, PodError::Refused(words));
    }
    standin.forbid("default", "secrets");
    let error = secret(&backend, &pod, "own").await.expect_err("forbidden");
    assert!(
        matches!(&error, PodError::Refused(text) if text.contains("secrets")),
        "{error:?}"
    );
    standin.shutdown().await;
}
