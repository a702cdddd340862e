//! Commands through the channel, and what becomes of them when the connection ends.

use std::fs;

use rdev_executor::pod::{Backend, PodError};
use rdev_frames::{Exit, Reply};
use rdev_kube_standin::Ending;

use crate::{Frames, identity, named, one_pod};

#[tokio::test]
async fn a_command_runs_through_an_uploaded_shim_on_both_protocols() {
    for without_v5 in [false, true] {
        let (standin, backend) = one_pod().await;
        standin.without_v5(without_v5);
        let pod = identity(&backend).await;
        let mut frames = Frames::open(&backend, &pod).await;
        frames
            .launch("demo/echo", "echo hello; printf tail; exit 7")
            .await;
        assert_eq!(
            frames.result().await,
            (b"hello\ntail".to_vec(), Exit::Code(7))
        );
        standin.shutdown().await;
    }
}

#[tokio::test]
async fn much_output_comes_byte_for_byte() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let mut frames = Frames::open(&backend, &pod).await;
    frames.launch("demo/much", "seq 1 3000000").await;
    let (printed, exit) = frames.result().await;
    assert_eq!(exit, Exit::Code(0));
    let wanted: String = (1..=3_000_000)
        .map(|number| format!("{number}\n"))
        .collect();
    assert!(
        printed == wanted.as_bytes(),
        "{} bytes of {} came",
        printed.len(),
        wanted.len()
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn every_ending_ends_the_reader_and_the_command_goes_on() {
    let (standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let endings = [
        (Ending::Status(1), "exit code 1"),
        (Ending::SuccessUnfinished, "Success"),
        (Ending::CloseWithoutStatus, "without a status"),
        (Ending::Cut, "broken off"),
    ];
    for (number, (ending, words)) in endings.into_iter().enumerate() {
        let key = format!("demo/{number}");
        let mut frames = Frames::open(&backend, &pod).await;
        frames
            .launch(
                &key,
                "echo up; until [ -e go ]; do sleep 0.01; done; echo done",
            )
            .await;
        assert!(matches!(
            frames.next().await,
            Some(Reply::Accepted {
                existing: false,
                ..
            })
        ));
        assert_eq!(standin.end_exec("default", "box", ending), 1);
        let why = frames.ends().await;
        assert!(why.contains(words), "{ending:?}: {why}");
        // Another connection follows the same command to its end.
        let mut frames = Frames::open(&backend, &pod).await;
        frames.launch(&key, "exit 99").await;
        let root = standin.root("default", "box", "main").expect("a root");
        fs::write(root.join("go"), "").expect("written");
        assert_eq!(
            frames.result().await,
            (b"up\ndone\n".to_vec(), Exit::Code(0)),
            "{ending:?}"
        );
        fs::remove_file(root.join("go")).expect("removed");
    }
    standin.shutdown().await;
}

#[tokio::test]
async fn the_api_server_restarts_and_the_command_is_followed() {
    let (mut standin, backend) = one_pod().await;
    let pod = identity(&backend).await;
    let mut frames = Frames::open(&backend, &pod).await;
    frames
        .launch(
            "demo/long",
            "echo up; until [ -e go ]; do sleep 0.01; done; echo done",
        )
        .await;
    assert!(matches!(frames.next().await, Some(Reply::Accepted { .. })));
    standin.stop_api().await;
    frames.ends().await;
    assert!(matches!(
        backend.open(&pod).await.err(),
        Some(PodError::Unavailable(_))
    ));
    assert!(matches!(
        backend.inspect(&named("box", "")).await.err(),
        Some(PodError::Unavailable(_))
    ));
    standin.start_api().await.expect("the API is back");
    let mut frames = Frames::open(&backend, &pod).await;
    frames.launch("demo/long", "exit 99").await;
    fs::write(
        standin
            .root("default", "box", "main")
            .expect("a root")
            .join("go"),
        "",
    )
    .expect("written");
    assert_eq!(
        frames.result().await,
        (b"up\ndone\n".to_vec(), Exit::Code(0))
    );
    standin.shutdown().await;
}
