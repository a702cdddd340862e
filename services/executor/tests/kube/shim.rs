//! The shim on its way into containers.

use std::fs;

use rdev_executor::pod::kube::{KubeBackend, KubeOptions, KubeSetupError};
use rdev_executor::pod::{Backend, PodError};
use rdev_kube_standin::ContainerSpec;

use crate::{Frames, container, identity, named, one_pod, options, pod, shim_program};

#[tokio::test]
async fn the_shim_is_uploaded_once() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let openings = (0..5).map(|_| Frames::open(&backend, &pod));
    let channels = futures::future::join_all(openings).await;
    // Five look in vain, one uploads, five run it.
    assert_eq!(standin.exec_starts(), 11);
    drop(channels);
    let again = Frames::open(&backend, &pod).await;
    assert_eq!(standin.exec_starts(), 12);
    drop(again);
    // Another executor finds it there.
    let other = crate::backend(&standin).await;
    drop(Frames::open(&other, &pod).await);
    assert_eq!(standin.exec_starts(), 13);
    let root = standin.root("default", "box", "main").expect("a root");
    let files: Vec<_> = fs::read_dir(root.join("rdev/bin"))
        .expect("the directory")
        .flatten()
        .collect();
    assert_eq!(files.len(), 1, "no draft is left: {files:?}");
    assert_eq!(
        fs::read(files[0].path()).expect("the copy"),
        fs::read(shim_program()).expect("the shim")
    );
    // A new container is a new file system.
    standin
        .restart_container("default", "box", "main", "Completed")
        .await
        .expect("a restart");
    let pod = identity(&backend).await;
    drop(Frames::open(&backend, &pod).await);
    assert_eq!(standin.exec_starts(), 16);
    standin.shutdown().await;
}

#[tokio::test]
async fn a_container_without_a_shell_needs_the_shim_in_its_image() {
    let (standin, backend) = one_pod().await;
    let bare = |name: &str| container(name).env("PATH", "{root}/bin");
    standin
        .add_pod(pod("bare").container(bare("main")))
        .expect("a pod");
    let pod = backend
        .inspect(&named("bare", ""))
        .await
        .expect("it is there");
    let error = backend.open(&pod).await.err();
    assert!(
        matches!(&error, Some(PodError::NoShim(text)) if text.contains("no sh") && text.contains("put rdev-shim on the PATH")),
        "{error:?}"
    );
    let programs = standin
        .root("default", "bare", "main")
        .expect("a root")
        .join("bin");
    fs::create_dir(&programs).expect("made");
    fs::copy(shim_program(), programs.join("rdev-shim")).expect("copied");
    drop(Frames::open(&backend, &pod).await);
    standin.shutdown().await;
}

#[tokio::test]
async fn a_place_that_cannot_hold_the_shim_is_named() {
    let (standin, backend) = one_pod().await;
    let fixed = |name: &str| ContainerSpec::new(name).env("RDEV_SHIM_DIR", "/proc/nowhere");
    standin
        .add_pod(pod("fixed").container(fixed("main")))
        .expect("a pod");
    let pod = backend
        .inspect(&named("fixed", ""))
        .await
        .expect("it is there");
    let error = backend.open(&pod).await.err();
    assert!(
        matches!(&error, Some(PodError::NoShim(text)) if text.contains("/proc/nowhere") && text.contains("set RDEV_SHIM_DIR")),
        "{error:?}"
    );
    let without = KubeBackend::new(KubeOptions {
        shim_program: None,
        ..options(&standin)
    })
    .await
    .expect("a backend");
    let error = without.open(&identity(&backend).await).await.err();
    assert!(
        matches!(&error, Some(PodError::NoShim(text)) if text.contains("none to upload")),
        "{error:?}"
    );
    let script = standin.kubeconfig();
    let no_program = KubeBackend::new(KubeOptions {
        shim_program: Some(script),
        ..options(&standin)
    })
    .await
    .err();
    assert!(
        matches!(&no_program, Some(KubeSetupError::Shim { .. })),
        "{no_program:?}"
    );
    standin.shutdown().await;
}
