//! `mediagate explain`: why a link would be refused, asked of a running gateway.

use http::Method;
use serde_json::Value;

use super::call::{ApiKey, ControlArgs, call};

pub(super) const EXAMPLES: &str = "\
Examples:
  mediagate explain 'https://files.example/acme/media/7.jpg?fat=…' --api-key-file secrets/backend.key
  MEDIAGATE_API_KEY=$(cat secrets/backend.key) mediagate explain 'http://127.0.0.1:8080/demo/media/readme.txt'

The exit status is 0 where the gate would let the request through, and 1 where it would not.";

/// Which link, and whom to ask.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// The whole link, with its token or signature; quote it
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    control: ControlArgs,
}

impl ExplainArgs {
    /// Prints what the gate would answer; returns whether it lets the request through.
    ///
    /// # Errors
    ///
    /// When the gateway cannot be asked, with what to do about it.
    pub(super) async fn run(self) -> anyhow::Result<bool> {
        let key = ApiKey::find(self.control.api_key_file.as_deref())?;
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("url", &self.url).finish();
        let data = call(&self.control, &key, &Method::GET, &format!("/explain?{query}"), None).await?;
        print!("{}", words(&data));
        Ok(data["admitted"] == true)
    }
}

/// An explanation as a person reads it.
fn words(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or("-");
    let mut words = match data["admitted"] == true {
        true => "let through\n".to_owned(),
        false => format!("refused: {} {} ({})\n  {}\n", data["status"], text("code"), text("reason"), text("message")),
    };
    if let Some(observed) = data["observed"].as_str() {
        words += &format!("  would be refused if access were enforced: {observed}\n");
    }
    if let Some(since) = data["modifiedBefore"].as_u64() {
        words += &format!("  without a token, if the object was last modified before {since} (UNIX seconds)\n");
    }
    for (name, label) in
        [("app", "app"), ("access", "access"), ("object", "object"), ("uid", "user"), ("credential", "shown")]
    {
        if data[name].is_string() {
            words += &format!("  {label:<8}{}\n", text(name));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_is_said_with_its_reason_and_what_it_is_about() {
        let refused = json!({"admitted": false, "status": 403, "code": "ERR_USER_DEACTIVATED", "reason": "user_deactivated",
            "message": "The user is deactivated.", "access": "enforce", "app": "acme", "object": "acme/a.jpg", "uid": "bob"});
        assert_eq!(
            words(&refused),
            "refused: 403 ERR_USER_DEACTIVATED (user_deactivated)\n  The user is deactivated.\n  app     acme\n  \
             access  enforce\n  object  acme/a.jpg\n  user    bob\n"
        );
        let observed = json!({"admitted": true, "status": 200, "reason": "ok", "observed": "token_missing"});
        assert!(words(&observed).starts_with("let through\n  would be refused if access were enforced: token_missing"));
    }
}
