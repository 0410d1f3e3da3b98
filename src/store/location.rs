//! Where a store is: a SQLite file or a PostgreSQL database, and the little in which they differ.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use crate::secret::Secret;

/// Where a store is. Shows no password.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file on this machine, made when it is not there.
    Sqlite(PathBuf),
    /// A database that is there already.
    Postgres {
        /// `postgres://user@host/db`, with `sslmode` and the like as parameters, without a password.
        url: String,
        /// The password, where one is asked for.
        password: Option<Secret>,
    },
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Location {
        Location::Sqlite(path.to_owned())
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Location {
        Location::Sqlite(path.clone())
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Location {
        location.clone()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Sqlite(path) => path.display().fmt(f),
            // Parameters may name files of the operator's; what tells databases apart comes before them.
            Location::Postgres { url, .. } => f.write_str(url.split('?').next().unwrap_or_default()),
        }
    }
}

impl Location {
    /// The URL with everything in it, a password too: not for any message.
    pub(super) fn url(&self) -> String {
        match self {
            Location::Sqlite(path) => {
                use std::os::unix::ffi::OsStrExt;
                format!("sqlite:{}", percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC))
            }
            Location::Postgres { url, password: None } => url.clone(),
            Location::Postgres { url, password: Some(password) } => match url.split_once('@') {
                Some((user, rest)) => {
                    format!("{user}:{}@{rest}", percent_encode(password.expose(), NON_ALPHANUMERIC))
                }
                None => url.clone(),
            },
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Location::Sqlite(_) => Dialect::Sqlite,
            Location::Postgres { .. } => Dialect::Postgres,
        }
    }
}

/// What the two databases say differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Said on each new connection, one after the other: what is acknowledged is on the disk, whatever the server's own
    /// settings are, and nothing waits for ever.
    pub(super) fn settings(self) -> &'static [&'static str] {
        match self {
            Dialect::Sqlite => &[
                "PRAGMA busy_timeout = 5000",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
            ],
            Dialect::Postgres => &[
                "SET synchronous_commit = on",
                "SET lock_timeout = '10s'",
                "SET idle_in_transaction_session_timeout = '15s'",
            ],
        }
    }

    /// Begins a transaction that changes something.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        }
    }

    /// Begins one that sees a single moment.
    pub(super) fn begin_read(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Reads the counter and keeps every other writer out until the transaction ends.
    pub(super) fn lock_counter(self) -> &'static str {
        match self {
            Dialect::Sqlite => "SELECT seq FROM counter",
            Dialect::Postgres => "SELECT seq FROM counter FOR UPDATE",
        }
    }

    /// Names the tables that are there.
    pub(super) fn tables(self) -> &'static str {
        match self {
            Dialect::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'",
            Dialect::Postgres => {
                "SELECT CAST(tablename AS TEXT) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
            }
        }
    }

    /// Gathers a table of users into one JSON array of arrays: a row each would be a wait for the database's thread each.
    pub(super) fn gathered(self) -> &'static str {
        match self {
            Dialect::Sqlite => "json_group_array(json_array(uid, deactivated, flushed))",
            Dialect::Postgres => "CAST(COALESCE(json_agg(json_build_array(uid, deactivated, flushed)), '[]') AS TEXT)",
        }
    }

    /// The table `listed`, whose column `value` has the texts of the JSON array $2. None may have a NUL.
    pub(super) fn listed(self) -> &'static str {
        match self {
            Dialect::Sqlite => "json_each($2) AS listed",
            Dialect::Postgres => "jsonb_array_elements_text(CAST($2 AS JSONB)) AS listed (value)",
        }
    }

    /// Takes the lease $1 for $2 when it is the caller's, or for $3 milliseconds nobody has renewed it, by the
    /// database's own clock. One that ends far later than any lease would is from before the clock was put back.
    pub(super) fn take_lease(self) -> &'static str {
        match self {
            Dialect::Sqlite => {
                "UPDATE leases SET holder = $2, until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3
                 WHERE name = $1 AND (holder = $2 OR until < CAST(unixepoch('subsec') * 1000 AS INTEGER)
                     OR until > CAST(unixepoch('subsec') * 1000 AS INTEGER) + 2 * $3)"
            }
            Dialect::Postgres => {
                "UPDATE leases SET holder = $2,
                     until = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + $3
                 WHERE name = $1
                 AND (holder = $2 OR until < CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)
                     OR until > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + 2 * $3)"
            }
        }
    }

    /// Tells listeners that something was committed; nothing where nobody can listen.
    pub(super) fn notify(self) -> Option<&'static str> {
        match self {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some("NOTIFY mediagate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_the_url_and_nowhere_else() {
        let location = Location::Postgres {
            url: "postgres://gate@db.example/media?sslmode=require".into(),
            password: Some(Secret::new("p@ss:word/")),
        };
        assert_eq!(location.url(), "postgres://gate:p%40ss%3Aword%2F@db.example/media?sslmode=require");
        assert_eq!(location.to_string(), "postgres://gate@db.example/media");
        assert!(!format!("{location:?}").contains("ss:word"));
        let file = Location::Sqlite("/tmp/a b?c.db".into());
        assert_eq!(file.url(), "sqlite:%2Ftmp%2Fa%20b%3Fc%2Edb");
    }
}
