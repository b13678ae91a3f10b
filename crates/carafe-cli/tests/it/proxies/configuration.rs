//! The documented configurations, with the addresses and files of a test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::certificate::Certificate;
use crate::process::{Process, repository};
use crate::proxies::Kind;

/// What a proxy of a test needs beside its documented configuration.
pub(crate) struct Configuration<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) certificate: &'a Certificate,
    pub(crate) hub: SocketAddr,
    pub(crate) secure: SocketAddr,
    pub(crate) clear: SocketAddr,
    /// Changes of the documented text.
    pub(crate) changes: &'a [(&'a str, &'a str)],
    /// Whether the proxy compresses what it can: pages, and event streams too.
    pub(crate) compresses: bool,
}

impl Configuration<'_> {
    #[track_caller]
    pub(crate) fn start(&self, kind: Kind) -> Process {
        match kind {
            Kind::Nginx => self.nginx(),
            Kind::Caddy => self.caddy(),
            Kind::Apache => self.apache(),
            Kind::Haproxy => self.haproxy(),
        }
    }

    /// Writes a file into the folder of the test.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// A documented file with its changes, and with each of these in the place of what it says.
    #[track_caller]
    fn filled(&self, document: &str, replacements: &[(&str, String)]) -> String {
        let text = fs::read_to_string(repository(document)).unwrap();
        let replace = |text: String, (from, to): (&str, &str)| {
            assert!(text.contains(from), "{document} has no `{from}`");
            text.replace(from, to)
        };
        let text = self.changes.iter().copied().fold(text, replace);
        replacements.iter().map(|(from, to)| (*from, &**to)).fold(text, replace)
    }

    fn if_compressing(&self, text: &'static str) -> &'static str {
        if self.compresses { text } else { "" }
    }

    /// The documented paths of the certificate and its key, and those of the test.
    fn certificate_files(&self) -> [(&'static str, String); 2] {
        let shown = |path: PathBuf| path.display().to_string();
        [
            ("/etc/ssl/events.example.org.pem", shown(self.certificate.path())),
            ("/etc/ssl/private/events.example.org.key", shown(self.certificate.key())),
        ]
    }

    fn nginx(&self) -> Process {
        let Self { hub, secure, clear, .. } = self;
        let addresses = [
            ("server 127.0.0.1:3000;", format!("server {hub};")),
            ("listen 443 ssl http2;", format!("listen {secure} ssl http2; listen {clear};")),
        ];
        let replacements = [addresses, self.certificate_files()].concat();
        let site = self.filled("docs/proxies/nginx.conf", &replacements);
        let gzip = self.if_compressing("gzip on; gzip_types text/event-stream; gzip_min_length 0;");
        // One process, which ends with the test. The time limits are for requests that are never
        // whole.
        let main = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;
             events {{}}
             http {{
                access_log off; client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
                client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
                {gzip}
                {site}
             }}"
        );
        self.write("nginx.conf", &main);
        let mut program = Kind::Nginx.program();
        Process::start(program.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(self.folder))
    }

    fn caddy(&self) -> Process {
        let [(_, path), (_, key)] = self.certificate_files();
        let encode = self.if_compressing("encode gzip zstd");
        let address = format!("https://{} {{\n\t{encode}\n\ttls {path} {key}", self.secure);
        let site = self.filled(
            "docs/proxies/Caddyfile",
            &[("127.0.0.1:3000", self.hub.to_string()), ("events.example.org {", address)],
        );
        let alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n";
        let file = self.write("Caddyfile", &format!("{alone}{site}"));
        let mut program = Kind::Caddy.program();
        for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            program.env(variable, self.folder);
        }
        Process::start(program.args(["run", "--adapter", "caddyfile", "--config"]).arg(file))
    }

    fn apache(&self) -> Process {
        const DOCUMENT: &str = "docs/proxies/carafe-unavailable.asis";
        let unavailable = repository(DOCUMENT).display().to_string();
        let own = [
            ("http://127.0.0.1:3000/", format!("http://{}/", self.hub)),
            ("<VirtualHost *:443>", format!("<VirtualHost {}>", self.secure)),
            ("/etc/apache2/carafe-unavailable.asis", unavailable),
        ];
        let replacements = [&own[..], &self.certificate_files()].concat();
        let site = self.filled("docs/proxies/apache.conf", &replacements);
        let main = format!(
            "ServerRoot {root}\nDefaultRuntimeDir {root}\nPidFile apache.pid\nListen {}\n\
             ServerName localhost\nErrorLog /dev/stderr\nKeepAliveTimeout 1\n{}{}{}{site}",
            self.secure,
            load_apache_modules(),
            // Debian: 10 s. Less, for a test with a slow body.
            "RequestReadTimeout body=1,minrate=500\n",
            self.if_compressing("AddOutputFilterByType DEFLATE text/html text/event-stream\n"),
            root = self.folder.display(),
        );
        let file = self.write("apache.conf", &main);
        // One process, which ends with the test.
        Process::start(Kind::Apache.program().args(["-X", "-f"]).arg(file))
    }

    fn haproxy(&self) -> Process {
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let both = read(self.certificate.path()) + &read(self.certificate.key());
        let pem = self.write("both.pem", &both).display().to_string();
        let replacements = [
            ("/etc/haproxy/events.example.org.pem", pem),
            ("bind :443", format!("bind {}", self.secure)),
            ("server hub 127.0.0.1:3000", format!("server hub {}", self.hub)),
        ];
        let site = self.filled("docs/proxies/haproxy.cfg", &replacements);
        let compression = "defaults\n    compression algo gzip\n    \
            compression type text/html text/event-stream\n";
        let site = if self.compresses { site.replace("defaults\n", compression) } else { site };
        let file = self.write("haproxy.cfg", &site);
        Process::start(Kind::Haproxy.program().args(["-db", "-f"]).arg(file))
    }
}

/// Those that Debian enables for every site, and those that the document names.
fn load_apache_modules() -> String {
    let modules = "mpm_event authz_core alias env filter deflate \
                   reqtimeout asis headers http2 proxy proxy_http socache_shmcb ssl";
    let unpacked = repository("target/proxies/usr/lib/apache2/modules");
    let folder = if unpacked.exists() { unpacked } else { "/usr/lib/apache2/modules".into() };
    let load = |name| format!("LoadModule {name}_module {}/mod_{name}.so\n", folder.display());
    modules.split_whitespace().map(load).collect()
}
