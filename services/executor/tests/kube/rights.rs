//! What the backend asks of the API is what the Role of the manifests allows, and all of it.

use std::collections::BTreeSet;
use std::time::Duration;

use rdev_executor::pod::Backend;
use rdev_executor::review;

use crate::{Frames, identity, one_pod};

/// The rights of `deploy/kubernetes/rbac.yaml` (a test there compares), but for `create pods/exec`, which
/// the stand-in, as clusters before 1.35, does not ask for.
const RIGHTS: [&str; 5] = [
    "get pods",
    "get pods/exec",
    "get secrets",
    "list pods",
    "watch pods",
];

#[tokio::test]
async fn the_role_allows_what_is_used_and_no_more() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let mut frames = Frames::open(&backend, &pod).await;
    frames.launch("demo/rights", "true").await;
    frames.result().await;
    let project = "demo".parse().expect("a project");
    let name = "none".parse().expect("a name");
    assert!(backend.secret(&project, &pod, &name).await.is_err());
    // A restart is heard of by the watch.
    let (replaced, restarted) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(20), backend.replaced(&pod)),
        standin.restart_container("default", "box", "main", "OOMKilled"),
    );
    restarted.expect("a restart");
    replaced.expect("in time");
    let used = standin.used_rights();
    let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    assert_eq!(used, BTreeSet::from(RIGHTS));
    standin.shutdown().await;
}

#[tokio::test]
async fn what_is_missing_can_be_asked_for() {
    let (standin, _) = one_pod().await;
    let kubeconfig = standin.kubeconfig();
    let asked = review(Some(&kubeconfig), "default", true).await;
    let asked = asked.expect("an answer").expect("a review");
    assert!(asked.version.starts_with("v1."), "{}", asked.version);
    assert_eq!(asked.rights.len(), 8);
    assert!(asked.rights.iter().all(|right| right.is_allowed));

    standin.forbid("default", "pods/exec");
    let asked = review(Some(&kubeconfig), "default", false).await;
    let missing = asked
        .expect("an answer")
        .expect("a review")
        .rights
        .into_iter();
    let missing = missing.filter(|right| !right.is_allowed);
    let missing: Vec<_> = missing.map(|right| (right.verb, right.resource)).collect();
    let exec = |verb| (verb, "pods/exec".to_owned());
    assert_eq!(missing, [exec("get"), exec("create")]);
    standin.shutdown().await;
    let asked = review(Some(&kubeconfig), "default", false).await;
    assert!(asked.is_err());
}
