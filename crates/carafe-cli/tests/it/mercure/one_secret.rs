//! A hub whose keys of both versions have one secret: the signed type tells the version of a token.

use carafe_http::auth::Signer;
use serde_json::{Value, json};

use crate::mercure::fixture::{Hub, bearer, claims, detail};

const SECRET: &str = "a secret of more than thirty-two bytes: both";

fn signed(token_type: Option<&str>, claims: &Value) -> String {
    let signer = Signer::secret(SECRET.as_bytes()).unwrap();
    let signer = match token_type {
        Some(token_type) => signer.with_type(token_type),
        None => signer,
    };
    bearer(&signer.sign(claims).unwrap())
}

#[test]
fn tokens_of_both_versions_publish_and_subscribe_where_their_keys_have_one_secret() {
    let hub = Hub::with_secrets([SECRET; 2], "https://hub.example", &[]);
    let zero = signed(None, &json!({"mercure": {"publish": ["*"], "subscribe": ["*"]}}));
    let everything = json!([detail(&["publish", "subscribe"], &["*"])]);
    let one = signed(Some("at+jwt"), &claims(&everything));
    let mut streams =
        [hub.stream(&[("topic", "a")], &[&zero]), hub.stream(&[("match", "a")], &[&one])];
    for (token, data) in [(&zero, "of zero"), (&one, "of one")] {
        let answer = hub.post(&[("topic", "a"), ("data", data)], &[token]);
        assert_eq!(answer.status, 200, "{data}: {}", answer.body);
    }
    streams.iter_mut().for_each(|stream| assert_eq!(stream.data(2), ["of zero", "of one"]));
    assert_eq!(hub.refused(&[("topic", "a")], &[&one]).status, 401);
    assert_eq!(hub.refused(&[("match", "a")], &[&zero]).status, 401);
}
