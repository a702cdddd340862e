//! The shim in a container: how it is found there, and how it gets there.
//!
//! It is looked for in the image (`rdev-shim` on PATH), then where an init container puts it
//! ([`super::object`]), then where an earlier upload put it. Nothing
//! is quoted into the scripts: what varies comes as arguments. Invariant: the file under its final
//! name is whole (its length and hash were checked and it has run once) because it appears by rename.

use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::client::KubeSetupError;

/// A shim is 1 to 2 MB; a debug build has more. Beyond, somebody named another file.
const SHIM_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// So much of the hash is in the name of the uploaded file, so that builds do not meet.
const NAME_HASH_CHARS: usize = 16;

/// The directory cannot be made or written.
pub(super) const EXIT_NOT_WRITABLE: i32 = 93;
/// The uploaded file does not run.
pub(super) const EXIT_NOT_RUNNABLE: i32 = 94;
/// The container's machine is another one than the shim's.
pub(super) const EXIT_OTHER_MACHINE: i32 = 95;
/// There is no shim.
pub(super) const EXIT_MISSING: i32 = 96;
/// What arrived is not what was sent.
pub(super) const EXIT_INCOMPLETE: i32 = 97;
/// `sh` found the program but could not run it.
pub(super) const EXIT_CANNOT_EXECUTE: i32 = 126;
/// `sh` did not find the program: somebody removed it meanwhile.
pub(super) const EXIT_NOT_FOUND: i32 = 127;

/// What the script says when it can take the program.
pub(super) const READY: &str = "ready";

/// `$1` the directory, `$2` the file's name.
const SERVE_SCRIPT: &str = r#"
RDEV_SHIM_DIR="${RDEV_SHIM_DIR:-$1}"; export RDEV_SHIM_DIR
shim=$(command -v rdev-shim) || shim="$RDEV_SHIM_DIR/bin/rdev-shim"
[ -x "$shim" ] || shim="$RDEV_SHIM_DIR/bin/$2"
[ -x "$shim" ] || exit 96
exec "$shim" serve
"#;

/// `$1` the directory, `$2` the file's name, `$3` its length, `$4` its hash, `$5` a word that nobody
/// else uses, `$6` the machine. stdin is read by length, because on v4 it has no end, and always
/// as a whole, because a server that closes with something unread loses what it said last.
const UPLOAD_SCRIPT: &str = r#"
umask 077
machine=$(uname -m 2>/dev/null)
[ -z "$machine" ] || [ "$machine" = "$6" ] || { echo "this container is $machine" >&2; exit 95; }
bin="${RDEV_SHIM_DIR:-$1}/bin"
mkdir -p "$bin" || exit 93
draft="$bin/.$2.$5"
trap 'rm -f "$draft"' EXIT
: >"$draft" || exit 93
echo ready
head -c "$3" | { cat >"$draft" || { cat >/dev/null; exit 93; }; } || exit 93
[ "$(wc -c <"$draft")" -eq "$3" ] || exit 97
if command -v sha256sum >/dev/null; then
  sum=$(sha256sum <"$draft") || exit 97
  [ "${sum%% *}" = "$4" ] || exit 97
fi
chmod 700 "$draft" || exit 93
"$draft" --version >/dev/null || exit 94
mv -f "$draft" "$bin/$2" || exit 93
echo "uploaded $4"
"#;

/// The shim program that can be uploaded.
#[derive(Clone)]
pub(super) struct ShimProgram {
    pub(super) bytes: Bytes,
    pub(super) sha256: String,
    machine: &'static str,
}

impl ShimProgram {
    /// Reads it and checks that it is a program for a machine that we know.
    pub(super) async fn read(path: &Path) -> Result<Self, KubeSetupError> {
        let unusable = |reason: String| KubeSetupError::Shim {
            path: path.display().to_string(),
            reason,
        };
        let length = tokio::fs::metadata(path)
            .await
            .map_err(|error| unusable(error.to_string()))?
            .len();
        if length > SHIM_MAX_BYTES {
            return Err(unusable(format!("it has {length} bytes")));
        }
        let bytes = tokio::fs::read(path)
            .await
            .map_err(|error| unusable(error.to_string()))?;
        let machine = machine_of(&bytes)
            .ok_or_else(|| unusable("it is no Linux program for x86-64 or arm64".to_owned()))?;
        let sha256 = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            bytes: bytes.into(),
            sha256,
            machine,
        })
    }

    /// Its file name in containers.
    pub(super) fn name(&self) -> String {
        format!("rdev-shim-{}", &self.sha256[..NAME_HASH_CHARS])
    }

    /// The command that receives it; `word` makes its draft's name unique.
    pub(super) fn upload_argv(&self, directory: &str, word: &str) -> Vec<String> {
        let length = self.bytes.len().to_string();
        script(
            UPLOAD_SCRIPT,
            &[
                directory,
                &self.name(),
                &length,
                &self.sha256,
                word,
                self.machine,
            ],
        )
    }

    /// What the upload prints when all is well.
    pub(super) fn receipt(&self) -> String {
        format!("uploaded {}", self.sha256)
    }
}

/// The command that runs the shim, from wherever it is.
pub(super) fn serve_argv(directory: &str, program: Option<&ShimProgram>) -> Vec<String> {
    let name = program.map_or_else(|| "rdev-shim".to_owned(), ShimProgram::name);
    script(SERVE_SCRIPT, &[directory, &name])
}

/// The command for an image without a shell: the shim must be in the image then.
pub(super) fn serve_without_shell_argv() -> Vec<String> {
    vec!["rdev-shim".to_owned(), "serve".to_owned()]
}

fn script(text: &str, arguments: &[&str]) -> Vec<String> {
    ["sh", "-c", text, "rdev"]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect()
}

/// The machine of an ELF program, in the words of `uname -m`.
fn machine_of(program: &[u8]) -> Option<&'static str> {
    if !program.starts_with(b"\x7fELF") {
        return None;
    }
    match program.get(18..20)? {
        [62, 0] => Some("x86_64"),
        [183, 0] => Some("aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_for_known_machines_are_taken() {
        let mut elf = b"\x7fELF".to_vec();
        elf.resize(64, 0);
        assert_eq!(machine_of(&elf), None);
        elf[18] = 62;
        assert_eq!(machine_of(&elf), Some("x86_64"));
        elf[18] = 183;
        assert_eq!(machine_of(&elf), Some("aarch64"));
        assert_eq!(machine_of(b"#!/bin/sh\n"), None);
        assert_eq!(machine_of(b"\x7fELF"), None);
    }

    #[test]
    fn the_exit_codes_of_the_scripts_are_the_ones_that_we_know() {
        for code in [
            EXIT_NOT_WRITABLE,
            EXIT_NOT_RUNNABLE,
            EXIT_OTHER_MACHINE,
            EXIT_INCOMPLETE,
        ] {
            assert!(UPLOAD_SCRIPT.contains(&format!("exit {code}")), "{code}");
        }
        assert!(SERVE_SCRIPT.contains(&format!("exit {EXIT_MISSING}")));
    }
}
