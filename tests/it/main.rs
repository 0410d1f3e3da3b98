//! Integration tests: the real binary, real listeners, real bytes.

mod support;
