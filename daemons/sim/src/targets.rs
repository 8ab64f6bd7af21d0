//! What a scenario's figures are to be.

/// All targets of a scenario.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// Whose times they are about; without it those of all hosts that count.
    pub of: Option<String>,
    /// What no policy can be faster than, if it is not 1: p99.9 ÷ what the link alone takes.
    pub bound: Option<f64>,
    /// The figures.
    pub list: Vec<Target>,
}

/// One figure that is to be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What is measured.
    pub measure: Measure,
    /// What it is to be.
    pub limit: Limit,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// The median of times ÷ what the link alone takes.
    P50,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// The slowest.
    Max,
    /// The median of the times to the first piece in order, in seconds.
    FirstPieceP50,
    /// The most copies that crossed a link between zones in one direction, of all blobs together
    /// that are wanted on its other side.
    CopiesCrossing,
    /// The slowest blob: the mean time of its copies ÷ that with a fair share of the links.
    FairShare,
    /// How much later than without hosts that lie, the most of p50, p99 and p99.9.
    LaterThanHonest,
    /// How often one that sent enough wrong pieces to a host was banned by it, as a share.
    LiarsBanned,
    /// Times of a group ÷ those of a swarm where all run what it runs, the most of p50, p99 and
    /// p99.9.
    NoWorseAlone(String),
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// This, give or take a share of it.
    Within {
        /// This…
        of: f64,
        /// …give or take so much of it.
        share: f64,
    },
}

impl Targets {
    /// The target for a figure, if there is one.
    pub fn target(&self, measure: &Measure) -> Option<&Target> {
        self.list.iter().find(|target| target.measure == *measure)
    }
}

impl Target {
    /// What the figure is to be.
    pub fn text(&self) -> String {
        match self.limit {
            Limit::AtMost(most) => format!("≤ {}", self.measure.show_limit(most)),
            Limit::AtLeast(least) => format!("≥ {}", self.measure.show_limit(least)),
            Limit::Within { of, share } => {
                format!("{} ± {:.0} %", self.measure.show_limit(of), share * 100.0)
            }
        }
    }
}

impl Measure {
    /// What it is called in tables.
    pub fn title(&self) -> String {
        match self {
            Self::P50 => "p50".to_owned(),
            Self::P99 => "p99".to_owned(),
            Self::P999 => "p99.9".to_owned(),
            Self::Max => "max".to_owned(),
            Self::FirstPieceP50 => "first piece p50, s".to_owned(),
            Self::CopiesCrossing => "copies crossing".to_owned(),
            Self::FairShare => "slowest blob ÷ fair share".to_owned(),
            Self::LaterThanHonest => "later than without lies".to_owned(),
            Self::LiarsBanned => "liars banned".to_owned(),
            Self::NoWorseAlone(group) => format!("{group} ÷ alone"),
        }
    }

    /// A value as text.
    pub fn show(&self, value: f64) -> String {
        match self {
            Self::LaterThanHonest => format!("{:.1} %", value * 100.0),
            // Not rounded up: nearly all are not all.
            Self::LiarsBanned => format!("{:.1} %", (value * 1000.0).floor() / 10.0),
            _ => format!("{value:.3}"),
        }
    }

    /// What it is to be as text, without digits that say nothing.
    pub(crate) fn show_limit(&self, value: f64) -> String {
        let (value, least, unit) = match self {
            Self::LaterThanHonest | Self::LiarsBanned => (value * 100.0, 1, " %"),
            _ => (value, 2, ""),
        };
        // Not rounded: what it is compared with would read as if it were reached.
        let is_exact = |text: &String| {
            text.parse::<f64>().is_ok_and(|shown| (shown / value - 1.0).abs() < 1e-12)
        };
        let fixed = |digits: usize| format!("{value:.digits$}");
        let text = (least..=6).map(fixed).find(|text| value < 1e6 && is_exact(text));
        let text = text.unwrap_or_else(|| format!("{value:e}"));
        format!("{text}{unit}")
    }

    /// Whether it is one of the figures that every scenario has.
    pub fn is_time(&self) -> bool {
        matches!(self, Self::P50 | Self::P99 | Self::P999)
    }
}

impl Limit {
    /// Whether a value is as it is to be.
    pub fn holds(self, value: f64) -> bool {
        // As many digits as tables show: a figure that reads as its target meets it.
        let rounded = (value * 1e3).round() / 1e3;
        match self {
            Self::AtMost(most) => rounded <= most,
            // Nearly all are not all.
            Self::AtLeast(least) => value >= least,
            Self::Within { of, share } => (rounded - of).abs() <= of * share + 1e-9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_as_they_are_compared() {
        let time = |limit| Measure::P50.show_limit(limit);
        assert_eq!([time(1.1), time(1.03), time(1.0304)], ["1.10", "1.03", "1.0304"]);
        assert_eq!([time(0.0004), time(1e300)], ["0.0004", "1e300"]);
        let share = |limit| Measure::LaterThanHonest.show_limit(limit);
        assert_eq!([share(0.01), share(0.0125), share(0.07)], ["1.0 %", "1.25 %", "7.0 %"]);
    }
}
