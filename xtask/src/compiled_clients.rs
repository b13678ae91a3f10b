//! Builds the clients of event streams that are written in Go and Java. Their toolchains are large,
//! and not installed.

use std::fs;

use crate::step::{Step, output};

/// The files that a build is made of, and where its result is.
#[derive(PartialEq, Eq)]
pub(crate) struct Build {
    name: &'static str,
    sources: &'static [&'static str],
    folder: &'static str,
    steps: &'static [&'static str],
}

pub(crate) const GO: Build = Build {
    name: "the Go clients",
    sources: &[
        "tests/clients/go/go.mod",
        "tests/clients/go/go.sum",
        "tests/clients/go/reader/reader.go",
        "tests/clients/go/gosse/main.go",
        "tests/clients/go/r3labs/main.go",
    ],
    folder: "target/clients-go",
    steps: &["go build -C tests/clients/go -o ../../../target/clients-go/bin/ ./gosse ./r3labs"],
};

pub(crate) const JAVA: Build = Build {
    name: "the Java clients",
    sources: &[
        "tests/clients/java/pom.xml",
        "tests/clients/java/Reader.java",
        "tests/clients/java/LaunchDarkly.java",
        "tests/clients/java/OkHttpSse.java",
    ],
    folder: "target/clients-java",
    steps: &[
        "mvn --quiet --batch-mode --file tests/clients/java/pom.xml dependency:copy-dependencies \
         -DincludeScope=runtime -DoutputDirectory=../../../target/clients-java/lib",
        "javac -cp target/clients-java/lib/* -d target/clients-java/classes \
         tests/clients/java/Reader.java tests/clients/java/LaunchDarkly.java \
         tests/clients/java/OkHttpSse.java",
    ],
};

impl Build {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_here(&self) -> bool {
        let built = fs::read(self.stamp());
        matches!((self.contents(), built), (Ok(wanted), Ok(built)) if wanted == built)
    }

    /// The contents of the sources are written last, as the mark of a complete build.
    pub(crate) fn install(&self) -> Result<(), String> {
        let _ = fs::remove_dir_all(self.folder);
        fs::create_dir_all(self.folder).map_err(|error| format!("{}: {error}", self.folder))?;
        self.steps.iter().try_for_each(|words| Step::new("install", words).run())?;
        fs::write(self.stamp(), self.contents()?)
            .map_err(|error| format!("{}: {error}", self.stamp()))
    }

    fn stamp(&self) -> String {
        format!("{}/sources", self.folder)
    }

    fn contents(&self) -> Result<Vec<u8>, String> {
        let read = |path: &&str| fs::read(path).map_err(|error| format!("{path}: {error}"));
        Ok(self.sources.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat())
    }
}

/// Whether there is a `go` that knows the language version of the module.
pub(crate) fn go_is_new_enough() -> bool {
    let version = output("go", &["env", "GOVERSION"]).unwrap_or_default();
    let minor = version.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next());
    minor.and_then(|minor| minor.parse().ok()) >= Some(23)
}
