//! What a hub prints once when it starts: version, data, access, addresses and what to try.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use bytesize::ByteSize;
use carafe_http::Options;
use tracing::{info, warn};

use crate::cli::{EngineUrl, HubOptions, LogFormat, LogPlace};

/// A hub that has started.
pub(crate) struct Startup {
    format: LogFormat,
    data: String,
    access: &'static str,
    /// Whether it is a hub for development.
    dev: bool,
    next: Next,
}

/// What a new user can try.
#[derive(Clone, Copy)]
enum Next {
    Publish,
    Subscribe,
    MakeToken,
}

impl Startup {
    pub(crate) fn of(options: &HubOptions, cluster: Option<&EngineUrl>, access: &Options) -> Self {
        Self {
            format: options.log_format,
            data: data(&options.log, cluster),
            access: rules(access),
            dev: access.loopback_only,
            next: next(access),
        }
    }

    /// Prints everything, in text format without times and levels.
    pub(crate) fn announce(&self, urls: &[String]) {
        match self.format {
            LogFormat::Text => self.print(urls),
            LogFormat::Json => {
                info!(version = VERSION, data = self.data, access = self.access, "carafe");
                urls.iter().for_each(|url| info!("listening on {url}"));
            }
        }
        if self.dev {
            urls.iter().filter(|url| is_reachable(url)).for_each(|url| {
                warn!(
                    "other machines can reach {url}, and carafe dev rejects their requests: \
                     listen on 127.0.0.1, or run carafe serve"
                );
            });
        }
    }

    fn print(&self, urls: &[String]) {
        eprintln!("carafe {VERSION}");
        eprintln!("  data    {}", self.data);
        eprintln!("  access  {}", self.access);
        if let Some(url) = urls.first().map(|url| local(url)) {
            if self.dev {
                eprintln!("  console {url}/");
            }
            eprintln!("  try     {}", self.next.command(&url));
        }
        // Lines of their own, since scripts wait for them.
        urls.iter().for_each(|url| eprintln!("listening on {url}"));
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Next {
    fn command(self, url: &str) -> String {
        match (self, url.strip_prefix("unix:")) {
            (Self::MakeToken, _) => "carafe token --publish 'orders/*'".into(),
            (Self::Publish, None) => format!("curl -d 'one flat white' {url}/events/orders"),
            (Self::Subscribe, None) => format!("curl -N {url}/events"),
            (_, Some(path)) => format!("curl -N --unix-socket {path} http://localhost/events"),
        }
    }
}

fn next(access: &Options) -> Next {
    let rights = &access.anonymous;
    match (rights.publish.is_empty(), rights.subscribe.is_empty()) {
        (false, _) => Next::Publish,
        (true, false) => Next::Subscribe,
        (true, true) => Next::MakeToken,
    }
}

fn rules(access: &Options) -> &'static str {
    let rights = &access.anonymous;
    if access.loopback_only {
        return "programs and pages of this machine may do everything";
    }
    match (!rights.subscribe.is_empty(), !rights.publish.is_empty(), !access.keys.is_empty()) {
        (true, true, true) => "everyone may subscribe and publish; tokens grant private events",
        (true, true, false) => "everyone may subscribe and publish; there are no keys for tokens",
        (true, false, true) => "everyone may subscribe; publishing needs a token",
        (true, false, false) => "everyone may subscribe; nobody may publish without keys",
        (false, true, true) => "everyone may publish; subscribing needs a token",
        (false, true, false) => "everyone may publish; nobody may subscribe without keys",
        (false, false, _) => "subscribing and publishing need a token",
    }
}

fn data(log: &LogPlace, cluster: Option<&EngineUrl>) -> String {
    match (log, cluster) {
        (LogPlace::Memory, None) => "in memory: a restart forgets it".into(),
        (LogPlace::Disk(folder), None) => format!("{}, {} on disk", folder.display(), size(folder)),
        (LogPlace::Memory, Some(engine)) => format!("{engine}, with a copy in memory"),
        (LogPlace::Disk(folder), Some(engine)) => {
            format!("{engine}, with a copy in {}", folder.display())
        }
    }
}

/// The size of the files in a folder. Files that are deleted meanwhile do not count.
fn size(folder: &Path) -> ByteSize {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    ByteSize::b(files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
}

/// The URL under which this machine reaches a hub that listens on all addresses.
fn local(url: &str) -> String {
    url.replacen("//0.0.0.0:", "//127.0.0.1:", 1).replacen("//[::]:", "//[::1]:", 1)
}

/// Whether other machines may reach a URL. A Unix socket has none.
fn is_reachable(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    let address = authority.and_then(|authority| authority.parse::<SocketAddr>().ok());
    address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_unix_sockets_are_out_of_reach() {
        for (url, reachable) in [
            ("http://127.0.0.1:3000", false),
            ("http://[::1]:3000/sse", false),
            ("unix:/run/carafe.sock", false),
            ("http://0.0.0.0:3000", true),
            ("https://[::]:443", true),
            ("http://192.0.2.1:3000/sse", true),
        ] {
            assert_eq!(is_reachable(url), reachable, "{url}");
        }
    }

    #[test]
    fn a_command_to_try_uses_an_address_of_this_machine() {
        assert_eq!(local("http://0.0.0.0:3000"), "http://127.0.0.1:3000");
        assert_eq!(local("http://[::]:3000/sse"), "http://[::1]:3000/sse");
        assert_eq!(local("http://192.0.2.1:3000"), "http://192.0.2.1:3000");
    }
}
