//! The cluster, and the shim that goes into its pods, for those who run executors.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rdev_executor::pod::rights::{Review, Right};
use rdev_executor::{WITHOUT_KUBERNETES, review};

use super::{Finding, Report, ServiceArgs};
use crate::failure::Done;
use crate::settings::Settings;

/// Where the executor's image has it.
const USUAL_SHIM: &str = "/usr/local/bin/rdev-shim";
/// In every pod, by the variable that Kubernetes sets there.
const IN_CLUSTER_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
const ELF: &[u8] = b"\x7fELF";
/// The type of an entry of the program header that names a dynamic loader.
const PT_INTERP: u32 = 3;

pub(super) async fn look(
    services: &ServiceArgs,
    settings: &Settings,
    report: &mut Report,
) -> Done<()> {
    let is_local = match services.backend.as_deref() {
        Some(backend) => backend == "local",
        // Whoever runs it may have a kubeconfig for something else.
        None => settings.dev.is_some(),
    };
    if is_local {
        let seen = "directories stand in for pods; the shim is this program \
                    (--backend kube looks at a cluster)";
        return Ok(report.add(Finding::skip("kubernetes", seen))?);
    }
    if !is_meant(services) {
        let seen = "no cluster is set here (KUBECONFIG)";
        report.add(Finding::skip("kubernetes", seen))?;
    } else {
        let with_templates = services.templates.is_some();
        match review(services.kubeconfig(), &services.namespace, with_templates).await {
            Ok(Some(found)) => report.add(of_rights(&services.namespace, &found))?,
            Ok(None) => report
                .add(Finding::warn("kubernetes", "not looked at").advice(WITHOUT_KUBERNETES))?,
            Err(reason) => report.add(
                Finding::fail("kubernetes", reason)
                    .advice("is the cluster there, and does `kubectl get pods` work from here?"),
            )?,
        }
    }
    let path = services
        .shim_path
        .clone()
        .unwrap_or_else(|| PathBuf::from(USUAL_SHIM));
    if services.shim_path.is_some() || path.exists() {
        report.add(shim(&path))?;
    }
    Ok(())
}

fn is_meant(services: &ServiceArgs) -> bool {
    services.backend.as_deref() == Some("kube")
        || services.kubeconfig().is_some()
        || std::env::var_os(IN_CLUSTER_VARIABLE).is_some()
}

fn of_rights(namespace: &str, found: &Review) -> Finding {
    let missing: Vec<_> = found
        .rights
        .iter()
        .filter(|right| !right.is_allowed)
        .collect();
    let (needed, optional): (Vec<_>, Vec<_>) = missing.iter().partition(|right| right.is_needed);
    let names = |rights: &[&&Right]| {
        let names = rights
            .iter()
            .map(|right| format!("{} {}", right.verb, right.resource));
        names.collect::<Vec<_>>().join(", ")
    };
    if !needed.is_empty() {
        let seen = format!(
            "{}; in {namespace} it may not: {}",
            found.version,
            names(&needed)
        );
        return Finding::fail("kubernetes", seen)
            .advice("bind the Role of deploy/kubernetes/rbac.yaml in that namespace");
    }
    if !optional.is_empty() {
        let seen = format!(
            "{}; in {namespace} it may not: {}",
            found.version,
            names(&optional)
        );
        return Finding::warn("kubernetes", seen).advice(
            "secret_env needs `get secrets`; clusters from 1.35 on need `create pods/exec`",
        );
    }
    Finding::ok(
        "kubernetes",
        format!("{}; all rights are there in {namespace}", found.version),
    )
}

/// A program that runs in any container: static, for this kind of machine or the other.
fn shim(path: &Path) -> Finding {
    let shown = path.display();
    let advice = "set RDEV_SHIM_PATH to a static rdev-shim for Linux (docs/kubernetes.md)";
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Finding::fail("shim", format!("{shown}: {error}")).advice(advice),
    };
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o111 == 0 {
        return Finding::fail("shim", format!("{shown} may not be executed"))
            .advice(format!("chmod +x {shown}"));
    }
    match machine_of(&bytes) {
        None => Finding::fail("shim", format!("{shown} is no program for Linux")).advice(advice),
        Some((machine, true)) => Finding::warn(
            "shim",
            format!("{shown} ({machine}) needs libraries that containers may lack"),
        )
        .advice(advice),
        Some((machine, false)) => Finding::ok("shim", format!("{shown} is static, for {machine}")),
    }
}

/// The machine of a 64-bit little-endian ELF file, and whether it needs a dynamic loader.
fn machine_of(bytes: &[u8]) -> Option<(&'static str, bool)> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if !bytes.starts_with(ELF) || bytes.get(4..6)? != [2, 1] {
        return None;
    }
    let machine = match u16_at(18)? {
        0x3e => "x86-64",
        0xb7 => "arm64",
        _ => return None,
    };
    let headers = u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?);
    let headers = usize::try_from(headers).ok()?;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    let mut needs_loader = false;
    for at in 0..count {
        let begin = headers.checked_add(at.checked_mul(size)?)?;
        let kind = bytes.get(begin..begin.checked_add(4)?)?;
        needs_loader |= u32::from_le_bytes(kind.try_into().ok()?) == PT_INTERP;
    }
    Some((machine, needs_loader))
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn a_shim_is_a_program_that_may_be_run() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("shim");
        assert_eq!(shim(&path).health, Health::Fail);
        std::fs::write(&path, "#!/bin/sh")?;
        assert!(shim(&path).seen.contains("may not be executed"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        assert!(shim(&path).seen.contains("no program for Linux"));
        // This test itself needs the machine's loader.
        let own = std::env::current_exe()?;
        assert_eq!(shim(&own).health, Health::Warn);
        Ok(())
    }

    #[test]
    fn what_is_cut_is_no_program() -> std::io::Result<()> {
        let whole = std::fs::read(std::env::current_exe()?)?;
        assert!(machine_of(&whole).is_some());
        for length in 0..64 {
            assert_eq!(machine_of(&whole[..length]), None, "{length}");
        }
        Ok(())
    }
}
