//! Properties of any token and any claims; the fuzz target runs them, too.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_http::auth::{Algorithm, Dialect, Key, Keys, Refused, Signer, Verified};
use serde_json::Value;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// A JWK Set with a key of each kind, none of which has signed anything.
const SET: &[u8] = br#"{"keys": [
    {"kty": "OKP", "crv": "Ed25519", "kid": "ed",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "EC", "crv": "P-256", "kid": "ec", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
]}"#;

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let secret = || Key::secret(SECRET).expect("it is long enough");
    let set = Key::jwk_set(SET).expect("it has good keys");
    let all = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    Keys::new([
        set.clone(),
        set.with_dialect(Dialect::Mercure1),
        secret().with_algorithms(&all).expect("they fit"),
        secret().with_dialect(Dialect::Mercure0),
    ])
});

const DIALECTS: [Dialect; 3] = [Dialect::Carafe, Dialect::Mercure0, Dialect::Mercure1];

/// Without the key, no token is accepted. With it, any claims are judged correctly.
pub(crate) fn any_token_is_judged(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for dialect in DIALECTS {
        let judged = verify(&text, dialect);
        assert!(judged.is_err(), "{judged:?}");
        assert!(
            text.len() <= Keys::TOKEN_BYTES
                || judged.is_err_and(|refused| refused == Refused::TooLong)
        );
    }
    let Ok(claims) = serde_json::from_slice::<Value>(input) else { return };
    let token = Signer::secret(SECRET)
        .ok()
        .and_then(|signer| signer.sign(&claims))
        .expect("JSON can be signed");
    if let Ok(verified) = verify(&token, Dialect::Carafe) {
        let number =
            |claim| verified.claims.get(claim).map(|value| value.as_f64().expect("it is a number"));
        let (now, ends) = (seconds(SystemTime::now()), seconds(verified.expires.expect("it ends")));
        assert!(
            number("exp").is_some_and(|end| (end - ends).abs() < 1.0) && ends > now - 1.0,
            "{verified:?}"
        );
        assert!(number("nbf").is_none_or(|begins| begins < now + 6.0), "{verified:?}");
        grants_no_more_than_it_says(&verified);
    }
}

fn grants_no_more_than_it_says(verified: &Verified) {
    let Ok(rights) = verified.rights() else { return };
    let said = verified.claims["publish"].as_array().map_or(0, Vec::len);
    assert!(rights.publish.matchers().len() <= said && said <= 100);
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Keys that are in memory need no waiting.
fn verify(token: &str, dialect: Dialect) -> Result<Verified, Refused> {
    let dialects = [dialect];
    match pin!(KEYS.verify(token, &dialects)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(judged) => judged,
        Poll::Pending => panic!("it waits for nothing"),
    }
}
