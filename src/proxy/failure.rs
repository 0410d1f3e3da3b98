//! What goes wrong on the way to a storage.

use pingora::{Error, ErrorType};

use super::exchange::Exchange;
use crate::gate::forward::StorageFailure;

/// What an error of Pingora's on the way to the storage means.
pub(super) fn failure_of(error: &Error) -> StorageFailure {
    use ErrorType::{ConnectTimedout, ReadTimedout, TLSHandshakeTimedout, WriteTimedout};
    match error.etype() {
        ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => StorageFailure::TimedOut,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => StorageFailure::Unreachable,
        _ => StorageFailure::BadAnswer,
    }
}

/// Tells the operator what a client is not told. The error's own text stays out: it may quote what was sent.
pub(super) fn warn_of(failure: StorageFailure, error: &Error, exchange: &Exchange) {
    if let Some(target) = exchange.target.as_ref().filter(|_| failure != StorageFailure::NotFound) {
        log::warn!("storage {}: {} ({})", target.endpoint(), failure.reason(), error.etype().as_str());
    }
}
