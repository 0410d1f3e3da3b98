//! The dashboard: who gets in, what other sites cannot do, and what its pages say and do.

mod browser;
mod harness;
mod pages;

use serde_json::{Value, json};

use crate::support::certificates::certificates;
use crate::support::client::{Tls, get, request};
use crate::support::process::{API_KEY, Mediagate};
use crate::support::{eventually, fat};
use harness::{Browser, field, gateway, link, posted, storage};

#[test]
fn whoever_has_a_key_with_full_access_gets_in_and_nobody_else() {
    let (_storage, mediagate) = gateway();
    let sign_up = mediagate.control("POST", "/v3/apikeys", &json!({"name": "sign-up", "scope": "authOnly"})).json();
    let sign_up = sign_up["data"]["apiKey"].as_str().unwrap();
    let mut browser = Browser::new(&mediagate);
    for (app, key, status) in [
        ("", "", 401),
        ("", "wrong", 401),
        ("demo", &API_KEY[1..], 401),
        ("demo", &API_KEY.to_uppercase(), 401),
        ("demo", sign_up, 403),
        ("other", API_KEY, 400),
        ("<b>", API_KEY, 400),
    ] {
        let refused = browser.login(app, key);
        assert_eq!(refused.status, status, "{app} {key}");
        assert!(refused.header("set-cookie").is_none() && refused.text().contains("role=\"alert\""), "{app} {key}");
        assert!(key.is_empty() || !refused.text().contains(key), "the key is not repeated");
        assert!(!refused.text().contains("<b>\""), "{}", refused.text());
    }
    for path in harness::PAGES {
        assert_eq!(link(&browser.get(path)), "/dashboard/login", "{path}");
    }
    for (app, at) in [("demo", 0), ("", 1)] {
        let mut browser = Browser::new(&mediagate);
        let welcome = browser.login(app, API_KEY);
        assert_eq!((welcome.status, link(&welcome)), (303, "/dashboard".to_owned()), "{at}");
        let cookie = welcome.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/dashboard; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(browser.get("/dashboard").status, 200);
    }
    assert!(!mediagate.log().contains(API_KEY));
}

#[test]
fn with_tls_the_cookie_is_bound_to_the_host() {
    let folder = tempfile::TempDir::new().unwrap();
    let [ca, certificate, key] = certificates(folder.path());
    let storage = storage();
    let mediagate = Mediagate::serve(storage.address, |config| {
        let files = format!("tls_cert_file = \"{}\"\ntls_key_file = \"{}\"", certificate.display(), key.display());
        config.replace("[control]\n", &format!("[control]\n{files}\n"))
    });
    let tls = Tls::trusting(&ca);
    let login = |origin: &str| {
        let origin = origin.replace("HOST", &mediagate.control.to_string());
        let form = format!("app=demo&key={API_KEY}");
        let host = mediagate.control;
        tls.raw(mediagate.control, posted(host, "/dashboard/login", &[("Origin", &origin)], &form))
    };
    assert_eq!(login("http://HOST").status, 403);
    let welcome = login("https://HOST");
    let cookie = welcome.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("__Host-mediagate="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Strict"), "{cookie}");
    let shown = cookie.split(';').next().unwrap();
    let ask = |cookie: &str| {
        let head = format!("Host: {}\r\nConnection: close\r\nCookie: {cookie}", mediagate.control);
        tls.raw(mediagate.control, format!("GET /dashboard HTTP/1.1\r\n{head}\r\n\r\n")).status
    };
    // Under the name without the prefix anybody might have planted it.
    assert_eq!((ask(shown), ask(&shown.replace("__Host-", ""))), (200, 303));
}

#[test]
fn a_session_is_of_its_own_id_until_it_is_ended() {
    let (_storage, mediagate) = gateway();
    // An id from before the login, planted by somebody else, is not taken over.
    let planted = "0123456789abcdef".repeat(4);
    let mut browser = Browser::new(&mediagate);
    browser.cookie = Some(format!("mediagate={planted}"));
    browser.login("demo", API_KEY);
    let first = browser.cookie.clone().unwrap();
    assert!(!first.contains(&planted) && first.len() == "mediagate=".len() + 64, "{first}");
    assert_eq!(browser.get("/dashboard").status, 200);
    // Another login is another session, and the one before is over.
    browser.login("demo", API_KEY);
    let second = browser.cookie.clone().unwrap();
    assert_ne!(first, second);
    let ask = |cookie: &str| request(mediagate.control, "GET", "/dashboard", &[("Cookie", cookie)]).status;
    assert_eq!((ask(&first), ask(&second), ask(&format!("mediagate={planted}"))), (303, 200, 303));
    // Two of the name are none, wherever they stand.
    assert_eq!(ask(&format!("{second}; {first}")), 303);
    assert_eq!(request(mediagate.control, "GET", "/dashboard", &[("Cookie", &first), ("Cookie", &second)]).status, 303);
    assert_eq!(ask(&format!("other=1; {second}")), 200);
    // A logout needs the form, and ends it on the server.
    let token = field(&browser.get("/dashboard").text(), "form_token");
    assert_eq!(browser.get("/dashboard/logout").status, 404);
    assert_eq!(browser.post("/dashboard/logout", &[]).status, 400);
    assert_eq!(ask(&second), 200);
    let bye = browser.post("/dashboard/logout", &[("form_token", &token)]);
    assert_eq!(link(&bye), "/dashboard/login");
    assert!(bye.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(ask(&second), 303);
}

#[test]
fn a_key_that_is_deleted_ends_its_sessions() {
    let (_storage, mediagate) = gateway();
    let made = mediagate.control("POST", "/v3/apikeys", &json!({"name": "anna", "scope": "fullAccess"})).json();
    let (key, id) = (made["data"]["apiKey"].as_str().unwrap(), made["data"]["id"].as_str().unwrap());
    let mut browser = Browser::new(&mediagate);
    assert_eq!(browser.login("", key).status, 303);
    assert!(browser.get("/dashboard").text().contains("<b>anna</b>"));
    assert_eq!(mediagate.control("DELETE", &format!("/v3/apikeys/{id}"), &json!({})).status, 200);
    assert_eq!(link(&browser.get("/dashboard")), "/dashboard/login");
}

#[test]
fn other_sites_can_neither_read_nor_change_anything() {
    let (_storage, mediagate) = gateway();
    let mut browser = Browser::new(&mediagate);
    browser.login("demo", API_KEY);
    let token = field(&browser.get("/dashboard").text(), "form_token");
    let own = format!("http://{}", mediagate.control);
    let form = format!("uid=bob&form_token={token}");
    let cookie = browser.cookie.clone().unwrap();
    let post = |path: &str, fields: &[(&str, &str)], form: &str| {
        let fields = [fields, &[("Cookie", cookie.as_str())]].concat();
        crate::support::client::raw(mediagate.control, posted(mediagate.control, path, &fields, form))
    };
    let open = || get(mediagate.media, &format!("/demo/a.jpg?fat={}", fat("bob"))).status;
    // Whatever comes from elsewhere, or does not say that it is from here, changes nothing; nor does the login.
    for fields in [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", "null")],
        &[("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Referer", own.as_str())],
        &[],
    ] {
        assert_eq!(post("/dashboard/user/deactivate", fields, &form).status, 403, "{fields:?}");
        let refused = post("/dashboard/login", fields, &format!("app=demo&key={API_KEY}"));
        assert_eq!((refused.status, refused.header("set-cookie")), (403, None), "{fields:?}");
    }
    // A form that is not this session's changes nothing either.
    let mut other = Browser::new(&mediagate);
    other.login("demo", API_KEY);
    let foreign = field(&other.get("/dashboard").text(), "form_token");
    let here = [("Origin", own.as_str())];
    for form in [
        "uid=bob".to_owned(),
        "uid=bob&form_token=".to_owned(),
        format!("uid=bob&form_token={foreign}"),
        format!("uid=bob&form_token={token}&form_token={token}"),
        format!("uid=bob&form_token={token}&surprise=1"),
        format!("uid=&form_token={token}"),
        format!("uid=b+b&form_token={token}"),
        format!("form_token={token}"),
    ] {
        assert_eq!(post("/dashboard/user/deactivate", &here, &form).status, 400, "{form}");
    }
    assert_eq!(open(), 200);
    let no_form = [("Origin", own.as_str()), ("Content-Type", "text/plain")];
    assert_eq!(post("/dashboard/user/deactivate", &no_form, &form).status, 415);
    assert_eq!(open(), 200);
    assert_eq!(post("/dashboard/user/deactivate", &here, &form).status, 303);
    assert_eq!(open(), 403);
    // No page is of use to another site, in a frame or by a script.
    for path in harness::PAGES.iter().chain(&["/dashboard/login", "/dashboard/nothing", "/dashboard/assets/x.css"]) {
        let answer =
            request(mediagate.control, "GET", path, &[("Cookie", &cookie), ("Origin", "https://evil.example")]);
        harness::is_sealed(path, &answer);
    }
    let style = browser.asset(".css");
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(browser.asset(".svg").header("content-type"), Some("image/svg+xml"));
}

#[test]
fn the_cookie_is_no_credential_of_the_api() {
    let (_storage, mediagate) = gateway();
    let mut browser = Browser::new(&mediagate);
    browser.login("demo", API_KEY);
    let cookie = browser.cookie.clone().unwrap();
    let id = cookie.split_once('=').unwrap().1;
    for fields in [
        &[("Cookie", cookie.as_str())][..],
        &[("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "same-origin")],
        &[("apikey", id)],
        &[("authToken", id)],
    ] {
        for path in ["/v3/users", "/v3/nodes", "/v3/app", "/v3.0/users/bob/auth_tokens", "/v3/me"] {
            let answer = request(mediagate.control, "GET", path, fields);
            assert_eq!(answer.status, 401, "{path} {fields:?}");
        }
    }
    // What pages of any site may read is what it was; of the rest, nothing.
    let allowed = |path: &str| {
        let answer = request(mediagate.control, "GET", path, &[("Origin", "https://evil.example")]);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!((allowed("/v3/me").as_deref(), allowed("/v3/users")), (Some("*"), None));
    assert_eq!(allowed("/dashboard/login"), None);
    // And an API key is no session.
    assert_eq!(request(mediagate.control, "GET", "/dashboard", &[("apikey", API_KEY)]).status, 303);
}

#[test]
fn what_others_have_written_is_text_on_every_page() {
    let (_storage, mediagate) = gateway();
    let (tag, uid) = ("<script>alert(1)</script>", "<img/src=x>&\"'..%2f");
    let profile = json!({
        "uid": uid, "name": tag, "role": "<i>", "statusMessage": tag, "avatar": "https://x.example/?a=<b>\"",
        "metadata": {"<u>": tag}, "tags": [tag], "withAuthToken": true,
    });
    let made = mediagate.control("POST", "/v3/users", &profile);
    let profile = if made.status == 200 { profile } else { without(profile, "avatar") };
    assert!(made.status == 200 || mediagate.control("POST", "/v3/users", &profile).status == 200, "{}", made.text());
    let sessions = format!("/v3/users/{}/auth_tokens", harness::encoded(uid));
    let agent = json!({"platform": tag, "userAgent": tag});
    assert_eq!(mediagate.control("POST", &sessions, &agent).status, 200);
    let mut browser = Browser::new(&mediagate);
    browser.login("demo", API_KEY);
    for path in [
        "/dashboard/users".to_owned(),
        format!("/dashboard/users?search={}", harness::encoded(tag)),
        format!("/dashboard/users?search={}&show=deactivated", harness::encoded("\"><script>")),
        format!("/dashboard/user?uid={}", harness::encoded(uid)),
        format!("/dashboard/user?uid={}", harness::encoded(&tag.replace(' ', ""))),
        format!("/dashboard/{}", harness::encoded(tag)),
        format!("/dashboard/users?show={}", harness::encoded(tag)),
    ] {
        let text = browser.get(&path).text();
        assert!(text.contains("</html>"), "{path}");
        assert!(!["<script", "<img", "<i>", "<u>"].iter().any(|tag| text.contains(tag)), "{path}: {text}");
    }
    let shown = browser.get(&format!("/dashboard/user?uid={}", harness::encoded(uid))).text();
    assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && shown.contains("&lt;img/src=x&gt;"), "{shown}");
    // Also in what is told after a change.
    let done = browser.submit("/dashboard/user/deactivate", &[("uid", uid)]);
    assert!(done.contains("class=\"notice\"") && !done.contains("<img"), "{done}");
    let explained =
        browser.submit("/dashboard/explain", &[("url", "http://h/demo/%3Cscript%3Ealert(1)%3C/script%3E?fat=x")]);
    assert!(explained.contains("class=\"notice\"") && !explained.contains("<script"), "{explained}");
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().expect("an object").remove(name);
    value
}

#[test]
fn one_key_makes_so_many_calls_a_minute_here_and_there() {
    let storage = storage();
    let mediagate =
        Mediagate::serve(storage.address, |config| config.replace("[control]\n", "[control]\ncalls_per_minute = 3\n"));
    let mut browser = Browser::new(&mediagate);
    assert_eq!(browser.login("demo", API_KEY).status, 303);
    let mut last = 0;
    eventually("there are too many", || {
        last = browser.get("/dashboard").status;
        last == 429
    });
    assert_eq!(browser.login("demo", API_KEY).status, 429);
}
