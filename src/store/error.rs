//! Why a store cannot be used, in words for the person who must mend it.

use super::Location;

/// SQLite's primary result codes for a damaged file and for one that is no database.
const CORRUPT_CODES: [i32; 2] = [11, 26];

/// PostgreSQL's classes for wrong credentials and for a database that is not there.
const REFUSED_CODES: [&str; 4] = ["28P01", "28000", "3D000", "42501"];

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be read and written.
    #[error("cannot open the store `{store}`: {cause}")]
    Open {
        /// Which store.
        store: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The database does not let us in.
    #[error("the store `{store}` refuses the connection: {cause}")]
    Refused {
        /// Which store.
        store: String,
        /// What the database says.
        cause: String,
    },
    /// The file is no database, or its content does not hold together.
    #[error(
        "the store `{store}` is damaged or is no mediagate store ({reason}): restore it from a backup; without it \
         every deactivation is forgotten"
    )]
    Damaged {
        /// Which store.
        store: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version has changed the store in ways that this one does not know.
    #[error("the store `{store}` has schema {found}, this version knows {known} at most: run the newer mediagate")]
    Newer {
        /// Which store.
        store: String,
        /// The store's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A statement failed: a full disk, a lost connection, another process that keeps the file locked.
    #[error("the store `{store}` failed: {cause}")]
    Failed {
        /// Which store.
        store: String,
        /// What the database says.
        cause: String,
    },
}

impl StoreError {
    pub(super) fn new(location: &Location, cause: &sqlx::Error) -> StoreError {
        let store = location.to_string();
        let code = cause.as_database_error().and_then(|error| error.code());
        let number = code.as_ref().and_then(|code| code.parse::<i32>().ok());
        match (location, code) {
            (Location::Sqlite(_), _) if number.is_some_and(|code| CORRUPT_CODES.contains(&(code & 0xff))) => {
                StoreError::Damaged { store, reason: cause.to_string() }
            }
            (Location::Postgres { .. }, Some(code)) if REFUSED_CODES.contains(&code.as_ref()) => {
                StoreError::Refused { store, cause: cause.to_string() }
            }
            _ => StoreError::Failed { store, cause: cause.to_string() },
        }
    }
}
