//! The numbers of one moment.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::names::{Definition, GROUPS, Kind};

/// The numbers of one moment, each under the name of a [`Definition`].
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<Figure>);

#[derive(Debug, Clone)]
struct Figure {
    definition: &'static Definition,
    labels: Vec<String>,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
}

impl Figures {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a number without labels.
    pub fn set(&mut self, definition: &'static Definition, value: u64) {
        self.push(definition, &[], Value::Whole(value));
    }

    /// Notes a number that is not a whole one, such as seconds.
    pub fn set_real(&mut self, definition: &'static Definition, value: f64) {
        self.push(definition, &[], Value::Real(value));
    }

    /// Notes a number with the values of its labels, in their order.
    pub fn set_with(&mut self, definition: &'static Definition, labels: &[&str], value: u64) {
        self.push(definition, labels, Value::Whole(value));
    }

    /// Notes a number with a fraction and the values of its labels, in their order.
    pub fn set_real_with(&mut self, definition: &'static Definition, labels: &[&str], value: f64) {
        self.push(definition, labels, Value::Real(value));
    }

    /// Notes a number that counts things in memory.
    pub fn set_len(&mut self, definition: &'static Definition, len: usize) {
        self.set(definition, len as u64);
    }

    fn push(&mut self, definition: &'static Definition, labels: &[&str], value: Value) {
        assert_eq!(definition.labels.len(), labels.len(), "labels of {}", definition.name);
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.0.push(Figure { definition, labels, value });
    }
}

impl Extend<Self> for Figures {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, more: I) {
        self.0.extend(more.into_iter().flat_map(|figures| figures.0));
    }
}

impl Collector for Figures {
    /// In the order of the names' table, which keeps what has one name together.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for definition in GROUPS.iter().flat_map(|group| group.definitions) {
            let mut figures = self.0.iter().filter(|it| it.definition == *definition).peekable();
            if figures.peek().is_none() {
                continue;
            }
            let kind = match definition.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => continue,
            };
            let name = base_name(definition);
            let mut family = encoder.encode_descriptor(name, definition.help, None, kind)?;
            for figure in figures {
                let values = figure.labels.iter().map(String::as_str);
                let labels: Vec<_> = definition.labels.iter().copied().zip(values).collect();
                let one = family.encode_family(&labels)?;
                match (definition.kind, figure.value) {
                    (Kind::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(one)?,
                    (Kind::Counter, Value::Real(value)) => ConstCounter::new(value).encode(one)?,
                    (_, Value::Whole(value)) => ConstGauge::new(value).encode(one)?,
                    (_, Value::Real(value)) => ConstGauge::new(value).encode(one)?,
                }
            }
        }
        Ok(())
    }
}

/// The name that the exporter, which adds `_total` to counters, is given.
pub(super) fn base_name(definition: &Definition) -> &'static str {
    definition.name.strip_suffix("_total").unwrap_or(definition.name)
}
