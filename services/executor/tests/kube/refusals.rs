//! What is refused, and in which words.

use rdev_executor::pod::{Backend, PodError, PodRef};

use crate::{container, identity, named, one_pod, pod};

#[tokio::test]
async fn refusals_say_what_to_do() {
    let (standin, backend) = one_pod().await;
    let refused = |pod: PodRef| {
        let backend = backend.clone();
        async move { backend.inspect(&pod).await.expect_err("it is refused") }
    };
    assert_eq!(
        refused(named("nobody", "")).await,
        PodError::NotFound("pods \"nobody\" not found".to_owned())
    );
    let bad_container = refused(named("box", "wrong")).await;
    assert!(
        matches!(&bad_container, PodError::Refused(text) if text.contains("has no container wrong; it has main")),
        "{bad_container:?}"
    );
    let other = PodRef {
        project: "other".to_owned(),
        ..named("box", "")
    };
    let foreign = refused(other).await;
    assert!(
        matches!(&foreign, PodError::Refused(text) if text.contains("needs the label rdev.dev/project=other")),
        "{foreign:?}"
    );
    standin
        .add_pod(
            pod("pair")
                .container(container("a"))
                .container(container("b")),
        )
        .expect("a pod");
    let several = refused(named("pair", "")).await;
    assert!(
        matches!(&several, PodError::Refused(text) if text.contains("name one of a, b")),
        "{several:?}"
    );
    assert!(backend.inspect(&named("pair", "b")).await.is_ok());
    standin
        .evict("default", "pair", "The node was low on resource: memory.")
        .await
        .expect("evicted");
    let evicted = refused(named("pair", "a")).await;
    assert!(
        matches!(&evicted, PodError::NotRunning(text) if text.contains("Evicted")),
        "{evicted:?}"
    );
    standin.forbid("secret", "pods");
    let forbidden = refused(PodRef {
        namespace: "secret".to_owned(),
        ..named("box", "")
    })
    .await;
    assert!(
        matches!(&forbidden, PodError::Refused(text) if text.contains("forbidden")),
        "{forbidden:?}"
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn an_exec_that_is_refused_is_told_apart_from_one_that_may_work_later() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    for code in [500, 503, 429] {
        standin.refuse_execs(Some(code));
        let error = backend.open(&pod).await.err();
        assert!(
            matches!(error, Some(PodError::Unavailable(_))),
            "{code}: {error:?}"
        );
    }
    standin.refuse_execs(None);
    standin
        .add_pod(crate::pod("far").container(container("main")))
        .expect("a pod");
    let far = backend
        .inspect(&named("far", ""))
        .await
        .expect("it is there");
    standin.lose_node("default", "far").expect("lost");
    let error = backend.open(&far).await.err();
    assert!(matches!(error, Some(PodError::Unavailable(_))), "{error:?}");
    standin
        .terminate_container("default", "box", "main", "OOMKilled")
        .await
        .expect("it ends");
    let error = backend.open(&pod).await.err();
    assert!(
        matches!(&error, Some(PodError::Replaced(text)) if text.contains("ended: OOMKilled")),
        "{error:?}"
    );
    standin.forbid("default", "pods/exec");
    let error = backend.open(&pod).await.err();
    assert!(
        matches!(&error, Some(PodError::Refused(text)) if text.contains("pods/exec")),
        "{error:?}"
    );
    standin.shutdown().await;
}
