//! What it costs to subscribe with a token.

use std::path::Path;
use std::process::Command;

use crate::bench::Bench;
use crate::churned::Churned;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::server::Server;

const SECONDS: u64 = 10;

/// Clients come and go, first without a token, then with one.
pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of the measurements, not secret at all")?;
    let header = format!("Authorization: Bearer {}", token(&bench.carafe, &secret)?);
    let header = ["--header".to_owned(), header];
    let (mut anonymous, mut holders) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        anonymous.push(processor(bench, &secret, &[])?);
        holders.push(processor(bench, &secret, &header)?);
    }
    let mut section = Section::new("Subscribing with a token");
    section.head(&["", "µs of processor a subscription"]);
    for (clients, processor) in [("without a token", &anonymous), ("with a token, HS256", &holders)]
    {
        section.row(vec![clients.into(), Series::of(processor.iter().copied()).to_string()]);
    }
    let ratio = Series::ratio(&holders, &anonymous);
    section.demand(
        "processor time of a subscription, with a token / without",
        ratio,
        Limit::AtMost(1.3),
    );
    Ok(section)
}

fn processor(bench: &Bench, secret: &Path, arguments: &[String]) -> Outcome<f64> {
    let secret = secret.to_str().ok_or("the folder's name is no text")?;
    let server = Server::carafe(
        &bench.carafe,
        &["--log", "memory:", "--secret-file", secret],
        bench.server,
    )?;
    let seconds = bench.seconds(SECONDS);
    Ok(Churned::measure(bench, &server, &server.url("/events/bench"), arguments, seconds)?
        .processor)
}

fn token(carafe: &Path, secret: &Path) -> Outcome<String> {
    let mut command = Command::new(carafe);
    command
        .args(["token", "--subscribe", "bench", "--publish", "bench", "--secret-file"])
        .arg(secret);
    let output = command.output()?;
    let token = String::from_utf8(output.stdout)?.trim().to_owned();
    if token.is_empty() { Err(String::from_utf8(output.stderr)?.into()) } else { Ok(token) }
}
