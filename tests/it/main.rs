//! Integration tests: real listeners, real bytes.
