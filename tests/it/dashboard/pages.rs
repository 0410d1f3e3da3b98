//! What the pages say, and what their forms do.

use serde_json::json;

use super::harness::{Browser, PAGES, encoded, gateway, storage, unlimited};
use crate::support::client::get;
use crate::support::process::{API_KEY, Mediagate};
use crate::support::{eventually, fat};

fn register(mediagate: &Mediagate, uid: &str, name: &str) {
    let user = json!({"uid": uid, "name": name, "withAuthToken": true});
    assert_eq!(mediagate.control("POST", "/v3/users", &user).status, 200, "{uid}");
}

fn logged_in(mediagate: &Mediagate) -> Browser<'_> {
    let mut browser = Browser::new(mediagate);
    assert_eq!(browser.login("demo", API_KEY).status, 303);
    browser
}

#[test]
fn every_page_can_be_found_one_s_way_in_without_seeing_it() {
    let (_storage, mediagate) = gateway();
    register(&mediagate, "bob", "Bob");
    let browser = logged_in(&mediagate);
    for path in PAGES {
        let page = browser.get(path);
        let text = page.text();
        assert_eq!(page.status, 200, "{path}: {text}");
        let count = |part: &str| text.matches(part).count();
        assert_eq!(
            ["<h1>", "<main ", "class=\"skip\"", "aria-current=\"page\"", "lang=\"en\""].map(count),
            [1; 5],
            "{path}"
        );
        // Every table is named, and so is every input that is seen.
        assert_eq!(count("<table>"), count("<caption>"), "{path}");
        let inputs = text.split("<input ").skip(1).chain(text.split("<select ").skip(1));
        for input in inputs.map(|rest| rest.split('>').next().unwrap()).filter(|input| !input.contains("hidden")) {
            let id = input.split("id=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
            assert!(text.contains(&format!("<label for=\"{id}\"")), "{path}: {input}");
        }
        // Nothing that a browser is told not to run.
        assert!(!["<script", "style=\"", " onclick"].iter().any(|part| text.contains(part)), "{path}");
        assert_eq!(
            browser.get(&format!("{path}{}x=1", if path.contains('?') { '&' } else { '?' })).status,
            400,
            "{path}"
        );
    }
}

#[test]
fn users_are_searched_for_page_by_page() {
    let (_storage, mediagate) = gateway();
    for n in 0..53 {
        register(&mediagate, &format!("u{n:02}"), &format!("Person {n}"));
    }
    register(&mediagate, "zoe", "Anna");
    mediagate.deactivate("zoe");
    mediagate.deactivate("stranger");
    let browser = logged_in(&mediagate);
    let users = |query: &str| {
        let text = browser.get(&format!("/dashboard/users{query}")).text();
        let rows = text.split("<th scope=\"row\"><a href=\"").skip(1).count();
        (rows, text)
    };
    let (rows, first) = users("");
    assert_eq!(rows, 50);
    assert!(first.contains("54 users") && first.contains("Page 1 of 2") && !first.contains("rel=\"prev\""), "{first}");
    let (rows, second) = users("?page=2");
    assert_eq!(rows, 4);
    assert!(second.contains("Page 2 of 2") && !second.contains("rel=\"next\"") && second.contains(">zoe<"), "{second}");
    let (rows, found) = users("?search=anN");
    assert_eq!((rows, found.contains(">deactivated<"), found.contains("value=\"anN\"")), (1, true, true));
    assert_eq!((users("?search=u0").0, users("?show=deactivated").0, users("?show=active&page=2").0), (10, 1, 3));
    // Who is not registered can be found by the whole uid.
    let (rows, none) = users("?search=stranger");
    assert_eq!(rows, 0);
    assert!(none.contains("/dashboard/user?uid=stranger"), "{none}");
    assert!(browser.get("/dashboard/user?uid=stranger").text().contains(">deactivated<"));
    for bad in ["?page=0", "?page=x", "?show=some", "?search=a&search=b", "?uid=a"] {
        assert_eq!(browser.get(&format!("/dashboard/users{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn a_user_is_deactivated_with_a_receipt_and_reactivated() {
    let (_storage, mediagate) = gateway();
    // A uid that would be another page, were it a segment of a path.
    for uid in ["bob", ".."] {
        register(&mediagate, uid, "Bob");
        let browser = logged_in(&mediagate);
        let page = || browser.get(&format!("/dashboard/user?uid={}", encoded(uid))).text();
        let open = || get(mediagate.media, &format!("/demo/a.jpg?fat={}", fat(uid))).status;
        assert_eq!(open(), 200);
        assert!(page().contains(">active<"));
        let told = browser.submit("/dashboard/user/deactivate", &[("uid", uid)]);
        assert_eq!(open(), 403);
        assert!(
            told.contains("is deactivated now.") && told.contains("1 of 1 nodes have it, the slowest after"),
            "{told}"
        );
        assert!(told.contains("every link and session of this user is dead"), "{told}");
        // It is told once.
        assert!(!page().contains("class=\"notice\"") && page().contains("Reactivate"));
        assert!(browser.submit("/dashboard/user/deactivate", &[("uid", uid)]).contains("was deactivated already."));
        let told = browser.submit("/dashboard/user/reactivate", &[("uid", uid)]);
        assert!(told.contains("is active now."), "{told}");
        assert_eq!(open(), 200);
    }
}

#[test]
fn sessions_are_shown_without_their_secret_and_ended() {
    let (_storage, mediagate) = gateway();
    register(&mediagate, "bob", "Bob");
    let login = || {
        let details = json!({"platform": "phone", "userAgent": "chat/1"});
        let made = mediagate.control("POST", "/v3/users/bob/auth_tokens", &details).json()["data"].clone();
        let token = made["authToken"].as_str().unwrap().to_owned();
        let sid = made["sid"].as_str().unwrap().to_owned();
        let text = format!(
            "PUT /v3/me HTTP/1.1\r\nHost: h\r\nappId: demo\r\nauthToken: {token}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let me = crate::support::client::raw(mediagate.control, text).json();
        (token, sid, me["data"]["fat"].as_str().expect("a FAT").to_owned())
    };
    let (first, second) = (login(), login());
    let open = |fat: &str| get(mediagate.media, &format!("/demo/a.jpg?fat={fat}")).status;
    assert_eq!((open(&first.2), open(&second.2)), (200, 200));
    let browser = logged_in(&mediagate);
    let page = browser.get("/dashboard/user?uid=bob").text();
    assert!(page.contains(&first.1) && page.contains("phone") && page.contains("chat/1"), "{page}");
    assert!(!page.contains(&first.0) && !page.contains(&first.0[first.0.len() - 30..]), "no secret");
    let told = browser.submit("/dashboard/user/end-session", &[("uid", "bob"), ("sid", &first.1)]);
    assert!(told.contains("has ended, with its links.") && told.contains("1 of 1 nodes"), "{told}");
    assert_eq!((open(&first.2), open(&second.2)), (403, 200));
    let told = browser.submit("/dashboard/user/end-sessions", &[("uid", "bob")]);
    assert!(told.contains("None: nobody is logged in as this user."), "{told}");
    assert!(told.contains("What was issued before"), "{told}");
    eventually("the second is dead as well", || open(&second.2) == 403);
    let token = super::harness::field(&browser.get("/dashboard").text(), "form_token");
    for (fields, status) in [
        (&[("uid", "bob"), ("sid", &*first.1)][..], 404),
        (&[("uid", "bob")], 400),
        (&[("uid", "bob"), ("sid", "x")], 404),
    ] {
        let fields = [fields, &[("form_token", token.as_str())]].concat();
        assert_eq!(browser.post("/dashboard/user/end-session", &fields).status, status, "{fields:?}");
    }
}

#[test]
fn the_switch_goes_on_when_confirmed_and_never_back() {
    let storage = storage();
    let mediagate = Mediagate::serve(storage.address, |config| {
        unlimited(config).replace("id = \"demo\"", "id = \"demo\"\naccess = \"off\"")
    });
    let browser = logged_in(&mediagate);
    let page = || browser.get("/dashboard/access").text();
    assert!(page().contains("<li aria-current=\"step\"><b>off</b>"), "{}", page());
    let told = browser.submit("/dashboard/access", &[("access", "observe"), ("confirm", "yes")]);
    assert!(told.contains("Access is at <b>observe</b> now.") && told.contains("of 1 nodes have it"), "{told}");
    assert_eq!(get(mediagate.media, "/demo/a.jpg").status, 200);
    eventually("what was found is shown", || page().contains("token_missing") && page().contains("demo/a.jpg"));
    let token = super::harness::field(&page(), "form_token");
    let refused = |fields: &[(&str, &str)], why: &str| {
        let answer = browser.post("/dashboard/access", &[fields, &[("form_token", token.as_str())]].concat());
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.text().contains(why), "{}", answer.text());
    };
    refused(&[("access", "enforce")], "Confirm that you know");
    refused(&[("access", "enforce"), ("confirm", "no")], "Confirm that you know");
    for back in ["off", "", "Enforce", "on"] {
        refused(&[("access", back), ("confirm", "yes")], "and not back");
    }
    assert_eq!(get(mediagate.media, "/demo/a.jpg").status, 200);
    let told = browser.submit("/dashboard/access", &[("access", "enforce"), ("confirm", "yes")]);
    assert!(told.contains("there is no way back") && !told.contains("type=\"radio\""), "{told}");
    assert_eq!(get(mediagate.media, "/demo/a.jpg").status, 401);
    let token = super::harness::field(&page(), "form_token");
    let fields = [("access", "observe"), ("confirm", "yes"), ("form_token", token.as_str())];
    assert_eq!(browser.post("/dashboard/access", &fields).status, 400);
}

#[test]
fn a_link_is_explained_and_not_kept() {
    let (_storage, mediagate) = gateway();
    let browser = logged_in(&mediagate);
    let explain = |url: &str| browser.submit("/dashboard/explain", &[("url", url)]);
    let link = format!("http://files.example/demo/a.jpg?fat={}", fat("bob"));
    let told = explain(&link);
    assert!(
        told.contains("let through") && told.contains("status <b>200</b>") && told.contains("<code>demo/a.jpg</code>")
    );
    mediagate.deactivate("bob");
    let told = explain(&link);
    assert!(told.contains("ERR_USER_DEACTIVATED") && told.contains("/dashboard/user?uid=bob"), "{told}");
    assert!(!told.contains(&fat("bob")[..40]) && !mediagate.log().contains(&fat("bob")[..40]));
    let token = super::harness::field(&browser.get("/dashboard").text(), "form_token");
    for bad in ["", "demo/a.jpg", "ftp://h/demo/a.jpg"] {
        assert_eq!(browser.post("/dashboard/explain", &[("url", bad), ("form_token", &token)]).status, 400, "{bad}");
    }
}

#[test]
fn the_last_hour_is_plotted_as_it_goes_on() {
    let (_storage, mediagate) = gateway();
    let browser = logged_in(&mediagate);
    assert!(browser.get("/dashboard").text().contains("None in the last hour."));
    let alice = format!("/demo/a.jpg?fat={}", fat("alice"));
    for (target, status) in [(&*alice, 200), (&*alice, 200), ("/demo/a.jpg", 401), ("/demo/a.jpg?fat=x", 401)] {
        assert_eq!(get(mediagate.media, target).status, status);
    }
    let mut page = String::new();
    eventually("all are counted", || {
        page = browser.get("/dashboard").text();
        page.contains("Sent <b>2</b>") && page.contains("Refused <b>2</b>") && page.contains("token_malformed <b>1</b>")
    });
    assert!(
        page.contains("token_missing <b>1</b>") && page.contains("role=\"img\"") && page.contains("up to date"),
        "{page}"
    );
    assert_eq!(page.matches("<svg ").count(), 2);
}
