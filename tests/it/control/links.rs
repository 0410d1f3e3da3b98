//! Links of many receivers to one file: each dies and comes back with its user, and with nobody else.

use serde_json::{Value, json};

use super::gateway::{Gateway, as_it_is, on_each, storage, text, url};
use crate::support::process::API_KEY;

const RECEIVERS: [&str; 5] = ["ann", "ben", "cem", "dia", "eli"];

/// A link for each receiver, in their order.
fn links(gateway: &Gateway, file: &str) -> Vec<String> {
    let data = gateway.call("POST", "/v3/fats", json!({ "uids": RECEIVERS, "url": url(file), "ttl": 900 }));
    let fats = data["fats"].as_array().expect("a list");
    assert!(fats.iter().map(|fat| text(&fat["uid"])).eq(RECEIVERS), "{data}");
    fats.iter().map(|fat| text(&fat["url"])).collect()
}

#[track_caller]
fn check(gateway: &Gateway, links: &[String], refused: &[(&str, u16, &str)]) {
    for (uid, link) in RECEIVERS.iter().zip(links) {
        let expected = refused.iter().find(|(refused, ..)| refused == uid);
        let expected = expected.map_or((200, String::new()), |(_, status, code)| (*status, (*code).to_owned()));
        assert_eq!(gateway.opens(link, &[]), expected, "{uid}");
    }
}

#[test]
fn one_of_five_receivers_is_deactivated_and_four_go_on() {
    on_each(storage, as_it_is, |mut gateway| {
        gateway.register(&RECEIVERS);
        let to_photo = links(&gateway, "group/7/photo%201.jpg");
        check(&gateway, &to_photo, &[]);
        let gone = gateway.call("DELETE", "/v3/users", json!({ "uidsToDeactivate": ["Cem"] }));
        assert_eq!(gone, json!({ "deactivatedUids": ["cem"] }));
        let refused = [("cem", 403, "ERR_USER_DEACTIVATED")];
        check(&gateway, &to_photo, &refused);
        let back = gateway.call("PUT", "/v3/users", json!({ "uidsToActivate": ["cem"] }));
        assert_eq!(back, json!({ "reactivatedUids": ["cem"] }));
        check(&gateway, &to_photo, &[]);

        // A link is for its file, and for one user's life.
        let other = to_photo[0].replace("photo%201", "photo%202");
        assert_eq!(gateway.opens(&other, &[]), (403, "ERR_PATH_NOT_ALLOWED".to_owned()));
        gateway.call("DELETE", "/v3/users/ben", json!({ "permanent": true }));
        assert_eq!(gateway.opens(&to_photo[1], &[]).0, 403);
        gateway.register(&["ben"]);
        assert_eq!(gateway.opens(&to_photo[1], &[]).0, 403, "who comes later has not got it");

        // All of it is there after a restart.
        let later = links(&gateway, "later.jpg");
        let (token, session) = (gateway.auth_token("dia"), gateway.auth_token("eli"));
        gateway.call("DELETE", "/v3/users/cem", Value::Null);
        gateway.call("DELETE", &format!("/v3/users/eli/auth_tokens/{session}"), Value::Null);
        gateway.process.restart();
        check(&gateway, &later, &refused);
        assert_eq!(gateway.opens(&to_photo[1], &[]).0, 403);
        assert_eq!([gateway.me("PUT", &token).status, gateway.me("PUT", &session).status], [200, 401]);
        let listed = gateway.call("GET", "/v3/users?withDeactivated=true", Value::Null);
        let listed = listed.as_array().expect("a list").iter().map(|user| text(&user["uid"]));
        let mut listed: Vec<_> = listed.collect();
        listed.sort();
        assert_eq!(listed, RECEIVERS);
        assert_eq!(gateway.call("GET", "/v3/users/cem", Value::Null)["deactivated"], true);
    });
}

#[test]
fn a_flush_ends_what_one_user_has_and_a_new_login_lives() {
    on_each(storage, as_it_is, |gateway| {
        gateway.register(&RECEIVERS);
        let to_file = links(&gateway, "a.jpg");
        let tokens = RECEIVERS.map(|uid| gateway.auth_token(uid));
        let [ann, ben] = [0, 1].map(|at| gateway.fat(&tokens[at]));
        let target = |fat: &str| format!("/demo/media/a.jpg?fat={fat}");
        assert_eq!([gateway.opens(&target(&ann), &[]).0, gateway.opens(&target(&ben), &[]).0], [200, 200]);

        let flushed = gateway.call("DELETE", "/v3/users/ann/auth_tokens", Value::Null);
        let message = "Cleared Auth Tokens successfully for uid ann.";
        assert_eq!(flushed, json!({ "success": true, "message": message }));
        assert_eq!(gateway.opens(&target(&ann), &[]), (403, "ERR_SESSION_REVOKED".to_owned()));
        check(&gateway, &to_file, &[("ann", 403, "ERR_SESSION_REVOKED")]);
        let refused = gateway.me("PUT", &tokens[0]);
        assert_eq!((refused.status, refused.code().as_str()), (401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND"));
        assert_eq!((gateway.opens(&target(&ben), &[]).0, gateway.me("GET", &tokens[1]).status), (200, 200));

        let again = gateway.fat(&gateway.auth_token("ann"));
        assert_eq!(gateway.opens(&target(&again), &[]).0, 200);
    });
}

#[test]
fn presigned_urls_die_with_their_user() {
    on_each(storage, as_it_is, |gateway| {
        gateway.register(&RECEIVERS[..2]);
        let fats = ["ann", "ben"].map(|uid| gateway.fat(&gateway.auth_token(uid)));
        let asked = fats.each_ref().map(|fat| {
            let answer = gateway.open("/demo/media/a.jpg?redirect=0", &[("fat", fat)]);
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            text(&answer.json()["data"]["url"])
        });
        let batch = ["ann", "ben"].map(|uid| {
            let urls: Vec<String> = (0..1000).map(|n| url(&format!("{n}.jpg"))).collect();
            let data = gateway.call("POST", "/v3/presign", json!({ "uid": uid, "urls": urls }));
            let signed = data["urls"].as_array().expect("a list");
            assert!(signed.iter().map(|one| text(&one["url"])).eq(urls));
            text(&signed[999]["presigned"])
        });
        let status = |urls: &[String; 2]| urls.each_ref().map(|url| gateway.opens(url, &[]).0);
        assert_eq!((status(&asked), status(&batch)), ([200, 200], [200, 200]));
        gateway.call("DELETE", "/v3/users", json!({ "uidsToDeactivate": ["ann"] }));
        assert_eq!((status(&asked), status(&batch)), ([403, 200], [403, 200]));
        let refused = gateway.open("/demo/media/a.jpg?redirect=0", &[("fat", &fats[0])]);
        assert_eq!((refused.status, refused.code().as_str()), (403, "ERR_USER_DEACTIVATED"));
        let body = json!({ "uid": "ann", "urls": [url("a.jpg")] });
        assert_eq!(gateway.call_as(API_KEY, "POST", "/v3/presign", &body).status, 404);
    });
}
