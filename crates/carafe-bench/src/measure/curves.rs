//! Cost against size, as a picture: both on logarithmic axes, as multiples of those at the smallest
//! size.

use std::fmt::Write;

use crate::section::Curve;
use crate::svg::{WIDTH, escaped};

const LEFT: f64 = 60.0;
const RIGHT: f64 = 260.0;
const TITLE: f64 = 44.0;
const PLOT: f64 = 300.0;
const FOOT: f64 = 50.0;

/// Distinguishable on light and on dark pages, and with colour blindness.
const COLOURS: [&str; 12] = [
    "#a4502a", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a", "#8a6d00",
    "#7d5fff", "#c1121f", "#5c8a00", "#00a5b5",
];

/// Degrees between the hues of further curves: the golden angle, so that no hue repeats.
const BETWEEN_HUES: f64 = 137.508;

/// What they take of a picture.
pub(crate) fn height(curves: &[&Curve]) -> f64 {
    if curves.is_empty() { 0.0 } else { TITLE + PLOT + FOOT }
}

/// Draws them from `top` on.
pub(crate) fn draw(svg: &mut String, curves: &[&Curve], top: f64) {
    if curves.is_empty() {
        return;
    }
    let axes = Axes::over(curves, top + TITLE);
    let title = "Cost against size, as multiples of those at the smallest size";
    text(svg, (10.0, top + 28.0), "font-weight=\"600\"", title);
    axes.draw(svg);
    for (row, curve) in (0_u32..).zip(curves) {
        let colour = colour(row);
        axes.draw_curve(svg, curve, &colour);
        let last = curve.points.last().map_or(f64::NAN, |point| point.1);
        let at = (WIDTH - RIGHT + 20.0, axes.top + 14.0 + 20.0 * f64::from(row));
        text(svg, at, &format!("fill=\"{colour}\""), &format!("{}: {last:.2}", curve.name));
    }
}

/// The colour of a curve, which no other has.
fn colour(row: u32) -> String {
    let further = || format!("hsl({:.0}, 65%, 42%)", f64::from(row) * BETWEEN_HUES % 360.0);
    COLOURS.get(row as usize).map_or_else(further, ToString::to_string)
}

/// The area of the curves, and how many decades it has either way.
struct Axes {
    top: f64,
    sizes: i32,
    /// Below 1, and above.
    cheaper: i32,
    dearer: i32,
}

impl Axes {
    fn over(curves: &[&Curve], top: f64) -> Self {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let most =
            |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1.0, f64::max).log10().ceil() as i32;
        let least = points().map(|point| point.1).fold(1.0, f64::min).log10().floor() as i32;
        Self {
            top,
            sizes: most(|point| point.0).max(1),
            cheaper: least.min(-1),
            dearer: most(|point| point.1).max(1),
        }
    }

    fn x(&self, size: f64) -> f64 {
        LEFT + size.log10() / f64::from(self.sizes) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, cost: f64) -> f64 {
        let decades = f64::from(self.dearer - self.cheaper);
        self.top + (f64::from(self.dearer) - cost.log10()) / decades * PLOT
    }

    /// A line and a number for each decade.
    fn draw(&self, svg: &mut String) {
        let (left, right) = (self.x(1.0), WIDTH - RIGHT);
        for decade in self.cheaper..=self.dearer {
            let y = self.y(10_f64.powi(decade));
            line(svg, [left, y, right, y], if decade == 0 { "#555" } else { "#ddd" });
            text(
                svg,
                (LEFT - 8.0, y + 4.0),
                "fill=\"#555\" text-anchor=\"end\"",
                &multiple(decade),
            );
        }
        for decade in 0..=self.sizes {
            let x = self.x(10_f64.powi(decade));
            line(svg, [x, self.top, x, self.top + PLOT], "#ddd");
            let at = (x, self.top + PLOT + 20.0);
            text(svg, at, "fill=\"#555\" text-anchor=\"middle\"", &multiple(decade));
        }
        text(
            svg,
            (left, self.top + PLOT + 40.0),
            "fill=\"#555\"",
            "size of the log, or number of topics",
        );
    }

    fn draw_curve(&self, svg: &mut String, curve: &Curve, colour: &str) {
        let points = curve
            .points
            .iter()
            .map(|(size, cost)| format!("{:.1},{:.1}", self.x(*size), self.y(*cost)));
        let points = points.collect::<Vec<_>>().join(" ");
        writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        )
        .expect("a String takes all");
        for (size, cost) in &curve.points {
            let (x, y) = (self.x(*size), self.y(*cost));
            writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")
                .expect("a String takes all");
        }
    }
}

fn multiple(decade: i32) -> String {
    format!("×{}", 10_f64.powi(decade))
}

fn line(svg: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str) {
    writeln!(svg, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\"/>")
        .expect("a String takes all");
}

fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, words: &str) {
    writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\" {attributes}>{}</text>", escaped(words))
        .expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Axes, PLOT, draw};
    use crate::section::Curve;

    #[test]
    fn equal_cost_is_a_level_line_within_the_area() {
        let curve = Curve { name: "flat".into(), points: vec![(1.0, 1.0), (1000.0, 1.0)] };
        let axes = Axes::over(&[&curve], 100.0);
        assert_eq!((axes.sizes, axes.cheaper, axes.dearer), (3, -1, 1));
        assert!((axes.y(1.0) - (100.0 + PLOT / 2.0)).abs() < 1e-9);
    }

    #[test]
    fn each_curve_has_a_colour_of_its_own() {
        let curves: Vec<_> = (0..60)
            .map(|n| Curve { name: n.to_string(), points: vec![(1.0, 1.0), (10.0, 1.0)] })
            .collect();
        let mut svg = String::new();
        draw(&mut svg, &curves.iter().collect::<Vec<_>>(), 0.0);
        let lines = svg.lines().filter_map(|line| line.strip_prefix("<polyline "));
        let colours: BTreeSet<_> = lines.filter_map(|line| line.split("stroke=").nth(1)).collect();
        assert_eq!(colours.len(), curves.len());
    }
}
