//! `/openapi.json`: every call, as tools read it (OpenAPI 3.1).
//!
//! Tests call the API with what a generator makes of the document, and hold it against the routes.

use axum::extract::Request;
use axum::response::IntoResponse;
use http::header;

use super::call;
use super::error::ApiError;

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`.
pub(super) async fn get(request: Request) -> Result<impl IntoResponse, ApiError> {
    call::no_query(request.uri())?;
    Ok(([(header::CONTENT_TYPE, "application/json")], DOCUMENT))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::routing::MethodRouter;
    use serde_json::Value;

    use super::super::ControlState;
    use super::super::routes::{api, clients, tokens};
    use super::super::tests::Gateway;
    use super::super::tests::harness::{FULL_KEY, SIGN_UP_KEY, request};
    use super::*;
    use crate::gate::UidCase;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Methods and paths of the document, with what is said of each.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, said) in methods.as_object().unwrap() {
                operations.push((format!("{} {path}", method.to_uppercase()), said));
            }
        }
        operations
    }

    fn paths(routes: impl IntoIterator<Item = (&'static str, MethodRouter<ControlState>)>) -> BTreeSet<String> {
        routes.into_iter().map(|(path, _)| path.to_owned()).collect()
    }

    #[tokio::test]
    async fn the_document_has_every_path_and_method_and_no_other() {
        let document = document();
        let said: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(said, paths(api().into_iter().chain(tokens()).chain(clients())));
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let gateway = Gateway::start(&[("acme", UidCase::Folded)]).await;
        let operations: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
        for path in said {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
                let target = format!("/v3{}", path.replace(['{', '}'], ""));
                let raw = request(method, &target, &[("apikey", FULL_KEY)], "");
                let answer = gateway.send(&raw).await;
                // What HEAD is answered has no body: only GET is there.
                let is_there = answer.body["error"]["code"] != "ERR_API_NOT_FOUND" && method != "HEAD";
                let name = format!("{method} {path}");
                assert_eq!(is_there, operations.contains(&name), "{name}: {}", answer.text);
            }
        }
        let served = gateway.send(&request("GET", "/v3.0/openapi.json", &[("apikey", SIGN_UP_KEY)], "")).await;
        served.expect(200, document);
        let served = gateway.send(&request("GET", "/v3/openapi.json", &[], "")).await;
        served.refused(401, "AUTH_ERR_EMPTY_APIKEY", "");
    }

    #[test]
    fn what_users_clients_call_needs_their_auth_token_and_the_rest_a_key() {
        let document = document();
        let clients = paths(clients());
        assert_eq!(document["security"], serde_json::json!([{ "apikey": [] }]));
        for (name, said) in operations(&document) {
            let (_, path) = name.split_once(' ').unwrap();
            let own = said.get("security").cloned();
            let expected = clients.contains(path).then(|| serde_json::json!([{ "authToken": [] }]));
            assert_eq!(own, expected, "{name}");
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let document = document();
        let mut referred = BTreeSet::new();
        for part in DOCUMENT.split("\"$ref\": \"#").skip(1) {
            let (pointer, _) = part.split_once('"').unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            referred.insert(pointer.to_owned());
        }
        for kind in ["schemas", "responses", "parameters"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(referred.contains(&format!("/components/{kind}/{name}")), "{kind}/{name}");
            }
        }
    }
}
