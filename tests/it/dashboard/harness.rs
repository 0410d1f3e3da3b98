//! A gateway, and a browser's manners without one: a cookie that is kept, forms that are sent as pages have them.

use std::net::SocketAddr;

use crate::support::client::{Response, raw, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;

/// Every page of somebody who is logged in.
pub(super) const PAGES: [&str; 6] = [
    "/dashboard",
    "/dashboard/users",
    "/dashboard/user?uid=bob",
    "/dashboard/access",
    "/dashboard/explain",
    "/dashboard/nodes",
];

/// A storage that has every object.
pub(super) fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")
}

/// A gateway over it.
pub(super) fn gateway() -> (Origin, Mediagate) {
    let storage = storage();
    let mediagate = Mediagate::serve(storage.address, unlimited);
    (storage, mediagate)
}

/// Lets a test ask again and again until something is so.
pub(super) fn unlimited(config: String) -> String {
    config.replace("[control]\n", "[control]\ncalls_per_minute = 0\n")
}

pub(super) fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A form on its way, with further header fields in front.
pub(super) fn posted(host: SocketAddr, path: &str, fields: &[(&str, &str)], form: &str) -> String {
    let typed = fields.iter().any(|(name, _)| *name == "Content-Type");
    let mut text = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    if !typed {
        text += "Content-Type: application/x-www-form-urlencoded\r\n";
    }
    text + &format!("Content-Length: {}\r\n\r\n{form}", form.len())
}

/// Where an answer sends a browser to.
#[track_caller]
pub(super) fn link(answer: &Response) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").expect("a place").to_owned()
}

/// The value of the first hidden field `name` of a page.
#[track_caller]
pub(super) fn field(page: &str, name: &str) -> String {
    let found = page.split_once(&format!("name=\"{name}\" value=\"")).and_then(|(_, rest)| rest.split_once('"'));
    found.unwrap_or_else(|| panic!("no {name}: {page}")).0.to_owned()
}

/// Nothing of an answer is of use to another site.
#[track_caller]
pub(super) fn is_sealed(path: &str, answer: &Response) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    for rule in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{path}");
    }
    assert!(!answer.headers.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-")), "{path}");
}

/// Somebody with a browser.
pub(super) struct Browser<'a> {
    gateway: &'a Mediagate,
    /// What is sent as `Cookie`.
    pub(super) cookie: Option<String>,
}

impl Browser<'_> {
    pub(super) fn new(gateway: &Mediagate) -> Browser<'_> {
        Browser { gateway, cookie: None }
    }

    pub(super) fn get(&self, path: &str) -> Response {
        let cookie: Vec<_> = self.cookie.iter().map(|cookie| ("Cookie", cookie.as_str())).collect();
        request(self.gateway.control, "GET", path, &cookie)
    }

    /// Sends a form as a page of the dashboard does.
    pub(super) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let host = self.gateway.control;
        let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let origin = format!("http://{host}");
        let mut headers = vec![("Origin", origin.as_str()), ("Sec-Fetch-Site", "same-origin")];
        headers.extend(self.cookie.iter().map(|cookie| ("Cookie", cookie.as_str())));
        raw(host, posted(host, path, &headers, &form.join("&")))
    }

    /// Sends a form of this session; returns the page that it leads to.
    #[track_caller]
    pub(super) fn submit(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let token = field(&self.get("/dashboard").text(), "form_token");
        let answer = self.post(path, &[fields, &[("form_token", token.as_str())]].concat());
        self.get(&link(&answer)).text()
    }

    /// Logs in, and keeps the cookie.
    pub(super) fn login(&mut self, app: &str, key: &str) -> Response {
        let answer = self.post("/dashboard/login", &[("app", app), ("key", key)]);
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// The file beside the pages whose name ends so.
    pub(super) fn asset(&self, extension: &str) -> Response {
        let page = self.get("/dashboard/login").text();
        let paths = page.split('"').filter(|part| part.starts_with("/dashboard/assets/"));
        let path = paths.into_iter().find(|path| path.ends_with(extension)).expect("a file").to_owned();
        let answer = self.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        answer
    }
}
