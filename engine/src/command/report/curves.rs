//! Recall against false alerts as one SVG that stands alone: drawn without a script, in the manner of [`super::plot`].

use super::html::Html;
use crate::evaluation::curve::{Curve, Point};

/// Units of the drawing: where the plot begins and ends, and where logarithms begin beside the place of nothing at all.
const LEFT: f64 = 60.0;
const LOG_FROM: f64 = 110.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 460.0;
const LEGEND_AT: f64 = 660.0;
const LEGEND_STEP: f64 = 20.0;

/// Colours that people who tell few apart tell apart (Okabe and Ito, without the yellow and the black).
const COLOURS: [&str; 7] = [
    "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#8c6d31",
];
/// The end of the name of what counts by address: the same colour, dashed.
const BY_ADDRESS: &str = "_by_address";

/// Decades of false alerts per million events that are drawn.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    /// Holds every rate that is not nothing.
    fn of<'a>(curves: impl Iterator<Item = &'a Curve>) -> Axis {
        let rates = curves.flat_map(|curve| curve.points.iter().map(Point::per_million));
        let rates = rates.filter(|rate| 0.0 < *rate);
        let (least, most) = rates.fold((1.0_f64, 10.0_f64), |(least, most), rate| {
            (least.min(rate), most.max(rate))
        });
        Axis {
            from: least.log10().floor(),
            to: most.log10().ceil(),
        }
    }

    fn x(&self, per_million: f64) -> f64 {
        if per_million <= 0.0 {
            return LEFT;
        }
        let share = (per_million.log10() - self.from) / (self.to - self.from);
        LOG_FROM + share * (RIGHT - LOG_FROM)
    }
}

fn y(recall: f64) -> f64 {
    BOTTOM - recall * (BOTTOM - TOP)
}

/// Appends markup with a value behind each piece.
fn put(html: &mut Html, pieces: &[(&'static str, &str)], end: &'static str) {
    for (piece, value) in pieces {
        html.raw(piece).text(value);
    }
    html.raw(end);
}

fn unit(value: f64) -> String {
    format!("{value:.1}")
}

/// Draws the curves: ours bold with its 95 % interval, the rivals beside it, a ring at each default.
pub(in crate::command) fn picture(ours: &Curve, rivals: &[Curve]) -> String {
    let axis = Axis::of(std::iter::once(ours).chain(rivals));
    let mut html = Html::default();
    html.raw("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"900\" height=\"520\" viewBox=\"0 0 900 520\" font-family=\"sans-serif\" font-size=\"12\" aria-label=\"Recall against false alerts per million events\">\n");
    html.raw("<rect width=\"900\" height=\"520\" fill=\"#ffffff\"/>\n");
    grid(&mut html, &axis);
    band(&mut html, &axis, ours);
    let mut names: Vec<&str> = rivals.iter().map(|c| base(&c.name)).collect();
    names.dedup();
    for curve in rivals {
        let at = names.iter().position(|name| *name == base(&curve.name));
        let colour = COLOURS[at.unwrap_or_default() % COLOURS.len()];
        let dashes = match curve.name.ends_with(BY_ADDRESS) {
            true => "4 3",
            false => "none",
        };
        line(&mut html, &axis, curve, (colour, dashes, "1.5"));
    }
    line(&mut html, &axis, ours, ("#000000", "none", "3"));
    legend(&mut html, ours, &names, rivals);
    html.raw("</svg>\n");
    html.finish()
}

fn base(name: &str) -> &str {
    name.strip_suffix(BY_ADDRESS).unwrap_or(name)
}

fn grid(html: &mut Html, axis: &Axis) {
    let (left, right, top, bottom) = (unit(LEFT), unit(RIGHT), unit(TOP), unit(BOTTOM));
    for tenth in (0..=10).step_by(2) {
        let recall = f64::from(tenth) / 10.0;
        let (at, label) = (unit(y(recall)), format!("{recall:.1}"));
        let from_to = [("<line x1=\"", &*left), ("\" x2=\"", &right)];
        put(html, &from_to, "");
        put(
            html,
            &[("\" y1=\"", &*at), ("\" y2=\"", &at)],
            "\" stroke=\"#dddddd\"/>",
        );
        put(
            html,
            &[
                ("<text text-anchor=\"end\" x=\"52\" y=\"", &*at),
                ("\">", &label),
            ],
            "</text>\n",
        );
    }
    let decades = axis.from as i32..=axis.to as i32;
    let decades = decades.map(|decade| (10_f64.powi(decade), decade));
    let ticks = decades.map(|(rate, decade)| {
        let label = match decade {
            ..0 => format!("{rate:.0$}", decade.unsigned_abs() as usize),
            _ => format!("{rate:.0}"),
        };
        (axis.x(rate), label)
    });
    for (x, label) in std::iter::once((LEFT, "0".to_owned())).chain(ticks) {
        let x = unit(x);
        let from_to = [("<line x1=\"", &*x), ("\" x2=\"", &x)];
        put(html, &from_to, "");
        put(
            html,
            &[("\" y1=\"", &*top), ("\" y2=\"", &bottom)],
            "\" stroke=\"#dddddd\"/>",
        );
        put(
            html,
            &[
                ("<text text-anchor=\"middle\" y=\"478\" x=\"", &*x),
                ("\">", &label),
            ],
            "</text>\n",
        );
    }
    html.raw(
        "<text text-anchor=\"middle\" x=\"350\" y=\"502\">false alerts per million events</text>\n",
    );
    html.raw("<text x=\"60\" y=\"24\">share of the episodes found</text>\n");
}

/// Points in the order of their false alerts.
fn in_order(curve: &Curve) -> Vec<&Point> {
    let mut points: Vec<&Point> = curve.points.iter().collect();
    points.sort_by_key(|point| (point.n_false, point.n_found));
    points
}

/// The 95 % interval of a curve, as an area.
fn band(html: &mut Html, axis: &Axis, curve: &Curve) {
    let points = in_order(curve);
    let at = |point: &Point, recall: f64| {
        let (x, y) = (axis.x(point.per_million()), y(recall));
        format!("{x:.1},{y:.1}")
    };
    let highs = points.iter().map(|point| at(point, point.interval().1));
    let lows = points
        .iter()
        .rev()
        .map(|point| at(point, point.interval().0));
    html.raw("<polygon fill=\"#000000\" fill-opacity=\"0.1\" points=\"");
    for corner in highs.chain(lows) {
        html.text(&corner).raw(" ");
    }
    html.raw("\"/>\n");
}

/// * `style`: colour, dashes, width.
fn line(html: &mut Html, axis: &Axis, curve: &Curve, style: (&str, &str, &str)) {
    let (colour, dashes, width) = style;
    let stroke = [
        ("<polyline fill=\"none\" stroke=\"", colour),
        ("\" stroke-dasharray=\"", dashes),
        ("\" stroke-width=\"", width),
    ];
    put(html, &stroke, "\" points=\"");
    let points = in_order(curve);
    for point in &points {
        let (x, y) = (axis.x(point.per_million()), y(point.recall()));
        html.text(&format!("{x:.1},{y:.1}")).raw(" ");
    }
    html.raw("\"/>\n");
    for point in points {
        let (x, y) = (unit(axis.x(point.per_million())), unit(y(point.recall())));
        let (radius, fill) = match point.is_default {
            true => ("5", "#ffffff"),
            false => ("2", colour),
        };
        let dot = [
            ("<circle cx=\"", &*x),
            ("\" cy=\"", &y),
            ("\" r=\"", radius),
            ("\" fill=\"", fill),
            ("\" stroke=\"", colour),
        ];
        put(html, &dot, "\"><title>");
        let said = format!(
            "{} at {}: {} of {} found, {:.1} false alerts per million events",
            curve.name,
            point.threshold,
            point.n_found,
            point.n_episodes,
            point.per_million()
        );
        html.text(&said).raw("</title></circle>\n");
    }
}

fn legend(html: &mut Html, ours: &Curve, names: &[&str], rivals: &[Curve]) {
    let mut entries = vec![(ours.name.as_str(), "#000000")];
    let colours = COLOURS.iter().cycle();
    entries.extend(
        names
            .iter()
            .zip(colours)
            .map(|(name, colour)| (*name, *colour)),
    );
    let x = unit(LEGEND_AT);
    let mut at = TOP;
    let mut write = |html: &mut Html, text: &str, colour: &str| {
        let y = unit(at);
        at += LEGEND_STEP;
        put(
            html,
            &[
                ("<text x=\"", &*x),
                ("\" y=\"", &y),
                ("\" fill=\"", colour),
                ("\">", text),
            ],
            "</text>\n",
        );
    };
    for (name, colour) in entries {
        write(html, name, colour);
    }
    let grey = "#555555";
    if rivals.iter().any(|curve| curve.name.ends_with(BY_ADDRESS)) {
        write(html, "dashed: by address", grey);
    }
    write(html, "ring: at its default", grey);
    write(html, "grey: 95 % interval", grey);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(n_found: usize, n_false: usize, is_default: bool) -> Point {
        Point {
            n_found,
            n_episodes: 10,
            n_false,
            n_events: 1_000_000,
            is_default,
            ..Point::default()
        }
    }

    #[test]
    fn points_stand_where_their_numbers_are() {
        let ours = Curve {
            name: "ours".to_owned(),
            points: vec![point(10, 100, true), point(5, 0, false)],
        };
        let rivals = [Curve {
            name: "<rival>_by_address".to_owned(),
            points: vec![point(0, 10, true)],
        }];
        let drawn = picture(&ours, &rivals);
        // From 1 to 100 per million; half found of nothing told falsely is in the middle of the left edge, all found with a
        // hundred in the upper right corner, nothing with ten below the middle.
        for dot in [
            "<circle cx=\"60.0\" cy=\"250.0\" r=\"2\"",
            "<circle cx=\"640.0\" cy=\"40.0\" r=\"5\"",
            "<circle cx=\"375.0\" cy=\"460.0\" r=\"5\"",
        ] {
            assert!(drawn.contains(dot), "{dot} in {drawn}");
        }
        assert!(drawn.contains("60.0,250.0 640.0,40.0"), "in order: {drawn}");
        assert!(drawn.contains("stroke-dasharray=\"4 3\""));
        assert!(drawn.contains("&lt;rival&gt;") && !drawn.contains("<rival>"));
    }
}
