//! Versions as servers print them with `--version`.

use std::fmt;

/// A server's version. What a program leaves out counts as 0, and marks of pre-releases are ignored:
/// `2.12.0-RC.3` has what 2.12 brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl Version {
    /// The version `major.minor.0`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self {
            major,
            minor,
            patch: 0,
        }
    }

    /// Reads the first word of `printed` that begins like a version (`v2.14.0`, `15.18`, `18beta1`).
    pub fn parse(printed: &str) -> Option<Self> {
        printed.split_whitespace().find_map(Self::parse_word)
    }

    fn parse_word(word: &str) -> Option<Self> {
        let word = word.strip_prefix('v').unwrap_or(word);
        let mut numbers = [0; 3];
        let mut rest = word;
        for (index, number) in numbers.iter_mut().enumerate() {
            if index > 0 {
                let Some(after_dot) = rest.strip_prefix('.') else {
                    break;
                };
                rest = after_dot;
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                break;
            }
            *number = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
        }
        let begins_with_digit = word
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit());
        begins_with_digit.then_some(Self {
            major: numbers[0],
            minor: numbers[1],
            patch: numbers[2],
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 {
            write!(formatter, ".{}", self.patch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_print() {
        let version = |major, minor, patch| {
            Some(Version {
                major,
                minor,
                patch,
            })
        };
        for (printed, expected) in [
            ("nats-server: v2.14.0\n", version(2, 14, 0)),
            ("nats-server: v2.9.10", version(2, 9, 10)),
            ("nats-server: v2.12.0-RC.3", version(2, 12, 0)),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                version(15, 18, 0),
            ),
            ("postgres (PostgreSQL) 18.6", version(18, 6, 0)),
            ("postgres (PostgreSQL) 19devel", version(19, 0, 0)),
            ("postgres (PostgreSQL) 18beta1", version(18, 0, 0)),
            ("postgres (PostgreSQL) 9.6.24", version(9, 6, 24)),
            ("2", version(2, 0, 0)),
            ("2.", version(2, 0, 0)),
            ("", None),
            ("no such option", None),
            ("version unknown", None),
            ("v", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(Version::parse(printed), expected, "{printed:?}");
        }
    }

    #[test]
    fn compares_numbers_not_text() {
        let old = Version::parse("v2.9.10");
        let required = Some(Version::new(2, 12));
        assert!(old < required);
        assert!(Version::parse("v2.12.0") >= required);
        assert!(Version::parse("v2.100.0") > required);
        assert!(Version::parse("v10.0.0") > required);
    }
}
