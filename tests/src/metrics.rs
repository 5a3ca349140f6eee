//! `/metrics`, read strictly enough to notice a line that Prometheus would refuse.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    series: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads the text exposition; panics at what is not one.
    pub fn read(text: &str) -> Metrics {
        let mut metrics = Metrics::default();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                let (name, kind) = comment
                    .split_once(' ')
                    .unwrap_or_else(|| panic!("metrics: {line}"));
                let before = metrics.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "metrics: two types for {name}");
            } else if !line.starts_with('#') && !line.is_empty() {
                let (series, value) = line
                    .rsplit_once(' ')
                    .unwrap_or_else(|| panic!("metrics: {line}"));
                let value = value.parse().unwrap_or_else(|_| panic!("metrics: {line}"));
                let before = metrics.series.insert(series.to_owned(), value);
                assert_eq!(before, None, "metrics: {series} twice");
            }
        }
        metrics
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Every series' name with its labels.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The type of the metric `name`.
    pub fn kind(&self, name: &str) -> Option<&str> {
        self.types.get(name).map(String::as_str)
    }

    /// The sum over the series called `name` whose labels include all of `labels`, each as `label="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether a series is called `name` and its labels include all of `labels`.
    pub fn has(&self, name: &str, labels: &[&str]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The metric `name`, which has no labels; panics where it is missing.
    pub fn gauge(&self, name: &str) -> f64 {
        *self
            .series
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in the metrics"))
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.series.iter().filter_map(move |(series, value)| {
            let (found, rest) = series.split_once('{').unwrap_or((series, "}"));
            let inner = rest
                .strip_suffix('}')
                .unwrap_or_else(|| panic!("metrics: {series}"));
            let all = labels
                .iter()
                .all(|label| inner.split(',').any(|one| one == *label));
            (found == name && all).then_some((series.as_str(), *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let metrics = Metrics::read(
            "# HELP a help\n# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na_total{x=\"1\"} 9\nb 1.5\n",
        );
        assert_eq!(metrics.sum("a", &["x=\"1\""]), 7.0);
        assert_eq!(metrics.sum("a", &["y=\"3\"", "x=\"1\""]), 4.0);
        assert_eq!(metrics.gauge("b"), 1.5);
        assert_eq!(metrics.kind("a"), Some("counter"));
        assert!(!metrics.has("a", &["y=\"4\""]));
        assert_eq!(metrics.series_count(), 4);
    }
}
