//! A picture of what was measured: bars, one below the other, and then curves.

use std::fmt::Write;

use crate::curves;
use crate::section::{Curve, Plotted, Section};
use crate::svg::{WIDTH, escaped};

const NAMES: f64 = 190.0;
const VALUES: f64 = 90.0;
const BAR: f64 = 18.0;
const ROW: f64 = 26.0;
const TITLE: f64 = 44.0;

/// Everything that sections have to plot, as SVG; it is legible on light and on dark pages.
pub(crate) fn draw(sections: &[Section]) -> String {
    let all: Vec<&Plotted> = sections.iter().flat_map(|section| &section.plotted).collect();
    let curves: Vec<&Curve> = sections.iter().flat_map(|section| &section.curves).collect();
    let bars: f64 = all.iter().map(|plotted| TITLE + ROW * plotted.bars.len() as f64).sum();
    let height = bars + curves::height(&curves) + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut top = 0.0;
    for plotted in all {
        draw_one(&mut svg, plotted, top);
        top += TITLE + ROW * plotted.bars.len() as f64;
    }
    curves::draw(&mut svg, &curves, top);
    svg + "</svg>\n"
}

fn draw_one(svg: &mut String, plotted: &Plotted, top: f64) {
    let most = plotted.bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let scale = (WIDTH - NAMES - VALUES) / most.max(f64::MIN_POSITIVE);
    let mut text = |x: f64, y: f64, rest: &str, words: &str| {
        writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\"{rest}>{}</text>", escaped(words))
            .expect("a String takes all");
    };
    text(10.0, top + 30.0, " font-weight=\"600\"", &plotted.title);
    let rows = plotted.bars.iter().zip(0_u32..);
    let row_top = |row: u32| top + TITLE + ROW * f64::from(row);
    for ((name, value), row) in rows.clone() {
        text(NAMES - 10.0, row_top(row) + 14.0, " text-anchor=\"end\"", name);
        text(NAMES + value * scale + 8.0, row_top(row) + 14.0, " fill=\"#555\"", &shown(*value));
    }
    for ((name, value), row) in rows {
        let colour = if name.starts_with("Carafe") { "#a4502a" } else { "#b9b2a8" };
        let (y, width) = (row_top(row), value * scale);
        writeln!(
            svg,
            "<rect x=\"{NAMES}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
        )
        .expect("a String takes all");
    }
}

fn shown(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
