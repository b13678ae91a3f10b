//! Keys that verify or sign tokens, loaded from files and the environment.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carafe_http::auth::{Algorithm, BadKey, Dialect, Key, Keys};
use serde::Deserialize;
use tokio::time::sleep;
use tracing::warn;

use crate::cli::{KeyOptions, positive_duration};
use crate::config::place_and_reason;
use crate::failure::Failure;
use crate::reload::Reloads;

/// The environment variable for a secret. There is no option for it: other users of the machine can
/// read command lines.
const SECRET: &str = "CARAFE_SECRET";

/// The most keys: a token may be tried against each.
const MAX_KEYS: usize = 32;

/// The default age at which a JWK Set at a URL is fetched again.
const REFRESH: Duration = Duration::from_secs(300);

/// How often the age of JWK Sets is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Loads the keys, and reloads them when their files change.
pub(crate) fn keys(options: KeyOptions, reloads: &mut Reloads) -> Result<Keys, Failure> {
    let Loaded { keys, files } = load(&options).map_err(Failure::usage)?;
    let trusted = Keys::new(keys);
    if !files.is_empty() {
        let (files, reloaded) = (Arc::new(Mutex::new(files)), trusted.clone());
        let now = Arc::clone(&files);
        let reload = move || {
            let loaded = load(&options)?;
            reloaded.replace(loaded.keys);
            // The file of keys may name other files than before: these are watched from now on.
            *files.lock().unwrap_or_else(PoisonError::into_inner) = loaded.files;
            Ok(None)
        };
        let files = move || now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reloads.add_changing("the keys", files, reload);
    }
    Ok(trusted)
}

/// Fetches JWK Sets at URLs again when they are too old; runs forever.
pub(crate) async fn refresh_sets(keys: Keys) {
    loop {
        keys.refresh().await;
        sleep(CHECK_INTERVAL).await;
    }
}

/// The secret in a file, without a trailing line break, or in the environment.
pub(crate) fn secret(file: Option<&Path>) -> Result<Option<Vec<u8>>, String> {
    let Some(file) = file else {
        return Ok(env::var_os(SECRET).map(OsString::into_encoded_bytes));
    };
    let mut secret = read(file)?;
    warn_if_shared(file);
    if secret.ends_with(b"\n") {
        secret.pop();
        // One line break, as editors and `echo` add it. Other white space is part of the secret.
        secret.pop_if(|last| *last == b'\r');
    }
    Ok(Some(secret))
}

/// Warns if other users of the machine can read a file with secrets.
pub(crate) fn warn_if_shared(file: &Path) {
    if fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
        let path = file.display();
        warn!("all users of this machine can read the secrets in {path}: run chmod o= {path}");
    }
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// Keys, and the files that they were loaded from.
#[derive(Default)]
struct Loaded {
    keys: Vec<Key>,
    files: Vec<PathBuf>,
}

fn load(options: &KeyOptions) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    if let Some(secret) = secret(options.secret_file.as_deref())? {
        let place = options
            .secret_file
            .as_ref()
            .map_or_else(|| SECRET.into(), |file| file.display().to_string());
        let mut key = Key::secret(&secret).map_err(|error| format!("{place}: {error}"))?;
        if let Some(issuer) = &options.issuer {
            key = key.with_issuer(issuer);
        }
        loaded.keys.push(key.with_audience(&options.audience));
        loaded.files.extend(options.secret_file.clone());
    } else if options.issuer.is_some() || !options.audience.is_empty() {
        return Err("--issuer and --audience apply to a secret: give --secret-file, or set them in the file of --keys".into());
    }
    if let Some(file) = &options.keys {
        loaded.add_file(file)?;
    }
    Ok(loaded)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Table>,
}

/// A key in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    secret_file: Option<PathBuf>,
    public_key: Option<PathBuf>,
    jwk_set: Option<String>,
    refresh: Option<String>,
    algorithms: Option<Vec<Algorithm>>,
    issuer: Option<String>,
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    dialect: Spoken,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
enum Spoken {
    #[default]
    Carafe,
    #[serde(rename = "mercure-0")]
    Mercure0,
    #[serde(rename = "mercure-1")]
    Mercure1,
}

impl From<Spoken> for Dialect {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Carafe => Self::Carafe,
            Spoken::Mercure0 => Self::Mercure0,
            Spoken::Mercure1 => Self::Mercure1,
        }
    }
}

impl Loaded {
    /// Adds the keys of a file. Paths in it are relative to its folder.
    fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let place = path.display();
        let text = String::from_utf8(read(path)?).map_err(|_| format!("{place} is not UTF-8"))?;
        let file: File = toml::from_str(&text)
            .map_err(|error| format!("{place}{}", place_and_reason(&text, &error)))?;
        if file.key.is_empty() || file.key.len() > MAX_KEYS {
            return Err(format!(
                "{place} has {} keys: expected 1 to {MAX_KEYS}, each under [[key]]",
                file.key.len()
            ));
        }
        self.files.push(path.into());
        let folder = path.parent().unwrap_or(Path::new(""));
        for (number, table) in (1..).zip(file.key) {
            let key = self
                .key(folder, table)
                .map_err(|error| format!("{place}, key {number}: {error}"))?;
            self.keys.push(key);
        }
        Ok(())
    }

    fn key(&mut self, folder: &Path, table: Table) -> Result<Key, String> {
        // Mercure 1.0 requires both of a token. Without them, a token for another service would be
        // accepted.
        let is_bound = table.issuer.is_some() && !table.audience.is_empty();
        if matches!(table.dialect, Spoken::Mercure1) && !is_bound {
            return Err(
                "the dialect mercure-1 requires an issuer and an audience: give both".into()
            );
        }
        let mut key = self.material(folder, &table)?.with_dialect(table.dialect.into());
        if let Some(algorithms) = &table.algorithms {
            key = key.with_algorithms(algorithms).map_err(|error| error.to_string())?;
        }
        if let Some(issuer) = table.issuer {
            key = key.with_issuer(issuer);
        }
        Ok(key.with_audience(table.audience))
    }

    fn material(&mut self, folder: &Path, table: &Table) -> Result<Key, String> {
        let words = |error: BadKey| error.to_string();
        let refresh = table.refresh.as_deref().map(positive_duration).transpose()?;
        match (&table.secret_file, &table.public_key, table.jwk_set.as_deref()) {
            (None, None, Some(url)) if url.contains("://") => {
                Key::jwk_set_at(url, refresh.unwrap_or(REFRESH)).map_err(words)
            }
            _ if refresh.is_some() => {
                Err("refresh applies to a jwk-set at a URL: files are reloaded when they change"
                    .into())
            }
            (Some(file), None, None) => {
                let secret = secret(Some(&self.watch(folder, file)))?.unwrap_or_default();
                Key::secret(&secret).map_err(words)
            }
            (None, Some(file), None) => Key::pem(&read(&self.watch(folder, file))?).map_err(words),
            (None, None, Some(file)) => {
                let path = self.watch(folder, file.as_ref());
                let set = read(&path)?;
                if has_secrets(&set) {
                    warn_if_shared(&path);
                }
                Key::jwk_set(&set).map_err(words)
            }
            _ => Err("expected exactly one of secret-file, public-key and jwk-set".into()),
        }
    }

    fn watch(&mut self, folder: &Path, file: &Path) -> PathBuf {
        let path = folder.join(file);
        self.files.push(path.clone());
        path
    }
}

/// Whether the set has symmetric or private keys.
fn has_secrets(set: &[u8]) -> bool {
    let set: serde_json::Value = serde_json::from_slice(set).unwrap_or_default();
    // `k` is a symmetric key, `d` the private part of any other (RFC 7518, 6).
    let mut keys = set["keys"].as_array().into_iter().flatten();
    keys.any(|key| key.get("k").is_some() || key.get("d").is_some())
}
