//! Which tokens are accepted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_http::Rights;
use carafe_http::auth::{Algorithm, BadKey, Dialect, Key, Keys, Refused, Signer, Verified};
use carafe_hub::{Access, Grant};
use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const CARAFE: &[Dialect] = &[Dialect::Carafe];
const MERCURE: &[Dialect] = &[Dialect::Mercure0, Dialect::Mercure1];

/// The time `seconds` from now.
fn at(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(seconds).unwrap()
}

fn pair(kind: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(kind).unwrap()
}

fn pem(pair: &KeyPair) -> Key {
    Key::pem(pair.public_key_pem().as_bytes()).unwrap()
}

fn signer(pair: &KeyPair) -> Signer {
    Signer::pem(pair.serialize_pem().as_bytes()).unwrap()
}

fn secret() -> Key {
    Key::secret(SECRET).unwrap()
}

/// A token that expires in an hour, signed with the secret.
fn token(mut claims: Value) -> String {
    let expires = json!(at(3600));
    claims.as_object_mut().unwrap().entry("exp").or_insert(expires);
    Signer::secret(SECRET).unwrap().sign(&claims).unwrap()
}

async fn verify(key: Key, token: &str) -> Result<Verified, Refused> {
    Keys::new([key]).verify(token, CARAFE).await
}

#[track_caller]
fn claim<T: std::fmt::Debug>(verified: &Result<T, Refused>, name: &str) {
    assert!(
        matches!(verified, Err(Refused::Claim { claim, .. }) if *claim == name),
        "{name}: {verified:?}"
    );
}

#[tokio::test]
async fn what_a_trusted_key_has_signed_is_taken_by_each_algorithm_that_fits_it() {
    let kinds: [(_, &[Algorithm]); 4] = [
        (
            &PKCS_RSA_SHA256,
            &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
        ),
        (&PKCS_ECDSA_P256_SHA256, &[Algorithm::ES256]),
        (&PKCS_ECDSA_P384_SHA384, &[Algorithm::ES384]),
        (&PKCS_ED25519, &[Algorithm::EdDSA]),
    ];
    for (kind, algorithms) in kinds {
        let pair = pair(kind);
        for algorithm in algorithms {
            let claims = json!({"exp": at(60)});
            let token = signer(&pair).with_algorithm(*algorithm).unwrap().sign(&claims).unwrap();
            let verified = verify(pem(&pair), &token).await.unwrap();
            assert_eq!(verified.claims, claims, "{algorithm:?}");
        }
        let foreign = signer(&self::pair(kind)).sign(&json!({"exp": at(60)})).unwrap();
        assert_eq!(
            verify(pem(&pair), &foreign).await.unwrap_err(),
            Refused::Untrusted,
            "{algorithms:?}"
        );
    }
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let signer = Signer::secret(SECRET).unwrap().with_algorithm(algorithm).unwrap();
        let key = secret().with_algorithms(&[algorithm]).unwrap();
        verify(key, &signer.sign(&json!({"exp": at(60)})).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_without_signature_or_with_another_is_refused() {
    let whole = token(json!({"publish": ["a"]}));
    let (_, signed) = whole.split_once('.').unwrap();
    let (claims, signature) = signed.split_once('.').unwrap();
    let (head, _) = whole.split_once('.').unwrap();
    // {"alg":"none","typ":"JWT"}, and the same with None.
    for none in ["eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0"] {
        for token in [format!("{none}.{claims}."), format!("{none}.{claims}.{signature}")] {
            assert_eq!(verify(secret(), &token).await.unwrap_err(), Refused::Malformed);
        }
    }
    let other = token(json!({"publish": ["*"]}));
    let forged = other.split('.').nth(1).unwrap();
    for token in [
        format!("{head}.{claims}."),
        format!("{head}.{forged}.{signature}"),
        format!("{head}..{signature}"),
    ] {
        assert_eq!(verify(secret(), &token).await.unwrap_err(), Refused::Untrusted, "{token}");
    }
    for token in [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b",
        &format!("{whole}.x"),
        &format!("{head}.{claims}"),
        "\u{2615}.x.y",
    ] {
        assert_eq!(verify(secret(), token).await.unwrap_err(), Refused::Malformed, "{token}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let pair = pair(&PKCS_RSA_SHA256);
    let public = pair.public_key_pem();
    let der = pair.public_key_raw().to_vec();
    for secret in [public.as_bytes(), public.trim().as_bytes(), &der] {
        let forged = Signer::secret(secret).unwrap().sign(&json!({"exp": at(60)})).unwrap();
        assert_eq!(verify(pem(&pair), &forged).await.unwrap_err(), Refused::Untrusted);
    }
    let confused = pem(&pair).with_algorithms(&[Algorithm::HS256, Algorithm::ES256]);
    assert_eq!(confused.unwrap_err(), BadKey::NoAlgorithm);
    assert_eq!(secret().with_algorithms(&[Algorithm::RS256]).unwrap_err(), BadKey::NoAlgorithm);
}

#[tokio::test]
async fn only_the_algorithms_on_the_keys_list_are_taken() {
    let pair = pair(&PKCS_RSA_SHA256);
    let token = signer(&pair)
        .with_algorithm(Algorithm::RS384)
        .unwrap()
        .sign(&json!({"exp": at(60)}))
        .unwrap();
    let key = pem(&pair).with_algorithms(&[Algorithm::RS256]).unwrap();
    assert_eq!(verify(key, &token).await.unwrap_err(), Refused::Untrusted);
    let longer = Signer::secret(SECRET).unwrap().with_algorithm(Algorithm::HS512).unwrap();
    let token = longer.sign(&json!({"exp": at(60)})).unwrap();
    assert_eq!(verify(secret(), &token).await.unwrap_err(), Refused::Untrusted);
}

#[tokio::test]
async fn the_end_is_a_number_that_is_not_used_yet() {
    for wrong in [json!("9999999999"), json!(true), json!(null), json!({}), json!(1e300)] {
        claim(&verify(secret(), &token(json!({"exp": wrong}))).await, "exp");
    }
    let list = verify(secret(), &token(json!({"exp": [at(60)]}))).await.unwrap_err();
    assert_eq!(list, Refused::Malformed);
    for over in [json!(at(-1)), json!(at(0)), json!(0), json!(-1), json!(-1e300), json!(1.5)] {
        let refused = verify(secret(), &token(json!({"exp": over}))).await.unwrap_err();
        assert_eq!(refused, Refused::Expired, "{over}");
    }
    let endless = Signer::secret(SECRET).unwrap().sign(&json!({"publish": ["a"]})).unwrap();
    claim(&verify(secret(), &endless).await, "exp");
    let verified = verify(secret(), &token(json!({"exp": at(60)}))).await.unwrap();
    assert_eq!(verified.expires, Some(UNIX_EPOCH + Duration::from_secs(at(60))));
}

#[tokio::test]
async fn the_beginning_is_a_number_that_was_used() {
    for wrong in [json!("0"), json!(false), json!(null)] {
        claim(&verify(secret(), &token(json!({"nbf": wrong}))).await, "nbf");
    }
    let early = verify(secret(), &token(json!({"nbf": at(3600)}))).await.unwrap_err();
    assert_eq!(early, Refused::NotYetValid);
    verify(secret(), &token(json!({"nbf": at(-1)}))).await.unwrap();
}

#[tokio::test]
async fn the_issuer_is_the_keys_own() {
    let key = || secret().with_issuer("https://one.example");
    verify(key(), &token(json!({"iss": "https://one.example"}))).await.unwrap();
    for wrong in
        [json!({}), json!({"iss": "https://two.example"}), json!({"iss": ["https://one.example"]})]
    {
        assert_eq!(verify(key(), &token(wrong)).await.unwrap_err(), Refused::Issuer);
    }
}

#[tokio::test]
async fn the_audience_names_the_hub() {
    let key = || secret().with_audience(["https://hub.example"]);
    for right in [json!("https://hub.example"), json!(["other", "https://hub.example"])] {
        verify(key(), &token(json!({"aud": right}))).await.unwrap();
    }
    for wrong in [
        json!("other"),
        json!(["other"]),
        json!([]),
        json!(null),
        json!({"https://hub.example": 1}),
    ] {
        let refused = verify(key(), &token(json!({"aud": wrong}))).await.unwrap_err();
        assert_eq!(refused, Refused::Audience, "{wrong}");
    }
    assert_eq!(verify(key(), &token(json!({}))).await.unwrap_err(), Refused::Audience);
}

#[tokio::test]
async fn the_type_is_that_of_a_token_for_access() {
    let typed = |text: &str| {
        Signer::secret(SECRET).unwrap().with_type(text).sign(&json!({"exp": at(60)})).unwrap()
    };
    for right in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        verify(secret(), &typed(right)).await.unwrap();
    }
    for wrong in ["", "dpop+jwt", "secevent+jwt", "logout+jwt", "text/at+jwt"] {
        assert_eq!(verify(secret(), &typed(wrong)).await.unwrap_err(), Refused::Type, "{wrong}");
    }
    let strict = Keys::new([secret().with_dialect(Dialect::Mercure1)]);
    strict.verify(&typed("at+jwt"), MERCURE).await.unwrap();
    assert_eq!(strict.verify(&typed("JWT"), MERCURE).await.unwrap_err(), Refused::Type);
}

#[tokio::test]
async fn the_dialect_follows_from_the_key_and_not_from_the_token() {
    let other = Signer::secret(b"another secret of thirty-two bytes or more").unwrap();
    let keys = Keys::new([
        secret().with_dialect(Dialect::Mercure1),
        Key::secret(b"another secret of thirty-two bytes or more")
            .unwrap()
            .with_dialect(Dialect::Mercure0),
    ]);
    // What the old protocol accepts is rejected for a key of the new one, whatever the token
    // says.
    let endless = json!({"mercure": {"publish": ["*"]}});
    let old = other.sign(&endless).unwrap();
    assert_eq!(keys.verify(&old, MERCURE).await.unwrap().dialect, Dialect::Mercure0);
    let new = Signer::secret(SECRET).unwrap().with_type("at+jwt").sign(&endless).unwrap();
    claim(&keys.verify(&new, MERCURE).await, "exp");
    // A key of Mercure grants nothing in Carafe's own API.
    assert_eq!(
        keys.verify(&token(json!({"publish": ["*"]})), CARAFE).await.unwrap_err(),
        Refused::Untrusted
    );
    assert!(keys.speak(Dialect::Mercure0) && !keys.speak(Dialect::Carafe));
}

#[tokio::test]
async fn the_old_dialect_never_weakens_the_new_where_both_have_one_key() {
    const ZERO: &[Dialect] = &[Dialect::Mercure0];
    let keys = Keys::new([
        secret().with_dialect(Dialect::Mercure0),
        secret().with_dialect(Dialect::Mercure1).with_issuer("one").with_audience(["hub"]),
    ]);
    let signer = Signer::secret(SECRET).unwrap().with_type("at+jwt");
    let sign = |claims: Value| signer.sign(&claims).unwrap();
    let whole = sign(json!({"iss": "one", "aud": "hub", "exp": at(60)}));
    assert_eq!(keys.verify(&whole, MERCURE).await.unwrap().dialect, Dialect::Mercure1);
    for (claims, refused) in [
        (json!({"iss": "one", "aud": "other", "exp": at(60)}), Refused::Audience),
        (json!({"iss": "two", "aud": "hub", "exp": at(60)}), Refused::Issuer),
        (json!({"mercure": {"publish": ["*"]}}), Refused::Issuer),
    ] {
        let token = sign(claims);
        assert_eq!(keys.verify(&token, MERCURE).await.unwrap_err(), refused);
        assert_eq!(keys.verify(&token, ZERO).await.unwrap_err(), Refused::Type);
    }
    assert_eq!(keys.verify(&whole, ZERO).await.unwrap_err(), Refused::Type);
}

#[tokio::test]
async fn the_signed_type_tells_whose_token_it_is_where_both_dialects_have_one_key() {
    let keys = Keys::new([
        secret().with_dialect(Dialect::Mercure0),
        secret().with_dialect(Dialect::Mercure1).with_issuer("one").with_audience(["hub"]),
    ]);
    for claims in [json!({}), json!({"iss": "one"}), json!({"iss": "two", "aud": "other"})] {
        let old = keys.verify(&token(claims.clone()), MERCURE).await.unwrap();
        assert_eq!(old.dialect, Dialect::Mercure0, "{claims}");
    }
    let of_one = [Dialect::Mercure1];
    assert_eq!(keys.verify(&token(json!({})), &of_one).await.unwrap_err(), Refused::Type);
    // Where only a key of 0.x has signed it, the type of its token does not matter.
    let alone = Keys::new([secret().with_dialect(Dialect::Mercure0)]);
    let typed = Signer::secret(SECRET).unwrap().with_type("at+jwt").sign(&json!({})).unwrap();
    assert_eq!(alone.verify(&typed, MERCURE).await.unwrap().dialect, Dialect::Mercure0);
}

/// A JWK Set with the public keys of these pairs, all of P-256.
fn set<'a>(keys: impl IntoIterator<Item = (&'a str, &'a KeyPair)>) -> Value {
    let keys = keys.into_iter().map(|(id, pair)| {
        let point = pair.public_key_raw();
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y})
    });
    json!({"keys": keys.collect::<Vec<_>>()})
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let bits =
            (0..3).fold(0, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        (0..=chunk.len()).map(move |at| char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]))
    });
    letters.collect()
}

fn jwk_set(set: &Value) -> Key {
    Key::jwk_set(set.to_string().as_bytes()).unwrap()
}

fn named(pair: &KeyPair, id: &str, issuer: &str) -> String {
    signer(pair).with_key_id(id).sign(&json!({"exp": at(60), "iss": issuer})).unwrap()
}

#[tokio::test]
async fn a_key_id_chooses_among_the_keys_of_one_issuer_and_nothing_else() {
    let [one, two, evil] = [(); 3].map(|()| pair(&PKCS_ECDSA_P256_SHA256));
    let keys = Keys::new([
        jwk_set(&set([("k1", &one)])).with_issuer("one"),
        jwk_set(&set([("k1", &two)])).with_issuer("two"),
    ]);
    keys.verify(&named(&one, "k1", "one"), CARAFE).await.unwrap();
    keys.verify(&named(&two, "k1", "two"), CARAFE).await.unwrap();
    assert_eq!(keys.verify(&named(&one, "k1", "two"), CARAFE).await.unwrap_err(), Refused::Issuer);
    assert_eq!(keys.verify(&named(&two, "k1", "one"), CARAFE).await.unwrap_err(), Refused::Issuer);
    for id in [
        "k2",
        "",
        "../../../dev/null",
        "/etc/passwd",
        "k1\0",
        "' OR 1=1",
        "http://evil.example/keys",
    ] {
        assert_eq!(
            keys.verify(&named(&one, id, "one"), CARAFE).await.unwrap_err(),
            Refused::Untrusted,
            "{id}"
        );
        assert_eq!(
            keys.verify(&named(&evil, id, "one"), CARAFE).await.unwrap_err(),
            Refused::Untrusted,
            "{id}"
        );
    }
    assert_eq!(
        keys.verify(&named(&evil, "k1", "one"), CARAFE).await.unwrap_err(),
        Refused::Untrusted
    );
}

#[tokio::test]
async fn two_issuers_may_share_a_key_and_each_keeps_its_own_rules() {
    let shared = pair(&PKCS_ECDSA_P256_SHA256);
    let keys = Keys::new([
        pem(&shared).with_issuer("one").with_audience(["hub"]),
        pem(&shared).with_issuer("two").with_dialect(Dialect::Mercure1),
        pem(&shared).with_issuer("three"),
    ]);
    keys.verify(&named(&shared, "any", "three"), CARAFE).await.unwrap();
    assert_eq!(
        keys.verify(&named(&shared, "any", "one"), CARAFE).await.unwrap_err(),
        Refused::Audience
    );
    assert_eq!(
        keys.verify(&named(&shared, "any", "two"), CARAFE).await.unwrap_err(),
        Refused::Issuer
    );
}

#[tokio::test]
async fn a_token_that_names_no_key_is_taken_where_one_alone_fits() {
    let [one, two] = [(); 2].map(|()| pair(&PKCS_ECDSA_P256_SHA256));
    let nameless = signer(&one).sign(&json!({"exp": at(60)})).unwrap();
    verify(jwk_set(&set([("k1", &one)])), &nameless).await.unwrap();
    let refused = verify(jwk_set(&set([("k1", &one), ("k2", &two)])), &nameless).await.unwrap_err();
    assert_eq!(refused, Refused::Untrusted);
}

#[tokio::test]
async fn of_a_jwk_set_only_what_checks_signatures_and_fits_is_used() {
    let one = pair(&PKCS_ECDSA_P256_SHA256);
    let token = named(&one, "k1", "one");
    let with = |name: &str, value: Value| {
        let mut set = set([("k1", &one)]);
        set["keys"][0][name] = value;
        Key::jwk_set(set.to_string().as_bytes())
    };
    for (name, value) in [
        ("use", json!("sig")),
        ("alg", json!("ES256")),
        ("key_ops", json!(["verify"])),
        ("x", json!(7)),
    ] {
        let key = with(name, value);
        if name == "x" {
            assert_eq!(key.unwrap_err(), BadKey::NoKey);
        } else {
            verify(key.unwrap(), &token).await.unwrap();
        }
    }
    for (name, value) in [
        ("use", json!("enc")),
        ("alg", json!("ES384")),
        ("alg", json!("RSA-OAEP")),
        ("key_ops", json!(["encrypt"])),
    ] {
        match with(name, value.clone()) {
            Err(error) => assert_eq!(error, BadKey::NoKey),
            Ok(key) => {
                assert_eq!(
                    verify(key, &token).await.unwrap_err(),
                    Refused::Untrusted,
                    "{name} {value}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_secret_in_a_jwk_set_is_used_only_when_its_algorithm_is_named() {
    let set = json!({"keys": [{"kty": "oct", "k": base64url(SECRET)}]});
    let token = token(json!({}));
    assert_eq!(verify(jwk_set(&set), &token).await.unwrap_err(), Refused::Untrusted);
    verify(jwk_set(&set).with_algorithms(&[Algorithm::HS256]).unwrap(), &token).await.unwrap();
    let weak = json!({"keys": [{"kty": "oct", "k": base64url(&SECRET[..31])}]});
    assert_eq!(Key::jwk_set(weak.to_string().as_bytes()).unwrap_err(), BadKey::NoKey);
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    assert_eq!(Key::secret(&SECRET[..31]).unwrap_err(), BadKey::ShortSecret);
    assert_eq!(Signer::secret(&SECRET[..31]).unwrap_err(), BadKey::ShortSecret);
    let private = pair(&PKCS_ED25519).serialize_pem();
    for text in
        [b"".as_slice(), b"nothing", private.as_bytes(), b"-----BEGIN PUBLIC KEY-----\nAAAA"]
    {
        assert_eq!(Key::pem(text).unwrap_err(), BadKey::NotPem);
    }
    // RSA of 1024 bits.
    assert_eq!(Key::pem(SHORT_RSA.as_bytes()).unwrap_err(), BadKey::UnknownKind);
    assert_eq!(
        Signer::pem(pair(&PKCS_ED25519).public_key_pem().as_bytes()).unwrap_err(),
        BadKey::NotPrivatePem
    );
    for text in ["", "[]", "{}", "{\"keys\": 1}"] {
        assert_eq!(Key::jwk_set(text.as_bytes()).unwrap_err(), BadKey::NotJwkSet, "{text}");
    }
    for text in [
        "{\"keys\": []}",
        "{\"keys\": [1, {}, {\"kty\": \"EC\", \"crv\": \"secp256k1\", \"x\": \"AA\", \
         \"y\": \"AA\"}]}",
    ] {
        assert_eq!(Key::jwk_set(text.as_bytes()).unwrap_err(), BadKey::NoKey, "{text}");
    }
    let many = json!({"keys": vec![json!({}); 101]});
    assert_eq!(Key::jwk_set(many.to_string().as_bytes()).unwrap_err(), BadKey::TooManyKeys);
}

const SHORT_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBU/3x115ZRbBpUePSe6J2OH1G
BYgtulw74gZcDH9HEIw8qMGaAmz3K6q3BsFTeL46MmpqQhPNSk6zxkZ23ICwZD5h
JrwAztBXd6etuzAJHnMfu9/fOQ3ChEE+pFiu2XbDsXrE+aEIB6Cph8bkxIy6b5Do
HQK1SVTMkDgm4e6EhQIDAQAB
-----END PUBLIC KEY-----
";

#[tokio::test]
async fn a_token_over_8_kib_is_refused_before_it_is_read() {
    let padded = |bytes: usize| token(json!({"pad": "x".repeat(bytes)}));
    let longest = (5900..6200).map(padded).rfind(|token| token.len() <= Keys::TOKEN_BYTES).unwrap();
    verify(secret(), &longest).await.unwrap();
    let long = format!("{longest}{}", "A".repeat(Keys::TOKEN_BYTES + 1 - longest.len()));
    for token in [long, padded(6200), "A".repeat(Keys::TOKEN_BYTES + 1), "A".repeat(1 << 20)] {
        assert_eq!(verify(secret(), &token).await.unwrap_err(), Refused::TooLong);
    }
}

#[tokio::test]
async fn what_a_token_calls_critical_is_not_passed_over() {
    let claims = token(json!({}));
    let claims = claims.split('.').nth(1).unwrap();
    let head = base64url(br#"{"alg":"HS256","crit":["b64"],"b64":false}"#);
    assert_eq!(
        verify(secret(), &format!("{head}.{claims}.AAAA")).await.unwrap_err(),
        Refused::Critical
    );
}

#[tokio::test]
async fn the_claims_are_an_object() {
    let signer = Signer::secret(SECRET).unwrap();
    for claims in [json!([]), json!("exp"), json!(1), json!(null)] {
        let refused = verify(secret(), &signer.sign(&claims).unwrap()).await.unwrap_err();
        assert_eq!(refused, Refused::Malformed, "{claims}");
    }
}

#[tokio::test]
async fn stop_reopen_erase_and_revoke_are_granted_by_claims_of_their_own() {
    let claims = json!({"stop": ["a"], "reopen": ["b"], "erase": ["c"], "revoke": true});
    let rights = verify(secret(), &token(claims)).await.unwrap().rights().unwrap();
    let only = |name| Grant::to([TopicMatcher::parse(name).unwrap()]);
    assert_eq!(
        (rights.stop.clone(), rights.reopen.clone(), rights.erase.clone(), rights.revoke),
        (only("a"), only("b"), only("c"), true)
    );
    assert!(rights.publish.is_empty() && rights.subscribe.is_empty());
    let none = verify(secret(), &token(json!({"publish": ["*"]}))).await.unwrap().rights().unwrap();
    assert!(none.stop.is_empty() && none.reopen.is_empty() && none.erase.is_empty());
    assert!(!none.revoke && none.or(&rights).revoke);
    for wrong in [json!({"revoke": "yes"}), json!({"stop": true}), json!({"erase": ["("]})] {
        let verified = verify(secret(), &token(wrong)).await.unwrap();
        assert!(matches!(verified.rights(), Err(Refused::Claim { .. })));
    }
}

#[tokio::test]
async fn publish_and_subscribe_grant_topics_and_patterns() {
    let claims = json!({"publish": ["a", "orders/*", r"b\*"], "subscribe": ["*"]});
    let rights = verify(secret(), &token(claims)).await.unwrap().rights().unwrap();
    let topic = |text: &str| TopicMatcher::from(Topic::new(text).unwrap());
    let orders = TopicPattern::new("orders/*").unwrap().into();
    assert_eq!(rights.publish, Grant::to([topic("a"), orders, topic("b*")]));
    assert_eq!(rights.subscribe, Access::all());
    let verified = verify(secret(), &token(json!({}))).await.unwrap();
    let nothing = Rights::none().with_expiry(verified.expires.unwrap());
    assert_eq!(verified.rights().unwrap(), nothing);
}

#[tokio::test]
async fn the_rights_of_a_token_have_its_expiry_and_its_subject() {
    let verified = verify(secret(), &token(json!({"sub": "anna"}))).await.unwrap();
    let rights = verified.rights().unwrap();
    assert_eq!((rights.expires, rights.identity.as_deref()), (verified.expires, Some("anna")));
    assert!(rights.expires.is_some());
}

#[tokio::test]
async fn a_claim_that_grants_is_an_array_of_at_most_100_topics_and_patterns() {
    let many: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    verify(secret(), &token(json!({"publish": many[1..]}))).await.unwrap().rights().unwrap();
    for wrong in [
        json!("*"),
        json!({"*": 1}),
        json!([1]),
        json!([["*"]]),
        json!(null),
        json!(["orders/("]),
        json!([""]),
        json!(many),
    ] {
        for name in ["publish", "subscribe"] {
            let verified = verify(secret(), &token(json!({(name): wrong}))).await.unwrap();
            claim(&verified.rights(), name);
        }
    }
}

#[tokio::test]
async fn an_identity_is_that_of_the_subject_or_of_the_token() {
    let keys = Keys::new([secret()]);
    let identity =
        async |claims: Value| keys.verify(&token(claims), CARAFE).await.unwrap().identity;
    let ann = identity(json!({"sub": "ann", "exp": at(60)})).await;
    assert_eq!(ann, identity(json!({"sub": "ann", "exp": at(90)})).await);
    assert_ne!(ann, identity(json!({"sub": "bob", "exp": at(60)})).await);
    assert_ne!(ann, identity(json!({"sub": "ann", "iss": "two", "exp": at(60)})).await);
    assert_ne!(identity(json!({"exp": at(60)})).await, identity(json!({"exp": at(90)})).await);
}

#[tokio::test]
async fn replaced_keys_are_replaced_everywhere() {
    let keys = Keys::default();
    let clone = keys.clone();
    assert!(clone.is_empty());
    keys.replace([secret()]);
    clone.verify(&token(json!({})), CARAFE).await.unwrap();
    keys.replace([Key::secret(b"another secret of thirty-two bytes or more").unwrap()]);
    assert_eq!(clone.verify(&token(json!({})), CARAFE).await.unwrap_err(), Refused::Untrusted);
}

/// An issuer's web server: it counts requests, and answers with what is set at the moment.
struct Issuer {
    url: String,
    says: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(set: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new((200, set.to_string())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::clone(&says), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let _ = socket.read(&mut [0; 4096]).await;
                let (status, body) = answer.lock().unwrap().clone();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = socket.write_all((head + &body).as_bytes()).await;
            }
        });
        Self { url, says, asked }
    }

    fn say(&self, status: u16, body: &impl ToString) {
        *self.says.lock().unwrap() = (status, body.to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn key(&self, refresh: Duration) -> Key {
        Key::jwk_set_at(&self.url, refresh).unwrap()
    }
}

const NEVER: Duration = Duration::MAX;

#[tokio::test]
async fn a_jwk_set_under_a_url_is_fetched_once_and_kept() {
    let one = pair(&PKCS_ECDSA_P256_SHA256);
    let issuer = Issuer::start(&set([("k1", &one)])).await;
    let keys = Keys::new([issuer.key(NEVER)]);
    keys.refresh().await;
    keys.refresh().await;
    for _ in 0..3 {
        keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap();
    }
    assert_eq!(issuer.asked(), 1);
    // A new key with the same URL uses what was fetched already.
    keys.replace([issuer.key(NEVER).with_issuer("any")]);
    keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap();
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_fetched_but_not_for_each_token() {
    let [one, evil] = [(); 2].map(|()| pair(&PKCS_ECDSA_P256_SHA256));
    let issuer = Issuer::start(&set([("k1", &one)])).await;
    let keys = Keys::new([issuer.key(NEVER)]);
    keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap();
    for number in 0..100 {
        let forged = named(&evil, &format!("k{number}"), "any");
        assert_eq!(keys.verify(&forged, CARAFE).await.unwrap_err(), Refused::Untrusted);
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_accepted_and_a_removed_one_is_not() {
    let [one, two] = [(); 2].map(|()| pair(&PKCS_ECDSA_P256_SHA256));
    let issuer = Issuer::start(&set([("k1", &one)])).await;
    let keys = Keys::new([issuer.key(Duration::ZERO)]);
    keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap();
    issuer.say(200, &set([("k1", &one), ("k2", &two)]));
    keys.verify(&named(&two, "k2", "any"), CARAFE).await.unwrap();
    issuer.say(200, &set([("k2", &two)]));
    keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap();
    keys.refresh().await;
    assert_eq!(
        keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap_err(),
        Refused::Untrusted
    );
    keys.verify(&named(&two, "k2", "any"), CARAFE).await.unwrap();
}

#[tokio::test]
async fn a_fetch_that_fails_leaves_what_was_there() {
    let one = pair(&PKCS_ECDSA_P256_SHA256);
    let issuer = Issuer::start(&set([("k1", &one)])).await;
    let keys = Keys::new([issuer.key(Duration::ZERO)]);
    keys.refresh().await;
    let large = set([("k2", &one)]).to_string() + &" ".repeat(1 << 20);
    let oct = json!({"keys": [{"kty": "oct", "k": base64url(SECRET)}]});
    for (status, body) in [
        (500, "{}".into()),
        (302, String::new()),
        (200, "<html>".into()),
        (200, "{\"keys\": []}".into()),
        (200, oct.to_string()),
        (200, large),
    ] {
        let asked = issuer.asked();
        issuer.say(status, &body);
        keys.refresh().await;
        assert_eq!(issuer.asked(), asked + 1);
        keys.verify(&named(&one, "k1", "any"), CARAFE).await.unwrap();
    }
}

#[tokio::test]
async fn a_secret_that_is_published_is_none() {
    let oct = json!({"kty": "oct", "kid": "k1", "k": base64url(SECRET)});
    let mut both = set([("k2", &pair(&PKCS_ECDSA_P256_SHA256))]);
    both["keys"].as_array_mut().unwrap().push(oct);
    let issuer = Issuer::start(&both).await;
    let key = issuer.key(NEVER).with_algorithms(&[Algorithm::HS256, Algorithm::ES256]).unwrap();
    let forged =
        Signer::secret(SECRET).unwrap().with_key_id("k1").sign(&json!({"exp": at(60)})).unwrap();
    assert_eq!(verify(key, &forged).await.unwrap_err(), Refused::Untrusted);
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn only_a_url_with_an_authenticated_server_is_trusted() {
    for url in [
        "https://issuer.example/keys",
        "http://127.0.0.1:1/keys",
        "http://localhost/",
        "http://[::1]/",
    ] {
        assert!(Key::jwk_set_at(url, NEVER).is_ok(), "{url}");
    }
    for url in [
        "",
        "keys.json",
        "/keys.json",
        "http://issuer.example/keys",
        "http://localhost.example/keys",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user:password@issuer.example/",
    ] {
        assert_eq!(Key::jwk_set_at(url, NEVER).unwrap_err(), BadKey::BadUrl, "{url}");
    }
}

#[test]
fn nothing_that_is_printed_of_a_key_shows_its_material() {
    let ed = pair(&PKCS_ED25519);
    let oct = json!({"keys": [{"kty": "oct", "kid": "k1", "k": base64url(SECRET)}]});
    let material = [
        String::from_utf8(SECRET.to_vec()).unwrap(),
        format!("{SECRET:?}"),
        base64url(SECRET),
        format!("{:?}", ed.serialize_der()),
    ];
    let printed = [
        format!("{:?}", Keys::new([secret(), pem(&ed), jwk_set(&oct)])),
        format!("{:#?}", secret()),
        format!("{:?}", Signer::secret(SECRET).unwrap()),
        format!("{:?}", signer(&ed)),
    ];
    for printed in printed {
        for material in &material {
            let part = material.trim_matches(['[', ']']);
            assert!(!printed.contains(part), "{printed}");
        }
    }
}
