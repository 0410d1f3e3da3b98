//! Everything that is wrong with a configuration, for the person who must mend it.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake. Never shows a value: it could be a secret that was put in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// Where, as a path of keys: `apps[0].keys[1].alg`. Empty when it is the whole file.
    pub key: String,
    /// The line, counted from 1; `None` where the file has no such line, as for a section that is missing.
    pub line: Option<usize>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Every mistake of one file, in the order of its lines.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    file: PathBuf,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
        ConfigErrors { file: file.to_owned(), errors }
    }

    /// The whole file is at fault, so that nothing else can be said about it.
    pub(super) fn whole_file(file: &Path, line: Option<usize>, message: String) -> ConfigErrors {
        ConfigErrors::new(file, vec![ConfigError { key: String::new(), line, message }])
    }

    /// The mistakes, in the order of their lines; those without a line come last.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line for each mistake: `FILE:LINE: key: message`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, ConfigError { key, line, message }) in self.errors.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file.display())?;
            if let Some(line) = line {
                write!(f, "{line}:")?;
            }
            if !key.is_empty() {
                write!(f, " {key}:")?;
            }
            write!(f, " {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
