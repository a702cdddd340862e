//! SIGKILL of the executor while a person works in a terminal: the same process, every byte and every
//! size once, and what was typed meanwhile arrives.

use rdev_tests::Outcome;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::seat::Seat;
use serde_json::json;

use super::world;

/// Says who it is whenever a line comes, and how large its terminal is.
const SCRIPT: &str = "echo begin; while read line; do echo \"$line $$ $(stty size)\"; done";

#[tokio::test]
async fn a_terminal_goes_on_when_its_executors_are_killed() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("terminal").await?;
    let mut seat = Seat::take(client, &session, SCRIPT).await?;
    seat.until("begin\r\n").await?;
    let mut executor = services.executor;
    let mut sizes = vec![(120, 40)];
    for life in 0_u16..3 {
        seat.type_in(&format!("life{life}\n")).await?;
        seat.until(&format!("\nlife{life} ")).await?;
        let next = world.executor()?;
        executor.kill().await;
        // Nobody has the exec now: what is asked for waits in the log.
        let (cols, rows) = (80 + life, 20 + life);
        seat.type_in(&format!("after{life}\n")).await?;
        seat.resize(cols, rows).await?;
        sizes.push((cols, rows));
        seat.until(&format!("\nafter{life} ")).await?;
        executor = next;
    }
    seat.type_in("last\n").await?;
    seat.until("\nlast ").await?;
    seat.end_input().await?;
    let stream = seat.stream.clone();
    let transcript = seat.end().await?;
    transcript.check()?;
    assert_eq!(transcript.complete()["ok"], true);

    let resized = transcript
        .events
        .iter()
        .filter(|event| event.name == "resized");
    let expected = sizes
        .iter()
        .map(|(cols, rows)| json!({"cols": cols, "rows": rows}));
    assert_eq!(
        resized.map(|event| event.json()).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
    let text = transcript.stdout();
    let said = text.lines().filter_map(|line| {
        let [_, pid, rows, cols] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        Some((pid.to_owned(), format!("{rows} {cols}")))
    });
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), 7, "{text}");
    assert!(said.iter().all(|(pid, _)| *pid == said[0].0), "{said:?}");
    assert_eq!((&*said[0].1, &*said[6].1), ("40 120", "22 82"));

    let exec = exec_id(client, &session, &stream)?;
    ExecLog::read(&bus, &exec).await?.check()?;
    let path = format!("demo/{session}/{stream}");
    world.audit(&["--exec", &path], &[]).await?.expect_equal()
}
