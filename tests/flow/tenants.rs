//! Who reads one project only, as a user of the server that can do nothing else: the same programs of
//! docs/consumers.md see the same.

use rdev_contract::id::ProjectId;
use rdev_tests::Outcome;
use rdev_tests::world::{PROJECT, World};
use serde_json::{Value, json};

use super::consumer::{Consumer, Language};
use super::consumers::{as_read, numbered, run, stored};
use super::options;

#[tokio::test]
async fn who_reads_one_project_runs_the_same_programs() -> Outcome<()> {
    let project: ProjectId = PROJECT.parse()?;
    let mut options = options();
    options.consumers.push(project.clone());
    let (world, services) = World::start(options).await?;
    let (client, other) = (&services.client, services.client.of_project("other"));
    let (session, foreign) = (client.session("pod").await?, other.session("pod").await?);
    run(client, &session, "before").await?;
    world.bus().await?.copy_for(&project).await?;
    let seed = world.access.seed_of_consumer(&project);
    let url = world.nats.url();
    for (turn, language) in Language::all()?.iter().enumerate() {
        let start =
            |name, arguments: &[&str]| Consumer::start_as(language, name, arguments, Some(&seed));
        let live = start("live", &[&url, PROJECT])?;
        let mut live = live.following().await?;
        run(&other, &foreign, &format!("foreign-{turn}")).await?;
        let stream = format!("stream-{turn}");
        let ours = run(client, &session, &stream).await?;
        let theirs = live.until_complete(&stream).await?;
        assert_eq!(numbered(&theirs), as_read(&ours));

        let all = stored(&world).await?;
        let of_project = |line: &&Value| line[1]["project"] == PROJECT;
        let all: Vec<_> = all.iter().filter(of_project).cloned().collect();
        let mut replay = start("replay", &[&url, PROJECT, "1"])?;
        assert_eq!(replay.until_complete(&stream).await?, all);

        let name = format!("billing-{turn}");
        let mut completes = start("completes", &[&url, PROJECT, &name])?;
        let first = completes.next().await?;
        assert_eq!(first[2], json!("before"));
        assert_eq!(first[3]["exit_code"], json!(3));
    }
    Ok(())
}
