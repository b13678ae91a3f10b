//! What the bars and the curves of a picture share.

/// The width of a picture in pixels.
pub(crate) const WIDTH: f64 = 760.0;

/// Text as SVG has it.
pub(crate) fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}
