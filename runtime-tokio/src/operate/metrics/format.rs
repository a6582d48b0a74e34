//! The two text formats that Prometheus reads, and which of them a scraper wants.

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' own, version 0.0.4: read by everything that scrapes.
    Prometheus,
    /// OpenMetrics 1.0, for those who ask for it.
    OpenMetrics,
}

impl Format {
    /// The format for a scraper that sends this `Accept` header, or none.
    ///
    /// Preferences (`q=`) are not weighed: whoever names OpenMetrics can read it.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            Some(_) | None => Self::Prometheus,
        }
    }

    /// Its media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// `text`, which is OpenMetrics, in this format.
    pub(super) fn of_openmetrics(self, text: String) -> String {
        match self {
            Self::Prometheus => prometheus(&text),
            Self::OpenMetrics => text,
        }
    }
}

/// The samples are the same in both formats. But OpenMetrics names a family without the suffix that
/// its samples have, knows types that the other format does not, and marks its end.
fn prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // The suffix follows from the type, on the next line.
            (Some("#"), Some("HELP"), Some(_), Some(what)) => help = what,
            (Some("#"), Some("TYPE"), Some(family), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    kind => ("", kind),
                };
                text.push_str(&format!(
                    "# HELP {family}{suffix} {help}\n# TYPE {family}{suffix} {kind}\n"
                ));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(Format::accepted(Some(prometheus_3)), Format::OpenMetrics);
        for accept in [None, Some("*/*"), Some("text/plain;version=0.0.4")] {
            assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept:?}");
        }
    }

    #[test]
    fn families_have_the_names_of_their_samples_and_types_that_all_know() {
        let openmetrics = "# HELP build What runs\n# TYPE build info\nbuild_info{v=\"1\"} 1\n\
             # HELP sent Messages sent\n# TYPE sent counter\nsent_total{to=\"a b\"} 3\n\
             # HELP age Age\n# TYPE age gauge\n# UNIT age seconds\nage 0.5\n# EOF\n";
        assert_eq!(
            Format::Prometheus.of_openmetrics(openmetrics.to_owned()),
            "# HELP build_info What runs\n# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n\
             # HELP sent_total Messages sent\n# TYPE sent_total counter\nsent_total{to=\"a b\"} 3\n\
             # HELP age Age\n# TYPE age gauge\nage 0.5\n"
        );
        assert_eq!(
            Format::OpenMetrics.of_openmetrics(openmetrics.to_owned()),
            openmetrics
        );
    }
}
