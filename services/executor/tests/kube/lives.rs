//! Containers that are replaced by others, and how that is noticed.

use std::collections::HashSet;
use std::time::Duration;

use rdev_executor::pod::{Backend, PodError};

use crate::{Frames, PATIENCE, container, identity, one_pod, pod};

#[tokio::test]
async fn another_container_of_the_same_name_is_not_entered() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    drop(Frames::open(&backend, &pod).await);
    standin
        .restart_container("default", "box", "main", "OOMKilled")
        .await
        .expect("a restart");
    let error = backend.open(&pod).await.err();
    assert!(
        matches!(&error, Some(PodError::Replaced(text)) if text.contains("restarted: OOMKilled")),
        "{error:?}"
    );
    let pod = identity(&backend).await;
    standin
        .recreate_pod("default", "box")
        .await
        .expect("recreated");
    let error = backend.open(&pod).await.err();
    assert!(matches!(&error, Some(PodError::Replaced(_))), "{error:?}");
    standin.delete_pod("default", "box").await.expect("deleted");
    let error = backend.open(&pod).await.err();
    assert!(matches!(&error, Some(PodError::NotFound(_))), "{error:?}");
    standin.shutdown().await;
}

#[tokio::test]
async fn the_end_of_a_container_is_noticed_and_its_reason_told() {
    let (standin, backend) = one_pod().await;
    let mut seen = HashSet::new();
    for words in [
        "restarted: OOMKilled",
        "deleted; another one",
        "Evicted: memory",
        "was deleted",
        "Unknown (NodeLost",
    ] {
        standin
            .add_pod(pod("box").container(container("main")))
            .expect("a pod");
        let pod = identity(&backend).await;
        let watching = backend.clone();
        let known = pod.clone();
        let waiting = tokio::spawn(async move { watching.replaced(&known).await });
        standin
            .set_label("default", "box", "unrelated", "change")
            .expect("labelled");
        match words {
            "restarted: OOMKilled" => {
                standin
                    .restart_container("default", "box", "main", "OOMKilled")
                    .await
            }
            "deleted; another one" => standin.recreate_pod("default", "box").await.map(drop),
            "Evicted: memory" => standin.evict("default", "box", "memory").await,
            "was deleted" => standin.delete_pod("default", "box").await,
            _ => standin.lose_node("default", "box"),
        }
        .expect("it happens");
        let why = tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("in time")
            .expect("no panic");
        // A step on the way may be seen first: the container ends before the pod goes.
        assert!(
            why.contains(words) || why.contains("ended:") || why.contains("Failed"),
            "{words}: {why}"
        );
        // Asked again, the whole of it is told at once.
        let why = tokio::time::timeout(PATIENCE, backend.replaced(&pod))
            .await
            .expect("in time");
        assert!(why.contains(words), "{words}: {why}");
        seen.insert(why);
    }
    assert_eq!(seen.len(), 5);
    standin.shutdown().await;
}

#[tokio::test]
async fn a_pod_that_only_vanishes_is_noticed_by_its_watch() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let mut waiting = std::pin::pin!(backend.replaced(&pod));
    let quiet = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(quiet, &mut waiting).await.is_err(),
        "it is there, and watched"
    );
    standin
        .delete_pod_by_force("default", "box")
        .await
        .expect("deleted");
    let why = tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("in time");
    assert!(why.contains("was deleted"), "{why}");
    standin.shutdown().await;
}

#[tokio::test]
async fn an_api_server_that_is_away_ends_nothing_and_what_happened_meanwhile_is_noticed() {
    let (mut standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let waiting = futures::future::join_all((0..20).map(|_| backend.replaced(&pod)));
    let mut waiting = std::pin::pin!(waiting);
    let quiet = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(quiet, &mut waiting).await.is_err(),
        "nothing has happened"
    );
    standin.stop_api().await;
    assert!(
        tokio::time::timeout(quiet, &mut waiting).await.is_err(),
        "silence says nothing"
    );
    standin.start_api().await.expect("the API is back");
    assert!(
        tokio::time::timeout(quiet, &mut waiting).await.is_err(),
        "it is still there"
    );
    standin.stop_api().await;
    standin
        .recreate_pod("default", "box")
        .await
        .expect("recreated");
    standin.compact();
    standin.start_api().await.expect("the API is back");
    let all = tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("in time");
    assert!(
        all.iter()
            .all(|why| why.contains("another one has its name")),
        "{all:?}"
    );
    standin.shutdown().await;
}
