//! What librdkafka says by itself: its log, and errors that are of no request.

use super::happened::{Happened, Tell};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::debug;

/// Passes on what one client of librdkafka says.
pub(super) struct Said {
    tell: Tell,
}

impl Said {
    pub(super) const fn new(tell: Tell) -> Self {
        Self { tell }
    }

    /// Its log is for those who look for what is wrong: what matters comes as an error, too.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let is_away = code == RDKafkaErrorCode::AllBrokersDown;
        if is_one_away(code) {
            return;
        }
        self.tell.send(Happened::Said {
            is_away,
            is_refused: is_refused(code),
            what: if reason.is_empty() {
                error.to_string()
            } else {
                reason.to_owned()
            },
        });
    }
}

/// Whether one broker of Kafka's cannot be reached: others may be.
const fn is_one_away(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
    )
}

/// Whether Kafka is there and does not want this broker, or cannot be spoken to as it is set.
const fn is_refused(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SSL
    )
}
