//! When something happened last in a session.

use crate::{Log, complete};

#[tokio::test]
async fn execs_and_readers_are_activity() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let last = async || {
        let last = log.bus.last_activity(&exec.project, exec.session).await;
        last.expect("an answer")
    };
    let commanded = last().await.expect("a command");
    complete(&mut writer, 1).await.expect("stored");
    let completed = last().await.expect("an end");
    assert!(completed > commanded);
    let touched = log.bus.touch(&exec.project, exec.session).await;
    touched.expect("stored");
    assert!(last().await.expect("a reader") > completed);
    let nobody = "other".parse().expect("a project id");
    let none = log.bus.last_activity(&nobody, exec.session).await;
    assert_eq!(none.expect("an answer"), None);
}
