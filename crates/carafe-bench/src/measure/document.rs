//! The file that keeps what was measured: each measurement has a part of it, and replaces that
//! alone.

use std::fmt;
use std::fs;

use crate::outcome::Outcome;

const FILE: &str = "bench/RESULTS.md";

/// A measurement that is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Fanout,
    Events,
    Shape,
    Latest,
    CatchUp,
    Cluster,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Events => "events",
            Self::Shape => "shape",
            Self::Latest => "latest",
            Self::CatchUp => "catch-up",
            Self::Cluster => "cluster",
        }
    }

    /// The picture, a file beside the document.
    pub(crate) fn plot(self) -> &'static str {
        match self {
            Self::Fanout => "results.svg",
            Self::Events => "events.svg",
            Self::Shape => "shape.svg",
            Self::Latest => "latest.svg",
            Self::CatchUp => "catch-up.svg",
            Self::Cluster => "cluster.svg",
        }
    }

    /// What the picture shows.
    pub(crate) fn caption(self) -> &'static str {
        match self {
            Self::Fanout => "Processor time of a delivery, and memory of a connection",
            Self::Events => "The price of one event",
            Self::Latest => "Cost of a snapshot against the size of the log, at 100,000 topics",
            Self::Shape => "Cost against size, each as a multiple of the cost at the smallest size",
            Self::CatchUp => {
                "Replay through nginx on the same host, as a share of what a bare loop reaches"
            }
            Self::Cluster => "Nodes of a cluster, beside the engine alone",
        }
    }

    /// Writes the part, and the picture.
    pub(crate) fn write(self, text: &str, plot: &str) -> Outcome {
        let picture = format!("bench/{}", self.plot());
        fs::write(&picture, plot)?;
        let before = fs::read_to_string(FILE)?;
        fs::write(FILE, replaced(&before, self, text))?;
        println!("written: the part {self} of {FILE}, {picture}");
        Ok(())
    }

    /// The files that this writes, which a check for other changes ignores.
    pub(crate) fn files(self) -> [String; 2] {
        [FILE.into(), format!("bench/{}", self.plot())]
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The document with this part new; at its end, if it has none yet.
fn replaced(document: &str, part: Part, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin {part} -->\n"), format!("<!-- end {part} -->\n"));
    let whole = format!("{begin}\n{}\n\n{end}", text.trim_end());
    let split = document
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    match split {
        Some((before, after)) => format!("{before}{whole}{after}"),
        None => format!("{}\n\n{whole}", document.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, replaced};

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let document =
            "# Results\n\n<!-- begin fanout -->\n\nold\n\n<!-- end fanout -->\n\n## By hand\n";
        let once = replaced(document, Part::Fanout, "new\n");
        assert_eq!(
            once,
            "# Results\n\n<!-- begin fanout -->\n\nnew\n\n<!-- end fanout -->\n\n## By hand\n"
        );
        assert_eq!(replaced(&once, Part::Fanout, "new"), once);
        let both = replaced(&once, Part::Shape, "shape");
        assert_eq!(both, format!("{once}\n<!-- begin shape -->\n\nshape\n\n<!-- end shape -->\n"));
    }
}
