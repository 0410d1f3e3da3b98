//! Where a control node keeps what it knows: either of the databases.

use tempfile::TempDir;

use super::postgres_server::PostgresServer;

/// A database of a test's own. Gone when dropped.
pub enum Database {
    Sqlite(TempDir),
    Postgres(PostgresServer),
}

impl Database {
    /// A file.
    pub fn sqlite() -> Database {
        Database::Sqlite(TempDir::new().expect("a folder"))
    }

    /// A server.
    pub fn postgres() -> Database {
        Database::Postgres(PostgresServer::start())
    }

    /// What it is called in texts.
    pub fn name(&self) -> &'static str {
        match self {
            Database::Sqlite(_) => "SQLite",
            Database::Postgres(_) => "PostgreSQL",
        }
    }

    /// Puts it into a configuration of [`super::process::config`].
    pub fn named_in(&self, config: &str) -> String {
        let settings = match self {
            Database::Sqlite(dir) => format!("store = \"sqlite:{}\"", dir.path().join("mediagate.db").display()),
            Database::Postgres(server) => {
                format!("store = \"{}\"\nstore_password_file = \"{}\"", server.url(), server.password_file().display())
            }
        };
        config.replace("store = \"sqlite:mediagate.db\"", &settings)
    }
}
