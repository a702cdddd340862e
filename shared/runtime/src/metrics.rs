//! Metrics of this process, in the text format of Prometheus.
//!
//! Each crate that counts something defines all it counts in one file named `metrics`, as a struct of
//! handles that is made once. A handle is an atomic number: to count is to add to it. What costs more
//! than that (the length of a table, the age of something) is looked up when somebody asks, by
//! [`on_scrape`]. Invariants: a name is defined once in a process; no label takes a value that users
//! make (projects, sessions, execs), since each value of a label is a series that Prometheus keeps.

mod process;

use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder, prometheus_text};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

/// What the text that [`exposition`] makes is called in HTTP.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Buckets, in seconds, of what should take milliseconds.
pub const SHORT_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets, in seconds, of what may take hours.
pub const LONG_SECONDS: &[f64] = &[
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0,
];

/// A gauge of seconds, or of another number that is not whole.
pub type Fraction = Gauge<f64, std::sync::atomic::AtomicU64>;

type Hook = Box<dyn Fn() + Send + Sync>;

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);
static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());

/// The value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// One of a few words that are in the code.
    Word(&'static str),
    /// One of a few numbers, as a status of HTTP.
    Number(u16),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number)
    }
}

impl EncodeLabelValue for Value {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => encoder.write_str(word),
            Self::Number(number) => write!(encoder, "{number}"),
        }
    }
}

/// Metrics of one name, told apart by the values of `N` labels.
#[derive(Debug, Clone)]
pub struct Many<M, const N: usize> {
    labels: [&'static str; N],
    family: Family<[(&'static str, Value); N], M, Maker<M>>,
}

/// Makes the metric of values that are seen for the first time.
#[derive(Clone)]
struct Maker<M>(Arc<dyn Fn() -> M + Send + Sync>);

impl<M> fmt::Debug for Maker<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Maker")
    }
}

impl<M> MetricConstructor<M> for Maker<M> {
    fn new_metric(&self) -> M {
        (self.0)()
    }
}

impl<M: Clone, const N: usize> Many<M, N> {
    /// The metric with these values, in the order of the labels. It is there from then on, at zero. It
    /// may be kept.
    pub fn of<V: Into<Value>>(&self, values: [V; N]) -> M {
        let mut values = values.into_iter().map(Into::into);
        let labels = self.labels;
        let set = labels.map(|label| (label, values.next().unwrap_or(Value::Word(""))));
        self.family.get_or_create_owned(&set)
    }

    /// Forgets all of them: of what is not known nothing is said, rather than what was last known.
    pub fn clear(&self) {
        self.family.clear();
    }
}

impl<M: Clone> Many<M, 0> {
    /// The one metric. [`Self::clear`] takes it away again.
    #[must_use]
    pub fn one(&self) -> M {
        self.of::<Value>([])
    }
}

/// Counts up. The name is without `_total`, which is put behind it.
#[must_use]
pub fn counter(name: &'static str, help: &'static str) -> Counter {
    register(name, help, Counter::default())
}

/// A whole number that goes up and down.
#[must_use]
pub fn gauge(name: &'static str, help: &'static str) -> Gauge {
    register(name, help, Gauge::default())
}

/// A number that goes up and down.
#[must_use]
pub fn fraction(name: &'static str, help: &'static str) -> Fraction {
    register(name, help, Fraction::default())
}

/// How often something took how long, or was how large.
#[must_use]
pub fn histogram(name: &'static str, help: &'static str, buckets: &'static [f64]) -> Histogram {
    register(name, help, Histogram::new(buckets.iter().copied()))
}

/// Counters with labels. The name is without `_total`, which is put behind it.
#[must_use]
pub fn counters<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
) -> Many<Counter, N> {
    many(name, help, labels, Counter::default)
}

/// Whole numbers that go up and down, with labels.
#[must_use]
pub fn gauges<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
) -> Many<Gauge, N> {
    many(name, help, labels, Gauge::default)
}

/// Numbers that go up and down, with labels.
#[must_use]
pub fn fractions<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
) -> Many<Fraction, N> {
    many(name, help, labels, Fraction::default)
}

/// Histograms with labels.
#[must_use]
pub fn histograms<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    buckets: &'static [f64],
) -> Many<Histogram, N> {
    many(name, help, labels, || {
        Histogram::new(buckets.iter().copied())
    })
}

fn many<M, const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    maker: impl Fn() -> M + Send + Sync + 'static,
) -> Many<M, N>
where
    M: Clone,
    Family<[(&'static str, Value); N], M, Maker<M>>: Metric + Clone,
{
    let family = Family::new_with_constructor(Maker(Arc::new(maker)));
    let family = register(name, help, family);
    Many { labels, family }
}

fn register<M: Metric + Clone>(name: &'static str, help: &'static str, metric: M) -> M {
    registry().register(name, help, metric.clone());
    metric
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does this before each [`exposition`]: for what is looked up and not counted. It must not wait.
pub fn on_scrape(look_up: impl Fn() + Send + Sync + 'static) {
    let mut hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    hooks.push(Box::new(look_up));
}

/// Everything that is counted, as a text for Prometheus.
#[must_use]
pub fn exposition() -> String {
    for look_up in HOOKS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        look_up();
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry());
    text
}

/// What every service counts of itself: what it is, and what it takes of the machine.
pub(crate) fn of_process(service: &'static str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let help = "Which service and version this is, always 1";
        let build = gauges("rdev_build_info", help, ["service", "version"]);
        build.of([service, env!("CARGO_PKG_VERSION")]).set(1);
        let process = process::Process::new();
        on_scrape(move || process.look_up());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let requests = counters("test_requests", "Requests", ["route", "status"]);
        requests.of([Value::Word("/a"), 200.into()]).inc();
        requests.of([Value::Word("/a"), 200.into()]).inc_by(2);
        requests.of([Value::Word("/a"), 503.into()]).inc();
        let depth = gauge("test_depth", "How many wait");
        on_scrape(move || {
            depth.set(7);
        });
        let seconds = histograms("test_seconds", "How long", ["kind"], &[0.1, 1.0]);
        seconds.of(["one"]).observe(0.5);
        let gone = gauges("test_gone", "Was known", ["kind"]);
        gone.of(["one"]).set(1);
        gone.clear();
        let text = exposition();
        for line in [
            "# HELP test_requests_total Requests.",
            "# TYPE test_requests_total counter",
            "test_requests_total{route=\"/a\",status=\"200\"} 3",
            "test_requests_total{route=\"/a\",status=\"503\"} 1",
            "test_depth 7",
            "test_seconds_bucket{kind=\"one\",le=\"1\"} 1",
            "test_seconds_count{kind=\"one\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("test_gone{"), "{text}");
    }

    #[test]
    fn a_process_knows_what_it_takes() {
        of_process("test");
        let text = exposition();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("{name}\n{text}"));
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_threads ") >= 1.0);
        assert!(value("process_start_time_seconds ") > 1.7e9);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        assert!(text.contains("rdev_build_info{service=\"test\",version=\""));
    }
}
