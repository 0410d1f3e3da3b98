//! The dashboard in Chromium.

use tempfile::TempDir;

use crate::js_client::check;
use crate::support::process::Mediagate;

#[test]
fn it_is_used_with_the_keyboard_alone_in_a_real_browser() {
    let state = TempDir::new().expect("a folder");
    let (_gate, ready) = Mediagate::dev(state.path(), &[]);
    check(&["../../tests/browser/dashboard.test.js"], &ready);
}
