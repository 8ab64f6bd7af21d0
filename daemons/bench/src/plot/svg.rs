//! The few shapes that a plot is made of.

use std::fmt::Write as _;

/// A drawing, from its first shape to its last.
#[derive(Debug)]
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
    frames: usize,
}

/// The rectangle that a plot's values lie in.
#[derive(Debug)]
pub struct Frame {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its right edge.
    pub right: f64,
    /// Its lower edge.
    pub bottom: f64,
    /// From left to right.
    pub time: Axis,
    /// From bottom to top.
    pub part: Axis,
}

/// An axis from 0.
#[derive(Debug)]
pub struct Axis {
    /// What is written beside it.
    pub title: &'static str,
    /// Its largest value.
    pub end: f64,
}

impl Axis {
    /// From 0 to `end`.
    pub fn new(title: &'static str, end: f64) -> Self {
        // Nothing measured is drawn on an axis all the same.
        Self { title, end: if end > 0.0 { end } else { 1.0 } }
    }

    /// Round values along the axis: from four to nine steps.
    fn ticks(&self) -> Vec<f64> {
        let rough = self.end / 9.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(decade * 10.0);
        let count = (self.end / step + 1e-9).floor() as u32;
        (0..=count).map(|at| f64::from(at) * step).collect()
    }
}

impl Frame {
    /// Axes with their titles, ticks and a grid.
    pub fn draw(&self, canvas: &mut Canvas) {
        self.draw_values(canvas);
        for tick in self.time.ticks() {
            let x = self.x(tick);
            canvas.rule((x, self.top), (x, self.bottom), GRID);
            canvas.text(x, self.bottom + 16.0, "middle", 11.0, &number(tick));
        }
        let middle = f64::midpoint(self.left, self.right);
        canvas.text(middle, self.bottom + 36.0, "middle", 13.0, self.time.title);
        canvas.rule((self.left, self.bottom), (self.right, self.bottom), INK);
    }

    /// The axis of values alone.
    pub fn draw_values(&self, canvas: &mut Canvas) {
        for tick in self.part.ticks() {
            let y = self.y(tick);
            canvas.rule((self.left, y), (self.right, y), GRID);
            canvas.text(self.left - 8.0, y + 4.0, "end", 11.0, &number(tick));
        }
        canvas.rule((self.left, self.top), (self.left, self.bottom), INK);
        canvas.rule((self.left, self.bottom), (self.right, self.bottom), INK);
        canvas.text_upwards(22.0, f64::midpoint(self.top, self.bottom), self.part.title);
    }

    fn x(&self, time: f64) -> f64 {
        self.left + (self.right - self.left) * time / self.time.end
    }

    /// How far down a value lies.
    pub fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * value / self.part.end
    }
}

impl Canvas {
    /// An empty one.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new(), frames: 0 }
    }

    /// The title, and a line below it.
    pub fn titles(&mut self, title: &str, below: &str) {
        self.text(self.width / 2.0, 30.0, "middle", 20.0, title);
        self.text(self.width / 2.0, 54.0, "middle", 13.0, below);
    }

    /// A line through points of the frame; what lies outside is not drawn.
    pub fn line(&mut self, frame: &Frame, points: &[(f64, f64)], color: &str, style: &str) {
        let mut path = String::new();
        for (time, value) in points {
            let _ = write!(path, "{:.1},{:.1} ", frame.x(*time), frame.y(*value));
        }
        // Half a line's width more, or a line at an edge is half a line.
        let (left, top) = (frame.left, frame.top - 2.0);
        let (width, height) = (frame.right - left, frame.bottom - top + 2.0);
        self.frames += 1;
        let clip = format!("frame{}", self.frames);
        let _ = writeln!(
            self.body,
            "<clipPath id='{clip}'><rect x='{left:.1}' y='{top:.1}' width='{width:.1}' \
             height='{height:.1}'/></clipPath>\n<polyline points='{}' fill='none' \
             stroke='{color}' stroke-linejoin='round' {style} clip-path='url(#{clip})'/>",
            path.trim_end()
        );
    }

    /// A bar from the bottom of the frame.
    pub fn bar(&mut self, frame: &Frame, left: f64, width: f64, value: f64, color: &str) {
        let top = frame.y(value);
        let height = (frame.bottom - top).max(0.0);
        let _ = writeln!(
            self.body,
            "<rect class='bar' x='{left:.1}' y='{top:.1}' width='{width:.1}' height='{height:.1}' \
             fill='{color}'/>"
        );
    }

    /// Colours and what they stand for, one below the other.
    pub fn legend(&mut self, left: f64, top: f64, entries: &[(&str, String)]) {
        for (at, (color, text)) in entries.iter().enumerate() {
            let y = top + LEGEND_LINE * (at as f64 + 0.75);
            let _ = writeln!(
                self.body,
                "<rect x='{left:.1}' y='{:.1}' width='22' height='5' fill='{color}'/>",
                y - 7.0
            );
            self.text(left + 28.0, y, "start", 12.0, text);
        }
    }

    /// Text in one line; `anchor` is SVG's `text-anchor`.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, size: f64, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' font-size='{size}'>{text}</text>"
        );
    }

    fn text_upwards(&mut self, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            "<text transform='translate({x:.1} {y:.1}) rotate(-90)' text-anchor='middle' \
             font-size='13'>{text}</text>"
        );
    }

    fn rule(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' stroke='{color}'/>"
        );
    }

    /// The whole file.
    pub fn finish(self) -> String {
        let Self { width, height, body, .. } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
             viewBox='0 0 {width} {height}' font-family='sans-serif' fill='{INK}'>\n\
             <rect width='{width}' height='{height}' fill='#ffffff'/>\n{body}</svg>\n"
        )
    }
}

/// A tick's number, with no digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The height of a legend's line.
pub const LEGEND_LINE: f64 = 20.0;

const INK: &str = "#222222";
const GRID: &str = "#dddddd";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_end_within_the_axis() {
        for (end, expected) in [
            (100.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (15.3, vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]),
            (1.1, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ] {
            let ticks = Axis::new("", end).ticks();
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            assert!(ticks.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9), "{ticks:?}");
        }
        assert_eq!(Axis::new("", 0.0).ticks().len(), 6);
        assert_eq!([0.2 * 3.0, 20.0, 0.0].map(number), ["0.6", "20", "0"]);
    }
}
