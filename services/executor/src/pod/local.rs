//! Pods that are directories of this machine: for one machine, demos and tests. It isolates
//! nothing; commands run as the user of the executor.
//!
//! The same shim and the same channel as in a real pod: the running program executes itself
//! again as `shim serve`, in the pod's directory. Nothing of ours is put into that directory, so
//! that a command finds it empty (`git clone URL .` wants that).

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use rdev_contract::id::{PodName, ProjectId, SecretName};
use rdev_domain::template::Template;
use rdev_shim::{Program, STATE_DIRECTORY_VARIABLE};
use tokio::fs;
use tokio::process::Command;

use super::provide::{Choice, Owned, Provide, Provided};
use super::{Backend, PodError, PodIdentity, PodRef, SecretValue, SecretValues, Transport};

/// Where the shims keep their journals, beside the projects (no project begins with a dot).
const SHIM_DIR: &str = ".shim";
/// What a container is called where there are none.
const CONTAINER: &str = "local";
/// Settings of rdev itself, addresses and passwords among them, are no business of a command.
const OWN_SETTINGS: [&str; 2] = ["RDEV_", "OTEL_"];

/// Runs commands in directories below a root.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    root: PathBuf,
    secrets: PathBuf,
    shim: Program,
}

impl LocalBackend {
    /// Pods below `root`, and what they have in place of Secrets below `secrets`; `shim` is how this
    /// program is executed again as the shim.
    #[must_use]
    pub fn new(root: PathBuf, secrets: PathBuf, shim: Program) -> Self {
        // The shim runs in another directory, where a relative path would lead elsewhere.
        let root = std::path::absolute(&root).unwrap_or(root);
        Self {
            root,
            secrets,
            shim,
        }
    }

    fn serve_in(&self, directory: &Path, uid: &str) -> Command {
        let mut command = Command::from(self.shim.command("serve"));
        command
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // A terminal's Ctrl-C is for the executor, which then closes the channel.
            .process_group(0)
            // Only the channel: supervisors are detached from it.
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            let own = |name: &str| OWN_SETTINGS.iter().any(|own| name.starts_with(own));
            if name.to_str().is_some_and(own) {
                command.env_remove(name);
            }
        }
        let state = self.root.join(SHIM_DIR).join(uid);
        command.env(STATE_DIRECTORY_VARIABLE, state);
        command
    }

    /// Both names are ids by now; a path is made of them only if they still are.
    fn directory(&self, project: &str, pod: &str) -> Result<PathBuf, PodError> {
        let refused = |error: rdev_contract::id::InvalidId| PodError::Refused(error.to_string());
        let project: ProjectId = project.parse().map_err(refused)?;
        let pod: PodName = pod.parse().map_err(refused)?;
        Ok(self.root.join(project.as_str()).join(pod.as_str()))
    }
}

#[async_trait]
impl Backend for LocalBackend {
    // Who the pod is now. A directory that is missing is made.
    async fn inspect(&self, pod: &PodRef) -> Result<PodIdentity, PodError> {
        let directory = self.directory(&pod.project, &pod.name)?;
        let uid = async {
            fs::create_dir_all(&directory).await?;
            uid_of(&directory).await
        };
        let uid = uid.await.map_err(|error| unavailable(&directory, &error))?;
        let container = if pod.container.is_empty() {
            CONTAINER.to_owned()
        } else {
            pod.container.clone()
        };
        Ok(PodIdentity {
            // The directory has no namespace; its project is what leads back to it.
            namespace: pod.project.clone(),
            name: pod.name.clone(),
            container_id: uid.clone(),
            uid,
            container,
            restarts: 0,
        })
    }

    // Starts `shim serve` in the pod's directory.
    async fn open(&self, pod: &PodIdentity) -> Result<Transport, PodError> {
        let directory = self.directory(&pod.namespace, &pod.name)?;
        match uid_of(&directory).await {
            Ok(uid) if uid == pod.uid => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unavailable(&directory, &error));
            }
            Ok(_) | Err(_) => {
                let message = format!("{} was deleted", directory.display());
                return Err(PodError::Replaced(message));
            }
        }
        let mut child = self
            .serve_in(&directory, &pod.uid)
            .spawn()
            .map_err(|error| unavailable(&directory, &error))?;
        let (Some(writer), Some(reader)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(PodError::Unavailable("the shim has no pipes".to_owned()));
        };
        let ended = Box::pin(async move {
            match child.wait().await {
                Ok(status) => format!("the shim ended: {status}"),
                Err(error) => format!("the shim is lost: {error}"),
            }
        });
        Ok(Transport {
            reader: Box::new(reader),
            writer: Box::new(writer),
            ended,
        })
    }

    // The files of a directory, as a Secret looks where it is mounted.
    async fn secret(
        &self,
        project: &ProjectId,
        _pod: &PodIdentity,
        name: &SecretName,
    ) -> Result<SecretValues, PodError> {
        let directory = self.secrets.join(project.as_str()).join(name.as_str());
        let read = async {
            let mut values = SecretValues::new();
            let mut entries = fs::read_dir(&directory).await?;
            while let Some(entry) = entries.next_entry().await? {
                let key = entry.file_name().into_string();
                if let (Ok(key), true) = (key, fs::metadata(entry.path()).await?.is_file()) {
                    values.insert(key, SecretValue(fs::read(entry.path()).await?));
                }
            }
            Ok::<_, io::Error>(values)
        };
        read.await.map_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return unavailable(&directory, &error);
            }
            PodError::Refused(format!(
                "the project {project} has no secret {name}: it would be the directory {}",
                directory.display()
            ))
        })
    }

    async fn replaced(&self, _pod: &PodIdentity) -> String {
        // A directory goes when somebody deletes it; the next connection notices.
        std::future::pending().await
    }
}

#[async_trait]
impl Provide for LocalBackend {
    fn check(&self, _template: &Template) -> Result<(), String> {
        Ok(())
    }

    // Makes the directory, whatever a pod would be made from.
    async fn provide(&self, owned: &Owned, _template: &Template) -> Result<Provided, PodError> {
        let pod = PodRef {
            project: owned.project.to_string(),
            namespace: String::new(),
            name: owned.name.clone(),
            container: owned.container.clone(),
        };
        self.inspect(&pod).await.map(Provided::Ready)
    }

    async fn choose(&self, _choice: &Choice) -> Result<Provided, PodError> {
        Ok(Provided::Failed(
            "the pods of the local backend have no labels: name one".to_owned(),
        ))
    }

    // Removes the directory, and what the shim has kept of it.
    async fn discard(&self, owned: &Owned) -> Result<bool, PodError> {
        let directory = self.directory(owned.project.as_str(), &owned.name)?;
        let removed = async {
            let uid = match uid_of(&directory).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                uid => uid?,
            };
            remove(&self.root.join(SHIM_DIR).join(uid)).await?;
            remove(&directory).await
        };
        let removed = removed.await;
        removed.map_err(|error| unavailable(&directory, &error))?;
        Ok(true)
    }

    async fn owned(
        &self,
        _log: &str,
        _namespace: &str,
        _claims: bool,
    ) -> Result<Vec<Owned>, PodError> {
        // A directory does not tell which log it is of. What runs is stopped, and it stays.
        Ok(Vec::new())
    }
}

/// Which directory it is, beyond its name: one that was deleted and made again is another pod. Where
/// the file system does not tell when it was made, only its place on the disk can be compared.
async fn uid_of(directory: &Path) -> io::Result<String> {
    let metadata = fs::metadata(directory).await?;
    let born = born_nanos(&metadata).unwrap_or_default();
    Ok(format!(
        "{:x}-{:x}-{born:x}",
        metadata.dev(),
        metadata.ino()
    ))
}

async fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn born_nanos(metadata: &Metadata) -> Option<u128> {
    let created = metadata.created().ok()?;
    Some(created.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn unavailable(directory: &Path, error: &io::Error) -> PodError {
    PodError::Unavailable(format!("{}: {error}", directory.display()))
}
