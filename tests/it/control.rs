//! The control plane through the real binary, over TLS, on SQLite and on PostgreSQL.

mod gateway;
mod links;
mod logins;
mod openapi;
mod settings;
