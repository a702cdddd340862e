//! Where the archive is: one setting, the same for every service that writes or reads it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use url::Url;

/// Where what the log forgets is kept.
#[derive(Debug, Clone, clap::Args)]
pub struct ArchiveArgs {
    /// Where execs are kept beyond the log: file:///directory, or s3://bucket/prefix with the
    /// variables AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on.
    /// Nowhere if empty.
    #[arg(
        long = "archive-url",
        env = "RDEV_ARCHIVE_URL",
        value_name = "RDEV_ARCHIVE_URL",
        default_value = ""
    )]
    pub archive_url: ArchiveUrl,
}

/// Where the archive is, or that there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ArchiveUrl {
    /// Nothing is kept.
    #[default]
    Off,
    /// A directory of this machine, or one that is mounted here.
    Directory(Url),
    /// A bucket, and what the names of all objects begin with.
    Bucket(Url),
}

/// The text is not a place for an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the place of an archive: {0}; expected file:///directory or s3://bucket/prefix")]
pub struct InvalidArchiveUrl(pub(crate) String);

impl ArchiveUrl {
    /// The archive in this directory, which must be an absolute path.
    ///
    /// # Errors
    /// [`InvalidArchiveUrl`] when it is none.
    pub fn of_directory(path: &Path) -> Result<Self, InvalidArchiveUrl> {
        Url::from_file_path(path)
            .map(Self::Directory)
            .map_err(|()| InvalidArchiveUrl(format!("{} is no absolute path", path.display())))
    }
}

impl FromStr for ArchiveUrl {
    type Err = InvalidArchiveUrl;

    fn from_str(text: &str) -> Result<Self, InvalidArchiveUrl> {
        if text.is_empty() {
            return Ok(Self::Off);
        }
        let url = Url::parse(text).map_err(|error| InvalidArchiveUrl(error.to_string()))?;
        let refused = |reason: &str| Err(InvalidArchiveUrl(reason.to_owned()));
        if url.query().is_some() || url.fragment().is_some() {
            return refused("it has a query or a fragment");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("credentials do not belong into it: set AWS_ACCESS_KEY_ID and so on");
        }
        match (url.scheme(), url.host_str()) {
            ("file", None) if url.path() != "/" => Ok(Self::Directory(url)),
            ("file", None) => refused("it is the root directory"),
            ("file", Some(_)) => refused("a directory's address begins with three slashes"),
            ("s3", Some(_)) => Ok(Self::Bucket(url)),
            ("s3", None) => refused("it names no bucket"),
            _ => refused("it is neither of the two"),
        }
    }
}

impl fmt::Display for ArchiveUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => Ok(()),
            Self::Directory(url) | Self::Bucket(url) => url.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_directories_and_buckets() {
        assert_eq!("".parse(), Ok(ArchiveUrl::Off));
        for text in [
            "file:///var/lib/rdev/archive",
            "file:///a%20b",
            "s3://bucket",
            "s3://b/p/q",
        ] {
            let url: ArchiveUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
        }
        for text in [
            "archive",
            "/var/lib/rdev/archive",
            "file:///",
            "file://archive",
            "file:///a?b",
            "s3:///",
            "s3://key:secret@bucket",
            "s3://key@bucket",
            "s3://bucket/#part",
            "https://bucket.example",
        ] {
            let refused = text.parse::<ArchiveUrl>();
            assert!(refused.is_err(), "{text}: {refused:?}");
        }
        let of_directory = ArchiveUrl::of_directory(Path::new("/a b#c")).unwrap();
        assert_eq!(of_directory.to_string(), "file:///a%20b%23c");
        assert_eq!(of_directory.to_string().parse(), Ok(of_directory));
        assert!(ArchiveUrl::of_directory(Path::new("a")).is_err());
    }
}
