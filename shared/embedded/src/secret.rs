//! Passwords that are made here and kept in files that only their owner can read.

use crate::port::random_bytes;
use crate::start::StartError;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// 128 random bits: beyond guessing.
const PASSWORD_BYTES: usize = 16;

/// The password in the file; made when the file is missing or empty.
///
/// # Errors
/// The file cannot be read or written.
pub fn kept_in(path: &Path) -> Result<String, StartError> {
    let failed = |source| StartError::file(path, source);
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let password = made().map_err(failed)?;
    write(path, &format!("{password}\n")).map_err(failed)?;
    Ok(password)
}

/// A new password: hexadecimal, so it needs no quoting in URLs and configuration files. It begins
/// with a letter, because nats-server reads unquoted digits as a number.
fn made() -> io::Result<String> {
    let bytes: [u8; PASSWORD_BYTES] = random_bytes()?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(format!("p{}", digits.collect::<String>()))
}

/// Writes a file that only its owner can read, in one step.
///
/// # Errors
/// When the file system refuses; what was there is as it was.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let password = kept_in(&path).unwrap();
        assert_eq!(password.len(), 1 + 2 * PASSWORD_BYTES);
        assert_eq!(kept_in(&path).unwrap(), password);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let other = kept_in(&directory.path().join("other")).unwrap();
        assert_ne!(other, password);
    }
}
